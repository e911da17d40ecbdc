package session

import (
	"encoding/json"
	"time"
)

// Session says who someone is and until when. It is immutable once made and is
// shared by pointer.
type Session struct {
	// Key names the session in the store.
	Key Key
	// ID is what clients see: [Key.ID] of Key.
	ID string
	// Identity is the id of the person, as the sign-in named it.
	Identity string
	// Traits is a JSON object about the person, passed on as it is; may be nil.
	Traits json.RawMessage
	// Method is how the person proved who they are: "password", "token", ….
	Method string
	// IssuedAt is when the session was made.
	IssuedAt time.Time
	// AuthenticatedAt is when the person proved who they are.
	AuthenticatedAt time.Time
	// ExpiresAt is when the session ends at the latest.
	ExpiresAt time.Time
	// Device is what the person signed in with.
	Device Device
}

// Device is what a person signed in with, for the list of their sessions.
type Device struct {
	// IPAddress of the client, as Caddy trusts it.
	IPAddress string
	// UserAgent as the client sent it, cut to 512 bytes.
	UserAgent string
}

// Live reports whether the session has not reached its end.
func (s *Session) Live(now time.Time) bool { return now.Before(s.ExpiresAt) }
