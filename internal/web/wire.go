package web

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-logout/caddy-logout/session"
)

// Session is a session as the clients' models need it.
type Session struct {
	ID              string       `json:"id"`
	Active          bool         `json:"active"`
	ExpiresAt       time.Time    `json:"expires_at"`
	AuthenticatedAt time.Time    `json:"authenticated_at"`
	AAL             string       `json:"authenticator_assurance_level"`
	Methods         []WireMethod `json:"authentication_methods"`
	IssuedAt        time.Time    `json:"issued_at"`
	Identity        WireIdentity `json:"identity"`
	Devices         []WireDevice `json:"devices"`
	// Current marks the caller's own session in a list of all.
	Current bool `json:"current,omitempty"`
}

// WireMethod is how the person of a session has signed in.
type WireMethod struct {
	Method      string    `json:"method"`
	AAL         string    `json:"aal"`
	CompletedAt time.Time `json:"completed_at"`
}

// WireIdentity is the person of a session.
type WireIdentity struct {
	ID             string          `json:"id"`
	SchemaID       string          `json:"schema_id"`
	SchemaURL      string          `json:"schema_url"`
	State          string          `json:"state"`
	Traits         json.RawMessage `json:"traits"`
	MetadataPublic *struct{}       `json:"metadata_public"`
	OrganizationID *string         `json:"organization_id"`
}

// WireDevice is where a session was made.
type WireDevice struct {
	ID        string  `json:"id"`
	IPAddress string  `json:"ip_address"`
	UserAgent *string `json:"user_agent"`
	Location  string  `json:"location"`
}

// AAL1 is the one assurance level there is: one factor.
const AAL1 = "aal1"

// SessionJSON returns what clients see of a session. base is the base URL.
func SessionJSON(s *session.Session, base string) Session {
	method := s.Method
	if method == "" {
		method = "password"
	}
	traits := s.Traits
	if len(traits) == 0 || string(traits) == "null" {
		traits = json.RawMessage("{}")
	}
	device := WireDevice{ID: deviceID(s), IPAddress: s.Device.IPAddress}
	if s.Device.UserAgent != "" {
		device.UserAgent = &s.Device.UserAgent
	}
	return Session{
		ID:              s.ID,
		Active:          true,
		ExpiresAt:       s.ExpiresAt,
		AuthenticatedAt: s.AuthenticatedAt,
		AAL:             AAL1,
		Methods:         []WireMethod{{Method: method, AAL: AAL1, CompletedAt: s.AuthenticatedAt}},
		IssuedAt:        s.IssuedAt,
		Identity: WireIdentity{
			ID:        s.Identity,
			SchemaID:  "default",
			SchemaURL: base + "/schemas/ZGVmYXVsdA", // "default" in base64url
			State:     "active",
			Traits:    traits,
		},
		Devices: []WireDevice{device},
	}
}

// deviceID names the device of a session: a UUID of version 5 under its id.
func deviceID(s *session.Session) string {
	session, err := uuid.Parse(s.ID)
	if err != nil {
		return s.ID
	}
	return uuid.NewSHA1(session, []byte("device")).String()
}
