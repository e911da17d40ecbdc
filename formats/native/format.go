// Package native is how our own sessions are kept: where a request carries their
// credentials, how they are named in the store, and the JSON that is stored.
package native

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

// schemaVersion is the version of the stored JSON, see docs/redis.md.
const schemaVersion = 1

// errForeign means that a stored value is not a session of ours: it has another
// schema version, is broken, or was copied from another key.
var errForeign = errors.New("stored value is not a session of this version and key")

// Format is how our own sessions are kept.
type Format struct {
	cookieName string
}

// New returns the format whose credentials are in cookies of this name.
func New(cookieName string) Format { return Format{cookieName: cookieName} }

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

// Locate appends the credentials of the request to dst, best first.
func (f Format) Locate(r *http.Request, dst []session.Credential) []session.Credential {
	return locateCredentials(r, f.cookieName, dst)
}

// Key returns the name of a credential's session in the store.
func (Format) Key(c session.Credential) session.Key { return session.KeyOf(c.Secret()) }

// Decode reads a stored session. The id inside the value is checked against the key,
// so that a value copied to another key is nobody's session. An identity that an app
// may take for another person's is an error, too.
func (Format) Decode(key session.Key, value []byte) (*session.Session, error) {
	var stored storedSession
	if err := decodeStored(value, &stored); err != nil {
		return nil, errForeign // the cause would quote the value
	}
	switch {
	case stored.Version != schemaVersion, stored.ID != key.ID(),
		person.CheckIdentity(stored.Identity) != nil, stored.IssuedAt.IsZero(), stored.ExpiresAt.IsZero(),
		!isJSONObject(stored.Traits):
		return nil, errForeign
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
func (Format) Encode(s *session.Session) ([]byte, error) {
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

// Revoke ends a session in the store, and reports whether it was there.
func (Format) Revoke(ctx context.Context, store session.Store, s *session.Session, at, until time.Time) (bool, error) {
	return store.Revoke(ctx, s.Key, s.Identity, at, until)
}

// isJSONObject reports whether traits are absent, null, or an object.
func isJSONObject(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null" || raw[0] == '{'
}
