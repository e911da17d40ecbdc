package httpx

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/session"
)

// maxUserAgentLength bounds what is kept of a User-Agent header in bytes.
const maxUserAgentLength = 512

// ClientIP returns the client's address as Caddy trusts it.
func ClientIP(r *http.Request) string {
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok && ip != "" {
		return ip
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// OriginalPath returns the path that the client asked for, decoded and cleaned. It is
// the original path: other handlers may have rewritten the request, but that must not
// hide a logout.
func OriginalPath(r *http.Request) string { return caddyhttp.CleanPath(OriginalURL(r).Path, true) }

// OriginalURL returns the URL that the client asked for.
func OriginalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL
	}
	return r.URL
}

// DeviceOf describes what the request was sent with.
func DeviceOf(r *http.Request) session.Device {
	agent := strings.ToValidUTF8(r.UserAgent(), "")
	if len(agent) > maxUserAgentLength {
		agent = strings.ToValidUTF8(agent[:maxUserAgentLength], "")
	}
	return session.Device{IPAddress: ClientIP(r), UserAgent: agent}
}

// RequestOrigin returns the scheme, host and port that the browser asked.
func RequestOrigin(r *http.Request) string {
	scheme, host := RequestSite(r)
	return scheme + "://" + host
}

// RequestSite returns the same in two parts. What a proxy says of it counts only
// when Caddy trusts that proxy.
func RequestSite(r *http.Request) (scheme, host string) {
	scheme, host = "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if proto := r.Header.Get("X-Forwarded-Proto"); proto == "http" || proto == "https" {
			scheme = proto
		}
		if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" && !strings.ContainsAny(forwarded, "/\\@?#, \t") {
			host = forwarded
		}
	}
	return scheme, host
}
