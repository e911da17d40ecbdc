// This file keeps browsers from keeping pages of the app: what the back button
// shows after a logout.

package caddylogout

import (
	"net/http"
	"strings"
)

// noStore adds Cache-Control: no-store (RFC 9111, section 5.2.2.5) to HTML, in
// place of what the app allows. Scripts, styles and images stay cacheable: they
// are the same for everybody, and a page without a store would load them all again.
func noStore(h http.Header, status int) {
	if !informational(status) && isHTML(h) {
		h["Cache-Control"] = []string{"no-store"}
	}
}

// isHTML reports whether a browser may show the answer as a page. Without a
// Content-Type somebody guesses, the server behind us or the browser: it counts.
func isHTML(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) == 0 {
		return true
	}
	media, _, _ := strings.Cut(types[0], ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "" || media == "text/html" || media == "application/xhtml+xml"
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
