package manager

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/storehealth"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// placeOf says where the sessions of a store are. One that cannot say so is a
// place of its own.
func placeOf(module session.StoreModule) streams.Place {
	if s, ok := module.(session.Located); ok {
		return streams.Place{Kind: StoreKind(module), Settings: s.Place()}
	}
	return streams.Place{Kind: StoreKind(module), Settings: []session.Setting{{Option: "pool key", Value: module.PoolKey()}}}
}

// pooledStore is an open store with what lives as long as it does: its part in
// the requests that are served for its sessions, and who is told when something
// changes.
type pooledStore struct {
	session.Store
	source  *streams.Source
	reports *notifications
	health  *storehealth.Monitor
	uses    *Uses
}

func newPooledStore(store session.Store, place streams.Place) *pooledStore {
	p := &pooledStore{Store: telemetry.MeasuredStore{Store: store}, reports: newNotifications(store)}
	p.uses = NewUses(p.Store, time.Now)
	p.source = streams.Places.Join(&UsedStore{p.Store, p.uses}, place, time.Now)
	p.reports.subscribe(p.source)
	p.health = storehealth.Start(store)
	return p
}

// Destruct implements caddy.Destructor.
func (p *pooledStore) Destruct() error {
	p.health.Stop()
	p.reports.close()
	streams.Places.Leave(p.source)
	p.uses.close()
	return p.Close()
}

// UsedStore is an open store with what is known of the uses of its sessions, as
// streams ask about them.
type UsedStore struct {
	session.Store
	Uses *Uses
}

// Idle reads a session anew, and judges as a gate does.
func (u *UsedStore) Idle(ctx context.Context, key session.Key, by streams.Judge) (known *nearcache.Entry, idle bool, err error) {
	m, open := by.(*Manager), &Opened{Store: u.Store, Uses: u.Uses}
	if known, err = m.read(ctx, open, key); err != nil {
		return nil, false, err
	}
	return known, m.idle(ctx, open, known, m.Now()), nil
}

// Interface guards.
var (
	_ caddy.Destructor = (*pooledStore)(nil)
	_ streams.Sessions = (*UsedStore)(nil)
)

// StoreKind is the name of a store module, as the Caddyfile has it.
func StoreKind(module session.StoreModule) string {
	if m, ok := module.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", module), "*")
}
