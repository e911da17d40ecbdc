// This file bounds how many sessions a person has: when a sign-in makes one too
// many, the oldest end.

package caddylogout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

const (
	// defaultMaxSessions is more than a person has devices, and what the page of
	// one's sessions shows.
	defaultMaxSessions = 100
	// maxMaxSessions bounds the bound: a sign-in that meets it reads them all.
	maxMaxSessions = 10_000
)

var errMaxSessions = fmt.Errorf("want a number from 1 to %d, or off", maxMaxSessions)

// bound returns how many sessions a person may have, nil for any number.
func (a *App) bound() *Bound {
	if a.MaxSessions == nil || *a.MaxSessions == 0 {
		return nil
	}
	return &Bound{Max: *a.MaxSessions}
}

func validateMaxSessions(n *int) error {
	if n != nil && (*n < 0 || *n > maxMaxSessions) {
		return errMaxSessions
	}
	return nil
}

// unmarshalMaxSessions reads the option max_sessions <n>|off.
func (a *App) unmarshalMaxSessions(d *caddyfile.Dispenser) error {
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	n := 0
	if raw != "off" {
		var err error
		if n, err = strconv.Atoi(raw); err != nil || n < 1 || n > maxMaxSessions {
			return d.Errf("max_sessions: %q: %w", raw, errMaxSessions)
		}
	}
	a.MaxSessions = &n
	return nil
}

// keepWithin ends the oldest sessions of a person who has more than there may
// be. Those that the caller is about to end do not count. A failure is told and
// no more: the sign-in is good, and the next one tries again.
func (a *App) keepWithin(ctx context.Context, identity string, ending []Key) {
	e := auditEntry{event: eventManyRevoked, trigger: byBound, outcome: outcomeRevoked, identity: identity}
	var err error
	if e.count, err = a.endOldest(ctx, identity, ending, func(key Key) { e = e.and(key) }); err != nil {
		e = e.failed(err)
	}
	if e.count > 0 || err != nil {
		a.audit(nil, e)
	}
}

// endOldest ends what is not among the newest sessions of a person. Several
// sign-ins may do so at once, on several servers: all go by the same order, so
// none ends what is among the newest of all, and fewer than the bound are never
// left. The last one to come to life finds all the others alive, so more are not
// left either. That is why the store itself is asked, and not the near cache,
// which may hear of another sign-in a moment later.
func (a *App) endOldest(ctx context.Context, identity string, ending []Key, tell func(Key)) (int, error) {
	store, err := a.openStore()
	if err != nil {
		return 0, err
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	keys, err := store.Keys(ctx, identity)
	if err != nil {
		return 0, err
	}
	keys = slices.DeleteFunc(keys, func(key IndexedKey) bool { return slices.Contains(ending, key.Key) })
	found, err := a.readAll(ctx, store, keys)
	if err != nil {
		return 0, err
	}
	// What is listed and not there is gone, or is being made: then whoever makes
	// it will count.
	found = slices.DeleteFunc(found, func(known *cached) bool { return known.session == nil })
	if len(found) <= *a.MaxSessions {
		return 0, nil
	}
	now := a.now()
	slices.SortFunc(found, func(x, y *cached) int {
		// Nobody uses those that were idle for too long: they go first.
		if idle := a.surelyIdle(store, x, now); idle != a.surelyIdle(store, y, now) {
			if idle {
				return 1
			}
			return -1
		}
		return cmp.Or(y.session.IssuedAt.Compare(x.session.IssuedAt), cmp.Compare(x.session.ID, y.session.ID))
	})
	oldest := make(map[Key]bool)
	for _, known := range found[*a.MaxSessions:] {
		oldest[known.session.Key] = true
		tell(known.session.Key)
	}
	return a.revokeKeys(ctx, identity, func(key Key) bool { return oldest[key] })
}
