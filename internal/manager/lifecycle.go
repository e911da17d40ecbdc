package manager

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/person"
	"github.com/caddy-logout/caddy-logout/session"
)

// ReplayWindow is how long after a logout the same logout is answered as the
// first time: a double click, a second tab, another node.
const ReplayWindow = 10 * time.Minute

// JustRevoked reports whether what was found was revoked within ReplayWindow.
func (m *Manager) JustRevoked(found Found) bool {
	return !found.RevokedAt.IsZero() && m.Now().Sub(found.RevokedAt) < ReplayWindow
}

// MaxIdentityLength bounds the id of a person in bytes.
const MaxIdentityLength = 256

// MaxTraitsLength bounds the traits of a session in bytes.
const MaxTraitsLength = 16 << 10

// NewSession is what a session is made of.
type NewSession struct {
	Identity string
	Traits   json.RawMessage
	Method   string
	Lifespan time.Duration // 0: the app's
	Device   session.Device
	Ending   []session.Key // what the caller ends in its favour

	// after is what issue itself sets when it tries again: the session is to be
	// newer, whatever the clock says.
	after time.Time
}

// ErrInvalidSession says that a session cannot be made of what was asked for.
var ErrInvalidSession = errors.New("invalid session")

// Validate says why no session can be made of it, or nil. The error wraps
// [ErrInvalidSession].
func (n *NewSession) Validate() error {
	switch {
	case len(n.Identity) > MaxIdentityLength:
		return fmt.Errorf("%w: identity: at most %d bytes", ErrInvalidSession, MaxIdentityLength)
	case len(n.Traits) > MaxTraitsLength:
		return fmt.Errorf("%w: traits: at most %d bytes", ErrInvalidSession, MaxTraitsLength)
	case n.Lifespan < 0 || n.Lifespan > MaxLifespan:
		return fmt.Errorf("%w: lifespan: more than 0, at most 10 years", ErrInvalidSession)
	}
	if err := person.CheckIdentity(n.Identity); err != nil {
		return fmt.Errorf("%w: identity: it %w", ErrInvalidSession, err)
	}
	if err := person.CheckTraits(n.Traits); err != nil {
		return fmt.Errorf("%w: traits: %w", ErrInvalidSession, err)
	}
	return nil
}

// IssueTries bounds how often a sign-in makes a session, each under a fresh
// credential, when the one before was ended while it was being made.
const IssueTries = 5

// Issue makes a session under a fresh credential and returns both. Nothing that
// a client sends becomes a credential, so no session can be fixed in advance. It
// may be ended while it is being made, with all others of the person, or as one of
// the oldest when many sign in at once. Then another one is made: it is newer than
// the end, as if the person had signed in a moment later. The error wraps
// [ErrExists] if that happens again and again.
func (m *Manager) Issue(ctx context.Context, n NewSession) (c session.Credential, s *session.Session, err error) {
	if err := n.Validate(); err != nil {
		return session.Credential{}, nil, err
	}
	if n.Lifespan == 0 {
		n.Lifespan = m.Lifespan
	}
	for range IssueTries {
		if c, s, err = m.IssueOnce(ctx, &n); !errors.Is(err, session.ErrExists) {
			break
		}
	}
	return c, s, err
}

// IssueOnce is one try of Issue.
func (m *Manager) IssueOnce(ctx context.Context, n *NewSession) (session.Credential, *session.Session, error) {
	c := session.NewCredential(session.NewToken(), session.FromHeader)
	key := m.Format.Key(c)
	now := m.Now().UTC().Truncate(time.Millisecond)
	s := &session.Session{
		Key:             key,
		ID:              key.ID(),
		Identity:        n.Identity,
		Traits:          n.Traits,
		Method:          n.Method,
		IssuedAt:        session.Later(now, n.after),
		AuthenticatedAt: now,
		ExpiresAt:       now.Add(n.Lifespan),
		Device:          n.Device,
	}
	value, err := m.Format.Encode(s)
	if err != nil {
		return session.Credential{}, nil, err
	}
	store, err := m.OpenStore()
	if err != nil {
		return session.Credential{}, nil, err
	}
	bound := m.bound()
	if err := store.Create(ctx, key, session.Entry{Identity: s.Identity, Value: value, ExpiresAt: s.ExpiresAt, Bound: bound}); err != nil {
		return session.Credential{}, nil, err
	}
	store.Cache.Changed(key)
	if bound != nil && bound.Exceeded {
		if after, out := m.KeepWithin(ctx, s, n.Ending); out {
			n.after = after
			return session.Credential{}, nil, fmt.Errorf("%w: among the oldest of its person", session.ErrExists)
		}
	}
	return c, s, nil
}

