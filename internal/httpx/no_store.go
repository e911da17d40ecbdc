package httpx

import (
	"net/http"
	"strings"
)

// NoStore adds Cache-Control: no-store (RFC 9111, section 5.2.2.5) to HTML, in
// place of what the app allows. Scripts, styles and images stay cacheable: they
// are the same for everybody, and a page without a store would load them all again.
func NoStore(h http.Header, status int) {
	if !Informational(status) && isHTML(h) {
		h["Cache-Control"] = []string{"no-store"}
	}
}

// isHTML reports whether a browser may show the response as a page. Without a
// Content-Type the server behind us or the browser guesses, so it counts.
func isHTML(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) == 0 {
		return true
	}
	media, _, _ := strings.Cut(types[0], ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "" || media == "text/html" || media == "application/xhtml+xml"
}
