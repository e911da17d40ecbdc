// This file ends the sessions of everybody: what is left to do when a secret has
// leaked, or a login service was broken into.

package caddylogout

import (
	"context"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// revokeEverybody ends all sessions and returns how many really ended; tell is
// called with the number so far, and the trail with what ended. It goes through the index, so that a session
// which is just being made never comes to life, and then through the sessions
// themselves, for those that are in no index. Then it looks again, until nothing
// is left: in a Cluster, keys may move from under a walk. It goes on without the
// client.
func (a *App) revokeEverybody(ctx context.Context, trail *everybodyTrail, tell func(count int)) (count int, err error) {
	ctx = context.WithoutCancel(ctx)
	defer func() { trail.end(err) }()
	for range maxRevokePasses {
		before := count
		if err := a.revokeListed(ctx, &count, trail, tell); err != nil {
			return count, err
		}
		if err := a.revokeUnlisted(ctx, &count, trail, tell); err != nil {
			return count, err
		}
		if count == before {
			break
		}
	}
	return count, nil
}

// revokeListed ends the sessions of all identities that have an index.
func (a *App) revokeListed(ctx context.Context, count *int, trail *everybodyTrail, tell func(int)) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	return store.WalkIdentities(ctx, func(identities []string) error {
		for _, identity := range identities {
			var keys []session.Key
			ended, err := a.revokeKeys(ctx, identity, func(key session.Key) bool {
				keys = append(keys, key)
				return true
			})
			*count += ended
			trail.add(identity, ended, keys...)
			if err != nil {
				return err
			}
			tell(*count)
		}
		return nil
	})
}

// revokeUnlisted ends the sessions that are still there.
func (a *App) revokeUnlisted(ctx context.Context, count *int, trail *everybodyTrail, tell func(int)) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	return store.WalkKeys(ctx, func(keys []session.Key) error {
		for _, key := range keys {
			identity, ended, err := a.revokeStored(ctx, store, key)
			if err != nil {
				return err
			}
			if ended {
				*count++
				trail.add(identity, 1, key)
			}
			tell(*count)
		}
		return nil
	})
}

// revokeStored ends what is stored under a key, whatever it is, and says whose it
// was.
func (a *App) revokeStored(ctx context.Context, store session.Store, key session.Key) (identity string, ended bool, err error) {
	record, err := store.Get(ctx, key)
	if err != nil {
		return "", false, err
	}
	if record.Value == nil {
		return "", false, nil // it ended since it was found
	}
	s, err := a.format.Decode(key, record.Value)
	if err != nil {
		a.logger.Error("stored session cannot be read", zap.String("session", key.Short()), zap.Error(err))
		s = &session.Session{Key: key, ExpiresAt: a.now().Add(maxLifespan)}
	}
	ended, err = a.revoke(ctx, s)
	return s.Identity, ended, err
}

// everybodyTrail tells of the end of the sessions of everybody while it goes on: it
// holds those of one line, and never all. The zero value tells nobody.
type everybodyTrail struct {
	app   *App
	r     *http.Request
	entry telemetry.Entry
	told  bool
}

// add takes in how many sessions of a person ended, and which.
func (t *everybodyTrail) add(identity string, ended int, keys ...session.Key) {
	for _, key := range keys {
		t.entry.Sessions = append(t.entry.Sessions, key.Short())
		t.entry.Identities = append(t.entry.Identities, identity)
	}
	t.entry.Count += ended
	if len(t.entry.Sessions) >= telemetry.MaxAuditHandles {
		t.tell(nil)
	}
}

// tell writes what is not told yet, and in the end at least one line.
func (t *everybodyTrail) tell(err error) {
	if t.app != nil {
		t.entry.Event, t.entry.Trigger, t.entry.Outcome = telemetry.EventManyRevoked, telemetry.ByAdmin, telemetry.OutcomeRevoked
		auditMany(t.app, t.r, t.entry, t.entry.Count, err)
	}
	t.entry, t.told = telemetry.Entry{}, true
}

// end tells the rest.
func (t *everybodyTrail) end(err error) {
	if err != nil || len(t.entry.Sessions) > 0 || t.entry.Count > 0 || !t.told {
		t.tell(err)
	}
}
