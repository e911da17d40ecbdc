// This file finds the credentials of a request and makes new ones.

package caddylogout

import (
	"crypto/rand"
	"encoding/base32"
	"net/http"
	"slices"
	"strings"
)

// Prefixes of what we hand out, as Ory's clients know them.
const (
	sessionTokenPrefix = "ory_st_"
	logoutTokenPrefix  = "ory_lo_"
)

// sessionTokenHeader carries a session token, as Ory's API clients send it.
const sessionTokenHeader = "X-Session-Token"

// maxCredentials bounds how many credentials of one request are looked at, so
// that a request full of cookies costs no more than a few look-ups. It leaves
// room for a good cookie behind those that a sibling subdomain has tossed in.
const maxCredentials = 8

// maxCredentialLength bounds a credential in bytes; longer ones are none.
const maxCredentialLength = 4096

// tokenEncoding writes tokens with letters and digits only, so that they need
// no escaping in a URL, a cookie or a shell: 20 bytes are 32 characters.
var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Source says where in a request a credential was found.
type Source uint8

// The sources of a credential, in the order in which they are looked at.
const (
	// SourceHeader is the X-Session-Token header.
	SourceHeader Source = iota
	// SourceCookie is the session cookie.
	SourceCookie
	// SourceBearer is the Authorization header with the Bearer scheme (RFC 6750).
	SourceBearer
)

// Credential is what a client brought to prove its session. It is never stored
// and never logged.
type Credential struct {
	value string
	// Source is where it was found.
	Source Source
}

// String hides the credential from anything that prints it.
func (Credential) String() string { return "[credential]" }

// GoString hides the credential from anything that prints it.
func (c Credential) GoString() string { return c.String() }

// newSessionToken makes a credential of 160 random bits.
func newSessionToken() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return sessionTokenPrefix + tokenEncoding.EncodeToString(b[:])
}

// locateCredentials appends the credentials of the request to dst: the header,
// the cookies of the name, the bearer token. All of them are returned, up to
// maxCredentials, because a wrong one must not hide a good one.
func locateCredentials(r *http.Request, cookieName string, dst []Credential) []Credential {
	for _, value := range r.Header[sessionTokenHeader] {
		dst = appendCredential(dst, value, SourceHeader)
	}
	first := len(dst)
	for value := range cookieValues(r.Header, cookieName) {
		dst = appendCookie(dst, first, value)
	}
	for _, value := range r.Header["Authorization"] {
		if token, ok := bearerToken(value); ok {
			dst = appendCredential(dst, token, SourceBearer)
		}
	}
	return dst
}

func appendCredential(dst []Credential, value string, source Source) []Credential {
	if !isCredential(value) || len(dst) >= maxCredentials {
		return dst
	}
	c := Credential{value: value, Source: source}
	if slices.Contains(dst, c) {
		return dst
	}
	return append(dst, c)
}

// isCredential reports whether a value can be a credential at all.
func isCredential(value string) bool { return value != "" && len(value) <= maxCredentialLength }

// bearerToken returns the token of an Authorization header's value. The scheme
// is case-insensitive (RFC 9110, section 11.1).
func bearerToken(value string) (string, bool) {
	scheme, token, found := strings.Cut(strings.TrimSpace(value), " ")
	if !found || !strings.EqualFold(scheme, "bearer") {
		return "", false
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || strings.ContainsAny(token, " \t") {
		return "", false
	}
	return token, true
}
