// This file looks many sessions up together, so that they share round trips.

package caddylogout

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/session"
)

// readAll asks the store about many keys.
func (a *App) readAll(ctx context.Context, open *opened, keys []session.IndexedKey) ([]*nearcache.Entry, error) {
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
		if found[i], err = a.decode(open, names[i], record); err != nil {
			return nil, fmt.Errorf("reading the sessions of a person: %w", err)
		}
	}
	return found, nil
}

// peekAll is peek for many keys, and asks the store itself. It returns those that
// are live sessions, in the order of the keys: an entry of something gone is
// expected.
func (a *App) peekAll(ctx context.Context, keys []session.IndexedKey) ([]lookupResult, error) {
	open, err := a.openStore()
	if err != nil {
		return nil, err
	}
	found, err := a.readAll(ctx, open, keys)
	if err != nil {
		return nil, err
	}
	now, live := a.now(), make([]lookupResult, 0, len(found))
	for i, known := range found {
		if a.isPending(keys[i].Key) || a.isKept(keys[i].Key) {
			continue
		}
		notNoted := func(context.Context, *opened, *nearcache.Entry, time.Time) {}
		if f := a.judge(ctx, open, known, now, 0, notNoted); f.session != nil {
			live = append(live, f)
		}
	}
	return live, nil
}
