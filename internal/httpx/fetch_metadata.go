package httpx

import (
	"net/http"
	"strings"

	"github.com/caddy-logout/caddy-logout/internal/returnurl"
)

// Speculative reports whether a browser fetches ahead of a click that may never
// come. Such a request must change nothing: a logout link that is prefetched
// would end the session of someone who only looked at it. The header of today is
// Sec-Purpose; Purpose, X-Moz and X-Purpose are what browsers sent before it.
func Speculative(r *http.Request) bool {
	return hasToken(r.Header["Sec-Purpose"], "prefetch", "prerender") ||
		hasToken(r.Header["Purpose"], "prefetch", "preview") ||
		hasToken(r.Header["X-Moz"], "prefetch", "") ||
		hasToken(r.Header["X-Purpose"], "preview", "prefetch")
}

// hasToken reports whether one of two tokens is among the items and parameters
// of a header.
func hasToken(lines []string, one, other string) bool {
	for _, line := range lines {
		for token := range strings.FieldsFuncSeq(line, isDelimiter) {
			if strings.EqualFold(token, one) || strings.EqualFold(token, other) {
				return true
			}
		}
	}
	return false
}

func isDelimiter(r rune) bool { return strings.ContainsRune(" \t,;=\"", r) }

// EarlyData reports whether the request came in TLS early data (0-RTT), which an
// attacker on the line can send again, so that it must change nothing: answer 425
// (RFC 8470, section 5.2). It came so to us, or to a proxy in front of us, which
// says so in Early-Data (section 5.1).
func EarlyData(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || hasToken(r.Header["Early-Data"], "1", "1")
}

// CrossSite reports whether a browser sent the request for a page of another
// origin, to be asked before a cookie is enough to change something. base is the
// scheme://host[:port] of the request as Caddy trusts it. Sec-Fetch-Site decides,
// since no script can set it; else Origin, else Referer has to be of base.
// A request with none of them is not of a browser: they send Origin with every
// method but GET and HEAD. Lines of one header that disagree are a forgery.
func CrossSite(r *http.Request, base string) bool {
	if lines := r.Header["Sec-Fetch-Site"]; len(lines) > 0 {
		for _, line := range lines {
			if line != lines[0] || (line != "same-origin" && line != "none") {
				return true
			}
		}
		return false
	}
	lines := r.Header["Origin"]
	if len(lines) == 0 {
		lines = r.Header["Referer"]
	}
	if len(lines) == 0 {
		return false
	}
	own, ok := returnurl.Origin(base)
	if !ok {
		return true
	}
	for _, line := range lines {
		if origin, ok := returnurl.Origin(line); !ok || origin != own {
			return true
		}
	}
	return false
}