// Revoke ends a session in the store; when it returns nil, the session is gone.
// The tombstone outlives the session, so that nothing that writes it back
// revives it.
func (m *Manager) Revoke(ctx context.Context, s *session.Session) (bool, error) {
	store, err := m.OpenStore()
	if err != nil {
		return false, err
	}
	ctx, cancel := Detach(ctx)
	defer cancel()
	now := m.Now()
	store.Streams.Spare(ctx, s.Key)
	until := session.Later(s.ExpiresAt, now.Add(ReplayWindow)).Add(session.ClockTolerance)
	ended, err := m.Format.Revoke(ctx, store, s, now, until)
	store.forget(s.Key, now, err)
	return ended, err
}

// Discard ends a session that was just made and that nobody gets: without its
// cookie it would only stand in the person's list.
func (m *Manager) Discard(ctx context.Context, s *session.Session) {
	if _, err := m.Revoke(ctx, s); err != nil {
		m.Logger.Warn("ending a session that no client received failed", zap.String("session", s.Key.Short()), zap.Error(err))
	}
}

// forget takes a key out of the near cache, and ends what is being served for
// it, before anyone is told that it is revoked. After an error it may or may not
// be: the store is to be asked.
func (o *Opened) forget(key session.Key, revokedAt time.Time, err error) {
	if err != nil {
		o.Cache.Changed(key)
		o.Streams.Changed(key)
		return
	}
	o.Cache.Revoked(key, revokedAt)
	o.Streams.Cut(key, revokedAt)
}

// revokeTimeout bounds a revocation that nobody waits for any more.
const revokeTimeout = 5 * time.Second

// Detach lets a revocation go on when the client has gone: a person who
// clicks on "sign out" and closes the window meant it.
func Detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
}

// Listed is a session in the list of a person's sessions.
type Listed struct {
	*session.Session
	// LastUsed is the last use that is known of. It means something with
	// idle_timeout only: without it, uses are not noted.
	LastUsed time.Time
}

// SessionsOf lists the live sessions of a person, newest first.
func (m *Manager) SessionsOf(ctx context.Context, identity string) ([]Listed, error) {
	store, err := m.OpenStore()
	if err != nil {
		return nil, err
	}
	keys, err := store.Keys(ctx, identity)
	if err != nil {
		return nil, err
	}
	found, err := m.PeekAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	sessions := make([]Listed, 0, len(found))
	for _, f := range found {
		sessions = append(sessions, Listed{f.Session, f.LastUsed})
	}
	slices.SortFunc(sessions, func(x, y Listed) int {
		return cmp.Or(y.IssuedAt.Compare(x.IssuedAt), strings.Compare(x.ID, y.ID))
	})
	return sessions, nil
}

// maxRevokePasses bounds how often the index is read again for sessions that
// were made meanwhile. It does not wait for a person who
// signs in again and again.
const maxRevokePasses = 5

// RevokeKeys ends the sessions of a person that are listed in the index and
// returns how many really ended. It goes by the index and not by the sessions:
// one that is just being made is listed first, gets its tombstone here, and
// never comes to life. Then it reads the index again, until nothing is new in
// it: one that was made meanwhile ends, too.
func (m *Manager) RevokeKeys(ctx context.Context, identity string, pick func(session.Key) bool) (int, error) {
	store, err := m.OpenStore()
	if err != nil {
		return 0, err
	}
	ctx, cancel := Detach(ctx)
	defer cancel()
	count, done := 0, make(map[session.Key]bool)
	for range maxRevokePasses {
		keys, err := store.Keys(ctx, identity)
		if err != nil {
			return count, err
		}
		keys = slices.DeleteFunc(keys, func(key session.IndexedKey) bool { return done[key.Key] || !pick(key.Key) })
		if len(keys) == 0 {
			break
		}
		now := m.Now()
		for i := range keys {
			keys[i].ExpiresAt = keys[i].ExpiresAt.Add(session.ClockTolerance)
		}
		ended, err := store.RevokeAll(ctx, identity, keys, now, now.Add(ReplayWindow+session.ClockTolerance))
		for _, key := range keys {
			store.forget(key.Key, now, err)
			done[key.Key] = true
		}
		count += ended
		if err != nil {
			return count, err
		}
	}
	return count, nil
}
