package web

import (
	"net/http"
	"slices"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/session"
)

// MissedCookies reports whether a request carries more session cookies than the site
// checked.
func (site *Site) MissedCookies(r *http.Request, credentials []session.Credential) bool {
	if len(credentials) < session.MaxCredentials {
		return false
	}
	for value := range httpx.CookieValues(r.Header, site.Cookie.Name) {
		if session.IsCredential(value) && !slices.Contains(credentials, session.NewCredential(value, session.FromCookie)) {
			return true
		}
	}
	return false
}

// HasCookie reports whether one of the credentials came as a cookie.
func HasCookie(credentials []session.Credential) bool {
	return slices.ContainsFunc(credentials, func(c session.Credential) bool { return c.From == session.FromCookie })
}

// ClearIfOut clears the session cookie after a logout, if every session cookie of the
// request is known not to be live. Browsers hold several under one name, and clearing
// deletes ours, whichever of them was logged out.
func (site *Site) ClearIfOut(w http.ResponseWriter, r *http.Request) {
	credentials := site.Format.Locate(r, nil)
	if !HasCookie(credentials) || site.MissedCookies(r, credentials) {
		return
	}
	for _, c := range credentials {
		if c.From != session.FromCookie {
			continue
		}
		if found, err := site.Peek(r.Context(), site.Format.Key(c)); err != nil || found.Session != nil {
			return
		}
	}
	site.ClearSessionCookie(w, r)
}

// ErrTooManyCookies is the response when a cookie that the site did not check may
// have a live session. To call the session inactive would tell a person that they are
// signed out.
func ErrTooManyCookies() *Error {
	return NewError(http.StatusBadRequest, "too_many_session_cookies",
		"This request carries more session cookies than are looked at, perhaps from another host of this domain. Please delete the cookies of this site, and sign in again.", MsgBadRequest)
}

// Inactive returns the response to a request without a live session.
func (res *Auth) Inactive(err *Error) *Error {
	if res.Missed {
		return ErrTooManyCookies()
	}
	return err
}
