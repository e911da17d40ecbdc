// This file keeps browsers from keeping pages of the app: what the back button
// shows after a logout.

package caddylogout

import (
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// noStoreWriter adds Cache-Control: no-store (RFC 9111, section 5.2.2.5) to
// HTML. Scripts, styles and images stay cacheable: they are the same for
// everybody, and a page without a store would load them all again.
type noStoreWriter struct {
	*caddyhttp.ResponseWriterWrapper
	wrote bool
}

func newNoStoreWriter(w http.ResponseWriter) *noStoreWriter {
	return &noStoreWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
}

// WriteHeader implements http.ResponseWriter.
func (n *noStoreWriter) WriteHeader(status int) {
	informational := status >= 100 && status <= 199 && status != http.StatusSwitchingProtocols
	if !n.wrote && !informational {
		n.wrote = true
		if h := n.Header(); isHTML(h) {
			h["Cache-Control"] = []string{"no-store"} // in place of what the app allows
		}
	}
	n.ResponseWriterWrapper.WriteHeader(status)
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

// Write implements http.ResponseWriter.
func (n *noStoreWriter) Write(data []byte) (int, error) {
	if !n.wrote {
		n.WriteHeader(http.StatusOK)
	}
	return n.ResponseWriterWrapper.Write(data)
}

// ReadFrom implements io.ReaderFrom, for copies that the kernel makes.
func (n *noStoreWriter) ReadFrom(src io.Reader) (int64, error) {
	if !n.wrote {
		n.WriteHeader(http.StatusOK)
	}
	return n.ResponseWriterWrapper.ReadFrom(src)
}

// FlushError implements what http.ResponseController looks for: a flush sends
// the header too.
func (n *noStoreWriter) FlushError() error {
	if !n.wrote {
		n.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(n.ResponseWriterWrapper).Flush()
}

// doneCookie is added to the name of the session cookie.
const doneCookie = "_done"

// serveDone answers a goodbye page's picture with no picture, and with a cookie
// that is gone after a second. Chromium keeps pages whole in its back/forward
// cache in spite of no-store, and drops them when an HttpOnly cookie changes. The
// deletion of the session cookie comes too early for that: the page is put there
// when the page after it, that is goodbye, begins. This comes after.
func (a *App) serveDone(w http.ResponseWriter, r *http.Request) error {
	cookie := a.sessionCookie(r)
	cookie.Name += doneCookie
	cookie.Value, cookie.MaxAge = "1", 1
	replaceCookie(w.Header(), cookie)
	return writeNoContent(w)
}

// Interface guards.
var (
	_ http.ResponseWriter = (*noStoreWriter)(nil)
	_ io.ReaderFrom       = (*noStoreWriter)(nil)
)
