// This file makes, lists and ends sessions.

package caddylogout

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

// replayWindow is how long after a logout the same logout is answered as the
// first time: a double click, a second tab, another node.
const replayWindow = 10 * time.Minute

// justRevoked reports whether what was found was revoked within replayWindow.
func (a *App) justRevoked(found lookupResult) bool {
	return !found.revokedAt.IsZero() && a.now().Sub(found.revokedAt) < replayWindow
}

// maxIdentityLength bounds the id of a person in bytes.
const maxIdentityLength = 256

// maxTraitsLength bounds the traits of a session in bytes.
const maxTraitsLength = 16 << 10

// newSession is what a session is made of.
type newSession struct {
	identity string
	traits   json.RawMessage
	method   string
	lifespan time.Duration // 0: the app's
	device   session.Device
	ending   []session.Key // what the caller ends in its favour

	// after is what issue itself sets when it tries again: the session is to be
	// newer, whatever the clock says.
	after time.Time
}

// errInvalidSession says that a session cannot be made of what was asked for.
var errInvalidSession = errors.New("invalid session")

func (n *newSession) validate() error {
	switch {
	case len(n.identity) > maxIdentityLength:
		return fmt.Errorf("%w: identity: at most %d bytes", errInvalidSession, maxIdentityLength)
	case len(n.traits) > maxTraitsLength:
		return fmt.Errorf("%w: traits: at most %d bytes", errInvalidSession, maxTraitsLength)
	case n.lifespan < 0 || n.lifespan > maxLifespan:
		return fmt.Errorf("%w: lifespan: more than 0, at most 10 years", errInvalidSession)
	}
	if err := person.CheckIdentity(n.identity); err != nil {
		return fmt.Errorf("%w: identity: it %w", errInvalidSession, err)
	}
	if err := person.CheckTraits(n.traits); err != nil {
		return fmt.Errorf("%w: traits: %w", errInvalidSession, err)
	}
	return nil
}

// issueTries bounds how often a sign-in makes a session, each under a fresh
// credential, when the one before was ended while it was being made.
const issueTries = 5

// issue makes a session under a fresh credential and returns both. Nothing that
// a client sends becomes a credential, so no session can be fixed in advance. It
// may be ended while it is being made, with all others of the person, or as one of
// the oldest when many sign in at once. Then another one is made: it is newer than
// the end, as if the person had signed in a moment later. The error wraps
// [ErrExists] if that happens again and again.
func (a *App) issue(ctx context.Context, n newSession) (c session.Credential, s *session.Session, err error) {
	if err := n.validate(); err != nil {
		return session.Credential{}, nil, err
	}
	if n.lifespan == 0 {
		n.lifespan = time.Duration(a.Lifespan)
	}
	for range issueTries {
		if c, s, err = a.issueOnce(ctx, &n); !errors.Is(err, session.ErrExists) {
			break
		}
	}
	return c, s, err
}

func (a *App) issueOnce(ctx context.Context, n *newSession) (session.Credential, *session.Session, error) {
	c := session.NewCredential(session.NewToken(), session.FromHeader)
	key := a.format.Key(c)
	now := a.now().UTC().Truncate(time.Millisecond)
	s := &session.Session{
		Key:             key,
		ID:              key.ID(),
		Identity:        n.identity,
		Traits:          n.traits,
		Method:          n.method,
		IssuedAt:        session.Later(now, n.after),
		AuthenticatedAt: now,
		ExpiresAt:       now.Add(n.lifespan),
		Device:          n.device,
	}
	value, err := a.format.Encode(s)
	if err != nil {
		return session.Credential{}, nil, err
	}
	store, err := a.openStore()
	if err != nil {
		return session.Credential{}, nil, err
	}
	bound := a.bound()
	if err := store.Create(ctx, key, session.Entry{Identity: s.Identity, Value: value, ExpiresAt: s.ExpiresAt, Bound: bound}); err != nil {
		return session.Credential{}, nil, err
	}
	store.cache.Changed(key)
	if bound != nil && bound.Exceeded {
		if after, out := a.keepWithin(ctx, s, n.ending); out {
			n.after = after
			return session.Credential{}, nil, fmt.Errorf("%w: among the oldest of its person", session.ErrExists)
		}
	}
	return c, s, nil
}

