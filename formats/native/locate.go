package native

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/session"
)

// SessionTokenHeader carries a session token, as Ory's API clients send it.
const SessionTokenHeader = "X-Session-Token"

// locateCredentials appends the credentials of the request to dst: the header,
// the cookies of the name, the bearer token. All of them are returned, up to
// MaxCredentials, because a wrong one must not hide a good one.
func locateCredentials(r *http.Request, cookieName string, dst []session.Credential) []session.Credential {
	for _, value := range r.Header[SessionTokenHeader] {
		dst = session.AppendCredential(dst, value, session.FromHeader)
	}
	first := len(dst)
	for value := range httpx.CookieValues(r.Header, cookieName) {
		dst = appendCookie(dst, first, value)
	}
	for _, value := range r.Header["Authorization"] {
		if token, ok := bearerToken(value); ok {
			dst = session.AppendCredential(dst, token, session.FromBearer)
		}
	}
	return dst
}

// appendCookie appends a session cookie to the credentials of a request. If there are
// more than fit, it keeps the first ones and the last one. A sibling host can set as
// many as it likes with longer paths, and browsers send those first (RFC 6265,
// section 5.4). Behind ours come only cookies with as short a path: one for each
// domain above ours. Clients that are not browsers mostly send theirs first.
func appendCookie(dst []session.Credential, first int, value string) []session.Credential {
	c := session.NewCredential(value, session.FromCookie)
	if len(dst) < session.MaxCredentials || !session.IsCredential(value) || slices.Contains(dst, c) {
		return session.AppendCredential(dst, value, session.FromCookie)
	}
	if first >= len(dst) {
		return dst // tokens have taken all the room
	}
	if first+1 < len(dst) {
		first++
	}
	copy(dst[first:], dst[first+1:])
	dst[len(dst)-1] = c
	return dst
}

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
