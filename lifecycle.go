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
)

// replayWindow is how long after a logout the same logout is answered as the
// first time: a double click, a second tab, another node.
const replayWindow = 10 * time.Minute

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
	device   Device
	ending   []Key // what the caller ends in its favour
}

// errInvalidSession says that a session cannot be made of what was asked for.
var errInvalidSession = errors.New("invalid session")

func (n *newSession) validate() error {
	switch {
	case n.identity == "":
		return fmt.Errorf("%w: identity: must not be empty", errInvalidSession)
	case len(n.identity) > maxIdentityLength:
		return fmt.Errorf("%w: identity: at most %d bytes", errInvalidSession, maxIdentityLength)
	case strings.ContainsFunc(n.identity, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return fmt.Errorf("%w: identity: no control characters, and valid UTF-8", errInvalidSession)
	case !isJSONObject(n.traits) || (len(n.traits) > 0 && !json.Valid(n.traits)):
		return fmt.Errorf("%w: traits: must be a JSON object", errInvalidSession)
	case len(n.traits) > maxTraitsLength:
		return fmt.Errorf("%w: traits: at most %d bytes", errInvalidSession, maxTraitsLength)
	case n.lifespan < 0 || n.lifespan > maxLifespan:
		return fmt.Errorf("%w: lifespan: more than 0, at most 10 years", errInvalidSession)
	}
	return nil
}

// issue makes a session under a fresh credential and returns both. Nothing that
// a client sends becomes a credential, so no session can be fixed in advance.
func (a *App) issue(ctx context.Context, n newSession) (Credential, *Session, error) {
	if err := n.validate(); err != nil {
		return Credential{}, nil, err
	}
	if n.lifespan == 0 {
		n.lifespan = time.Duration(a.Lifespan)
	}
	c := Credential{value: newSessionToken()}
	key := a.format.Key(c)
	now := a.now().UTC().Truncate(time.Millisecond)
	s := &Session{
		Key:             key,
		ID:              key.ID(),
		Identity:        n.identity,
		Traits:          n.traits,
		Method:          n.method,
		IssuedAt:        now,
		AuthenticatedAt: now,
		ExpiresAt:       now.Add(n.lifespan),
		Device:          n.device,
	}
	value, err := a.format.Encode(s)
	if err != nil {
		return Credential{}, nil, err
	}
	store, err := a.openStore()
	if err != nil {
		return Credential{}, nil, err
	}
	bound := a.bound()
	if err := store.Create(ctx, key, Entry{Identity: s.Identity, Value: value, ExpiresAt: s.ExpiresAt, Bound: bound}); err != nil {
		return Credential{}, nil, err
	}
	store.cache.Changed(key)
	if bound != nil && bound.Exceeded {
		a.keepWithin(ctx, s.Identity, n.ending)
	}
	return c, s, nil
}

// revoke ends a session in the store; when it returns nil, the session is gone.
// The tombstone outlives the session, so that nothing that writes it back
// revives it.
func (a *App) revoke(ctx context.Context, s *Session) (bool, error) {
	store, err := a.openStore()
	if err != nil {
		return false, err
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	now := a.now()
	store.streams.spare(ctx, s.Key)
	ended, err := a.format.Revoke(ctx, store, s, now, later(s.ExpiresAt, now.Add(replayWindow)))
	store.forget(s.Key, now, err)
	return ended, err
}

// discard ends a session that was just made and that nobody gets: without its
// cookie it would only stand in the person's list.
func (a *App) discard(ctx context.Context, s *Session) {
	if _, err := a.revoke(ctx, s); err != nil {
		a.logger.Warn("ending a session that nobody got failed", zap.String("session", s.Key.Short()), zap.Error(err))
	}
}

// forget takes a key out of the near cache, and ends what is being served for
// it, before anyone is told that it is revoked. After an error it may or may not
// be: the store is to be asked.
func (o *opened) forget(key Key, revokedAt time.Time, err error) {
	if err != nil {
		o.cache.Changed(key)
		o.streams.Changed(key)
		return
	}
	o.cache.revoked(key, revokedAt)
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
	*Session
	// lastUsed is the last use that is known of. It means something with
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
func (a *App) revokeKeys(ctx context.Context, identity string, pick func(Key) bool) (int, error) {
	store, err := a.openStore()
	if err != nil {
		return 0, err
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	count, done := 0, make(map[Key]bool)
	for range maxRevokePasses {
		keys, err := store.Keys(ctx, identity)
		if err != nil {
			return count, err
		}
		keys = slices.DeleteFunc(keys, func(key IndexedKey) bool { return done[key.Key] || !pick(key.Key) })
		if len(keys) == 0 {
			break
		}
		now := a.now()
		ended, err := store.RevokeAll(ctx, identity, keys, now, now.Add(replayWindow))
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
