// This file ends the sessions of everybody: what is left to do when a secret has
// leaked, or a login service was broken into.

package caddylogout

import (
	"context"

	"go.uber.org/zap"
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
			var keys []Key
			ended, err := a.revokeKeys(ctx, identity, func(key Key) bool {
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
	return store.WalkKeys(ctx, func(keys []Key) error {
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
func (a *App) revokeStored(ctx context.Context, store Store, key Key) (identity string, ended bool, err error) {
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
		s = &Session{Key: key, ExpiresAt: a.now().Add(maxLifespan)}
	}
	ended, err = a.revoke(ctx, s)
	return s.Identity, ended, err
}
