package manager

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// bound returns how many sessions a person may have, nil for any number.
func (m *Manager) bound() *session.Bound {
	if m.MaxSessions == 0 {
		return nil
	}
	return &session.Bound{Max: m.MaxSessions}
}

// KeepWithin ends the oldest sessions of the person who has just got the session
// made, if there are more than there may be. Those that the caller is about to end
// do not count. A failure is told and no more: the sign-in is good, and the next
// one tries again.
//
// The session made may itself be among the oldest by the order that every server
// goes by: many others were made meanwhile, or the clock of this server is behind.
// It ends like any other: to except it here would have two such sign-ins end each
// other. Then out is true, and the caller makes another session that was issued no
// earlier than after.
func (m *Manager) KeepWithin(ctx context.Context, made *session.Session, ending []session.Key) (after time.Time, out bool) {
	e := telemetry.Entry{Event: telemetry.EventManyRevoked, Trigger: telemetry.ByBound, Outcome: telemetry.OutcomeRevoked, Identity: made.Identity}
	surplus, err := m.oldest(ctx, made.Identity, ending)
	if err == nil && len(surplus.keys) > 0 {
		e.Count, err = m.RevokeKeys(ctx, made.Identity, func(key session.Key) bool { return surplus.keys[key] })
		out = surplus.keys[made.Key] && err == nil
		for key := range surplus.keys {
			if key != made.Key || !out {
				e = e.And(key)
			}
		}
		if out {
			e.Count = max(e.Count-1, 0) // nobody has got it
		}
	}
	if err != nil {
		e = e.Failed(err)
	}
	if e.Count > 0 || err != nil {
		m.record(e)
	}
	return surplus.newest.Add(time.Millisecond), out
}

// surplus is what a person has too many.
type surplus struct {
	keys   map[session.Key]bool
	newest time.Time // when the newest session of all was issued
}

// oldest returns what is not among the newest sessions of a person. Several
// sign-ins may ask at once, on several servers: all go by the same order, so
// none ends what is among the newest of all, and fewer than the bound are never
// left. The last one to come to life finds all the others alive, so more are not
// left either. That is why the store itself is asked, and not the near cache,
// which may hear of another sign-in a moment later.
func (m *Manager) oldest(ctx context.Context, identity string, ending []session.Key) (surplus, error) {
	store, err := m.OpenStore()
	if err != nil {
		return surplus{}, err
	}
	ctx, cancel := Detach(ctx)
	defer cancel()
	keys, err := store.Keys(ctx, identity)
	if err != nil {
		return surplus{}, err
	}
	keys = slices.DeleteFunc(keys, func(key session.IndexedKey) bool { return slices.Contains(ending, key.Key) })
	found, err := m.readAll(ctx, store, keys)
	if err != nil {
		return surplus{}, err
	}
	// What is listed and not there is gone, or is being made: then the server that makes
	// it will count.
	found = slices.DeleteFunc(found, func(known *nearcache.Entry) bool { return known.Session == nil })
	if len(found) <= m.MaxSessions {
		return surplus{}, nil
	}
	now := m.Now()
	// Nobody uses those that were idle for too long, and no clock that is right
	// has issued those of the future: they go first.
	first := func(x *nearcache.Entry) bool {
		return m.surelyIdle(store, x, now) || x.Session.IssuedAt.After(now.Add(session.ClockTolerance))
	}
	slices.SortFunc(found, func(x, y *nearcache.Entry) int {
		if early := first(x); early != first(y) {
			if early {
				return 1
			}
			return -1
		}
		return cmp.Or(y.Session.IssuedAt.Compare(x.Session.IssuedAt), cmp.Compare(x.Session.ID, y.Session.ID))
	})
	out := surplus{keys: make(map[session.Key]bool), newest: found[0].Session.IssuedAt}
	for _, known := range found[m.MaxSessions:] {
		out.keys[known.Session.Key] = true
	}
	return out, nil
}