// revoke ends a session in the store; when it returns nil, the session is gone.
// The tombstone outlives the session, so that nothing that writes it back
// revives it.
func (a *App) revoke(ctx context.Context, s *session.Session) (bool, error) {
	store, err := a.openStore()
	if err != nil {
		return false, err
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	now := a.now()
	store.streams.spare(ctx, s.Key)
	until := session.Later(s.ExpiresAt, now.Add(replayWindow)).Add(session.ClockTolerance)
	ended, err := a.format.Revoke(ctx, store, s, now, until)
	store.forget(s.Key, now, err)
	return ended, err
}

// discard ends a session that was just made and that nobody gets: without its
// cookie it would only stand in the person's list.
func (a *App) discard(ctx context.Context, s *session.Session) {
	if _, err := a.revoke(ctx, s); err != nil {
		a.logger.Warn("ending a session that nobody got failed", zap.String("session", s.Key.Short()), zap.Error(err))
	}
}

// forget takes a key out of the near cache, and ends what is being served for
// it, before anyone is told that it is revoked. After an error it may or may not
// be: the store is to be asked.
func (o *opened) forget(key session.Key, revokedAt time.Time, err error) {
	if err != nil {
		o.cache.Changed(key)
		o.streams.Changed(key)
		return
	}
	o.cache.Revoked(key, revokedAt)
	o.streams.cut(key, revokedAt)
}

// revokeTimeout bounds a revocation that nobody waits for any more.
const revokeTimeout = 5 * time.Second

// detach lets a revocation go on when the client has gone: whoever clicks on
// "sign out" and closes the window meant it.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
}

// listedSession is a session in the list of a person's sessions.
type listedSession struct {
	*session.Session
	// LastUsed is the last use that is known of. It means something with
	// idle_timeout only: without it, uses are not noted.
	lastUsed time.Time
}

// sessionsOf lists the live sessions of a person, newest first.
func (a *App) sessionsOf(ctx context.Context, identity string) ([]listedSession, error) {
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	keys, err := store.Keys(ctx, identity)
	if err != nil {
		return nil, err
	}
	found, err := a.peekAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	sessions := make([]listedSession, 0, len(found))
	for _, f := range found {
		sessions = append(sessions, listedSession{f.session, f.lastUsed})
	}
	slices.SortFunc(sessions, func(x, y listedSession) int {
		return cmp.Or(y.IssuedAt.Compare(x.IssuedAt), strings.Compare(x.ID, y.ID))
	})
	return sessions, nil
}

// maxRevokePasses bounds how often the index is read again for sessions that
// were made meanwhile. Whoever signs in without end is not waited for.
const maxRevokePasses = 5

// revokeKeys ends the sessions of a person that are listed in the index and
// returns how many really ended. It goes by the index and not by the sessions:
// one that is just being made is listed first, gets its tombstone here, and
// never comes to life. Then it reads the index again, until nothing is new in
// it: one that was made meanwhile ends, too.
func (a *App) revokeKeys(ctx context.Context, identity string, pick func(session.Key) bool) (int, error) {
	store, err := a.openStore()
	if err != nil {
		return 0, err
	}
	ctx, cancel := detach(ctx)
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
		now := a.now()
		for i := range keys {
			keys[i].ExpiresAt = keys[i].ExpiresAt.Add(session.ClockTolerance)
		}
		ended, err := store.RevokeAll(ctx, identity, keys, now, now.Add(replayWindow+session.ClockTolerance))
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
