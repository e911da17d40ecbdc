// This file serves the page that says goodbye, and its picture.

package caddylogout

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/pages"
)

// donePath is the address of the signed-out page, and of the picture on it or on
// any other goodbye page, below the prefix of the sessions app.
const donePath = "/self-service/logout/done"

// serveDone answers a browser that goes there with the signed-out page, and all
// else with the picture.
func (a *App) serveDone(w http.ResponseWriter, r *http.Request) error {
	if !goesToPage(r) {
		return a.serveDonePicture(w, r)
	}
	// Nobody is told to be signed out who is not, nor while it is not known.
	res, err := a.authenticate(r)
	if err != nil {
		return a.unavailable(w, r, err)
	}
	if res.session != nil {
		return redirect(w, r, a.homeURL(r))
	}
	if res.missed {
		return a.failPage(w, r, errTooManyCookies())
	}
	for _, c := range a.Format.Locate(r, nil) {
		switch found, err := a.Lookup(r.Context(), c); {
		case err != nil:
			return a.unavailable(w, r, err)
		case found.Pending:
			return a.answerPending(w, r, false)
		}
	}
	a.clearIfDead(w, r, res)
	prepare(w.Header())
	return a.pages.SignedOut(w, r, pages.SignedOutData{Home: a.homeURL(r), Done: a.Prefix + donePath})
}

// goesToPage reports whether a browser asks for a page: it names HTML, which it
// does not for pictures, and says so where it has fetch metadata.
func goesToPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || httpx.Speculative(r) {
		return false
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" {
		return dest == "document"
	}
	return slices.ContainsFunc(r.Header["Accept"], func(accept string) bool { return strings.Contains(accept, "text/html") })
}

// homeURL is the link that leads on from a page of ours: the default return URL,
// unless that is the signed-out page, which is no place to go on to.
func (a *App) homeURL(r *http.Request) string {
	home := a.defaultLocation(r)
	if u, err := url.Parse(home); err != nil || u.Path == a.Prefix+donePath {
		return "/"
	}
	return home
}

// defaultLocation is the default return URL as this request needs it.
func (a *App) defaultLocation(r *http.Request) string {
	location, err := a.checkReturnURL(r, "")
	if err != nil {
		return "/"
	}
	return location
}

// doneCookie is added to the name of the session cookie.
const doneCookie = "_done"

// serveDonePicture answers a goodbye page's picture with no picture, and with a cookie
// that is gone after a second. Chromium keeps pages whole in its back/forward
// cache in spite of no-store, and drops them when an HttpOnly cookie changes. The
// deletion of the session cookie comes too early for that: the page is put there
// when the page after it, that is goodbye, begins. This comes after.
func (a *App) serveDonePicture(w http.ResponseWriter, r *http.Request) error {
	cookie := a.sessionCookie(r)
	cookie.Name += doneCookie
	cookie.Value, cookie.MaxAge = "1", 1
	replaceCookie(w.Header(), r, cookie)
	return writeNoContent(w)
}
