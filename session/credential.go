package session

import (
	"crypto/rand"
	"encoding/base32"
	"slices"
)

// Prefixes of our tokens, the same as Ory's.
const (
	TokenPrefix       = "ory_st_"
	LogoutTokenPrefix = "ory_lo_"
)

// MaxCredentials bounds how many credentials of one request are looked at, so
// that a request full of cookies costs no more than a few look-ups. It leaves
// room for a good cookie behind those that a sibling subdomain has set.
const MaxCredentials = 8

// MaxCredentialLength bounds a credential in bytes; longer ones are ignored.
const MaxCredentialLength = 4096

// tokenEncoding writes tokens with letters and digits only, so that they need
// no escaping in a URL, a cookie or a shell: 20 bytes are 32 characters.
var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Carrier says where in a request a credential was found.
type Carrier uint8

// The carriers of a credential, in the order in which they are looked at.
const (
	// FromHeader is the X-Session-Token header.
	FromHeader Carrier = iota
	// FromCookie is the session cookie.
	FromCookie
	// FromBearer is the Authorization header with the Bearer scheme (RFC 6750).
	FromBearer
)

// Credential is the secret by which a client proves its session. It is never
// stored and never logged.
type Credential struct {
	value string
	// From is where it was found.
	From Carrier
}

// NewCredential is a credential that was found in a request.
func NewCredential(value string, from Carrier) Credential {
	return Credential{value: value, From: from}
}

// Secret returns the credential itself, for those who hand it to its client, or compare
// it. Nothing else may hold it: the field is not exported, so that
// nothing marshals it.
func (c Credential) Secret() string { return c.value }

// String hides the credential from anything that prints it.
func (Credential) String() string { return "[credential]" }

// GoString hides the credential from anything that prints it.
func (c Credential) GoString() string { return c.String() }

// NewToken makes a credential of 160 random bits.
func NewToken() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return TokenPrefix + tokenEncoding.EncodeToString(b[:])
}

// AppendCredential appends a value, unless it cannot be a credential, is there already, or
// there is no room for it.
func AppendCredential(dst []Credential, value string, from Carrier) []Credential {
	if !IsCredential(value) || len(dst) >= MaxCredentials {
		return dst
	}
	c := NewCredential(value, from)
	if slices.Contains(dst, c) {
		return dst
	}
	return append(dst, c)
}

// IsCredential reports whether a value can be a credential at all.
func IsCredential(value string) bool { return value != "" && len(value) <= MaxCredentialLength }
