package manager

import (
	"context"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// RevokeEverybody ends all sessions, as after a leaked secret, and returns how many
// really ended. It calls tell with the number so far, and gives the trail what ended.
// First it goes through the index, so that a session which is being made never comes to
// life; then through the sessions themselves, for those that are in no index. Then it
// looks again, until none is left: in a Cluster, keys may move during a walk. It goes on
// without the client.
func (m *Manager) RevokeEverybody(ctx context.Context, trail *EverybodyTrail, tell func(count int)) (count int, err error) {
	ctx = context.WithoutCancel(ctx)
	defer func() { trail.end(err) }()
	for range maxRevokePasses {
		before := count
		if err := m.revokeListed(ctx, &count, trail, tell); err != nil {
			return count, err
		}
		if err := m.RevokeUnlisted(ctx, &count, trail, tell); err != nil {
			return count, err
		}
		if count == before {
			break
		}
	}
	return count, nil
}

// revokeListed ends the sessions of all identities that have an index.
func (m *Manager) revokeListed(ctx context.Context, count *int, trail *EverybodyTrail, tell func(int)) error {
	store, err := m.OpenStore()
	if err != nil {
		return err
	}
	return store.WalkIdentities(ctx, func(identities []string) error {
		for _, identity := range identities {
			var keys []session.Key
			ended, err := m.RevokeKeys(ctx, identity, func(key session.Key) bool {
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

// RevokeUnlisted ends the sessions that are still there.
func (m *Manager) RevokeUnlisted(ctx context.Context, count *int, trail *EverybodyTrail, tell func(int)) error {
	store, err := m.OpenStore()
	if err != nil {
		return err
	}
	return store.WalkKeys(ctx, func(keys []session.Key) error {
		for _, key := range keys {
			identity, ended, err := m.revokeStored(ctx, store, key)
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
func (m *Manager) revokeStored(ctx context.Context, store session.Store, key session.Key) (identity string, ended bool, err error) {
	record, err := store.Get(ctx, key)
	if err != nil {
		return "", false, err
	}
	if record.Value == nil {
		return "", false, nil // it ended since it was found
	}
	s, err := m.Format.Decode(key, record.Value)
	if err != nil {
		m.Logger.Error("stored session cannot be read", zap.String("session", key.Short()), zap.Error(err))
		s = &session.Session{Key: key, ExpiresAt: m.Now().Add(MaxLifespan)}
	}
	ended, err = m.Revoke(ctx, s)
	return s.Identity, ended, err
}

// EverybodyTrail records the end of all sessions while it goes on. It holds the sessions
// of one line of the audit log, and never all. The zero value records nothing.
type EverybodyTrail struct {
	M     *Manager
	Ctx   context.Context //nolint:containedctx // of the request that asks, for what it logs
	By    Trigger
	Entry telemetry.Entry
	told  bool
}

// add takes in how many sessions of a person ended, and which.
func (t *EverybodyTrail) add(identity string, ended int, keys ...session.Key) {
	for _, key := range keys {
		t.Entry.Sessions = append(t.Entry.Sessions, key.Short())
		t.Entry.Identities = append(t.Entry.Identities, identity)
	}
	t.Entry.Count += ended
	if len(t.Entry.Sessions) >= telemetry.MaxAuditHandles {
		t.tell(nil)
	}
}

// tell writes what is not told yet, and in the end at least one line.
func (t *EverybodyTrail) tell(err error) {
	if t.M != nil {
		t.Entry.Event, t.Entry.Trigger, t.Entry.Outcome = telemetry.EventManyRevoked, t.By.Name, telemetry.OutcomeRevoked
		if err != nil {
			t.Entry = t.Entry.Failed(err)
		}
		t.M.Audit.Record(t.Ctx, t.By.Address, t.Entry)
	}
	t.Entry, t.told = telemetry.Entry{}, true
}

// end tells the rest.
func (t *EverybodyTrail) end(err error) {
	if err != nil || len(t.Entry.Sessions) > 0 || t.Entry.Count > 0 || !t.told {
		t.tell(err)
	}
}
