package manager

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/session"
)

// readAll asks the store about many keys.
func (m *Manager) readAll(ctx context.Context, open *Opened, keys []session.IndexedKey) ([]*nearcache.Entry, error) {
	names := make([]session.Key, len(keys))
	for i, key := range keys {
		names[i] = key.Key
	}
	records, err := open.GetMany(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("reading the sessions of a person: %w", err)
	}
	found := make([]*nearcache.Entry, len(keys))
	for i, record := range records {
		if found[i], err = m.decode(open, names[i], record); err != nil {
			return nil, fmt.Errorf("reading the sessions of a person: %w", err)
		}
	}
	return found, nil
}

// PeekAll is peek for many keys, and asks the store itself. It returns those that
// are live sessions, in the order of the keys: an entry of something gone is
// expected.
func (m *Manager) PeekAll(ctx context.Context, keys []session.IndexedKey) ([]Found, error) {
	open, err := m.OpenStore()
	if err != nil {
		return nil, err
	}
	found, err := m.readAll(ctx, open, keys)
	if err != nil {
		return nil, err
	}
	now, live := m.Now(), make([]Found, 0, len(found))
	for i, known := range found {
		if m.IsPending(keys[i].Key) || m.isKept(keys[i].Key) {
			continue
		}
		notNoted := func(context.Context, *Opened, *nearcache.Entry, time.Time) {}
		if f := m.judge(ctx, open, known, now, 0, notNoted); f.Session != nil {
			live = append(live, f)
		}
	}
	return live, nil
}
