// This file holds the four steps from a request to a session and to its end,
// and the native way of taking them.

package caddylogout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/person"
	"github.com/caddy-logout/caddy-logout/session"
)

// Format is one way of keeping sessions: how a credential is found in a
// request, how it is named in the store, how what is stored becomes a session,
// and how a session is ended.
type Format interface {
	// Locate appends the request's credentials to dst, best first.
	Locate(r *http.Request, dst []session.Credential) []session.Credential
	// Key names the credential in the store.
	Key(c session.Credential) session.Key
	// Decode reads a stored session. An error means that the value is not a
	// session this version can vouch for.
	Decode(key session.Key, value []byte) (*session.Session, error)
	// Revoke ends a session with a tombstone that lasts until the given time,
	// and says whether there was one to end.
	Revoke(ctx context.Context, store session.Store, s *session.Session, at, until time.Time) (ended bool, err error)
}

// schemaVersion is the version of the stored JSON, see docs/redis.md.
const schemaVersion = 1

// errForeignValue says that a stored value is not a session of ours: of another
// schema version, broken, or copied from under another key.
var errForeignValue = errors.New("stored value is not a session of this version and key")

// nativeFormat is how our own sessions are kept.
type nativeFormat struct {
	cookieName string
}

// storedSession is the stored JSON of schema version 1.
type storedSession struct {
	Version         int             `json:"v"`
	ID              string          `json:"id"`
	Identity        string          `json:"identity"`
	Traits          json.RawMessage `json:"traits,omitempty"`
	Method          string          `json:"method,omitempty"`
	IssuedAt        time.Time       `json:"issued_at"`
	AuthenticatedAt time.Time       `json:"authenticated_at,omitzero"`
	ExpiresAt       time.Time       `json:"expires_at"`
	Device          storedDevice    `json:"device,omitzero"`
}

type storedDevice struct {
	IPAddress string `json:"ip_address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

// Locate implements [Format].
func (f nativeFormat) Locate(r *http.Request, dst []session.Credential) []session.Credential {
	return locateCredentials(r, f.cookieName, dst)
}

// Key implements [Format].
func (nativeFormat) Key(c session.Credential) session.Key { return session.KeyOf(c.Secret()) }

// Decode implements [Format]. The id inside the value is checked against the
// key, so that a value copied to another key is nobody's session. An identity that
// an app may take for another one's is no session that we can vouch for, either.
func (nativeFormat) Decode(key session.Key, value []byte) (*session.Session, error) {
	var stored storedSession
	if err := decodeStored(value, &stored); err != nil {
		return nil, errForeignValue // the cause would quote the value
	}
	switch {
	case stored.Version != schemaVersion, stored.ID != key.ID(),
		person.CheckIdentity(stored.Identity) != nil, stored.IssuedAt.IsZero(), stored.ExpiresAt.IsZero(),
		!isJSONObject(stored.Traits):
		return nil, errForeignValue
	}
	s := &session.Session{
		Key:             key,
		ID:              stored.ID,
		Identity:        stored.Identity,
		Traits:          stored.Traits,
		Method:          stored.Method,
		IssuedAt:        stored.IssuedAt,
		AuthenticatedAt: stored.AuthenticatedAt,
		ExpiresAt:       stored.ExpiresAt,
		Device:          session.Device(stored.Device),
	}
	if s.AuthenticatedAt.IsZero() {
		s.AuthenticatedAt = s.IssuedAt
	}
	return s, nil
}

// Encode returns what Decode reads.
func (nativeFormat) Encode(s *session.Session) ([]byte, error) {
	value, err := json.Marshal(storedSession{
		Version:         schemaVersion,
		ID:              s.ID,
		Identity:        s.Identity,
		Traits:          s.Traits,
		Method:          s.Method,
		IssuedAt:        s.IssuedAt,
		AuthenticatedAt: s.AuthenticatedAt,
		ExpiresAt:       s.ExpiresAt,
		Device:          storedDevice(s.Device),
	})
	if err != nil {
		return nil, fmt.Errorf("encoding session: %w", err)
	}
	return value, nil
}

// Revoke implements [Format].
func (nativeFormat) Revoke(ctx context.Context, store session.Store, s *session.Session, at, until time.Time) (bool, error) {
	return store.Revoke(ctx, s.Key, s.Identity, at, until)
}

// isJSONObject accepts what traits may be: nothing, null, or an object.
func isJSONObject(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null" || raw[0] == '{'
}

var _ Format = nativeFormat{}
