// This file holds what is done with more session cookies than one: which of them
// are looked at, and when it may be said that none of them is live.

package caddylogout

import (
	"net/http"
	"slices"
)

// appendCookie appends a session cookie to the credentials of a request. Of more
// than there is room for, the first and the last are kept. A host beside ours can
// toss in as many as it likes, with longer paths, and browsers send those first
// (RFC 6265, section 5.4). Behind ours come only those with as short a path: one
// for each domain above ours. Clients that are not browsers mostly send theirs
// first.
func appendCookie(dst []Credential, first int, value string) []Credential {
	c := Credential{value: value, Source: SourceCookie}
	if len(dst) < maxCredentials || !isCredential(value) || slices.Contains(dst, c) {
		return appendCredential(dst, value, SourceCookie)
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

// missedCookies reports whether a request carries session cookies that are not
// among the credentials that were looked at.
func (a *App) missedCookies(r *http.Request, credentials []Credential) bool {
	if len(credentials) < maxCredentials {
		return false
	}
	for value := range cookieValues(r.Header, a.Cookie.Name) {
		if isCredential(value) && !slices.Contains(credentials, Credential{value: value, Source: SourceCookie}) {
			return true
		}
	}
	return false
}

func hasCookie(credentials []Credential) bool {
	return slices.ContainsFunc(credentials, func(c Credential) bool { return c.Source == SourceCookie })
}

// clearIfOut clears the session cookie after a logout, if every session cookie of
// the request is known not to be live. Browsers hold several under one name, and
// to clear it deletes ours, whichever of them was logged out.
func (a *App) clearIfOut(w http.ResponseWriter, r *http.Request) {
	credentials := a.format.Locate(r, nil)
	if !hasCookie(credentials) || a.missedCookies(r, credentials) {
		return
	}
	for _, c := range credentials {
		if c.Source != SourceCookie {
			continue
		}
		if found, err := a.peek(r.Context(), a.format.Key(c)); err != nil || found.session != nil {
			return
		}
	}
	a.clearSessionCookie(w, r)
}

// errTooManyCookies is the answer when nobody knows whether there is a live
// session, because it may be that of a cookie that was not looked at. To call it
// inactive would tell somebody that they are signed out.
func errTooManyCookies() *apiError {
	return newError(http.StatusBadRequest, "too_many_session_cookies",
		"This request carries more session cookies than are looked at, perhaps from another host of this domain. Please delete the cookies of this site, and sign in again.", msgBadRequest)
}

// inactive returns the answer to a request without a live session.
func (res *authResult) inactive(err *apiError) *apiError {
	if res.missed {
		return errTooManyCookies()
	}
	return err
}
