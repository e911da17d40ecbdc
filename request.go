// This file reads what else a request says: who sent it, from where, and under
// which address the browser knows us.

package caddylogout

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// maxUserAgentLength bounds what is kept of a User-Agent header in bytes.
const maxUserAgentLength = 512

// clientIP returns the client's address as Caddy trusts it.
func clientIP(r *http.Request) string {
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok && ip != "" {
		return ip
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// originalPath returns the path that the client asked for, decoded and cleaned.
// It is the original path: other handlers may have rewritten the request, but
// nobody may hide a logout.
func originalPath(r *http.Request) string { return caddyhttp.CleanPath(originalURL(r).Path, true) }

// originalURL returns the URL that the client asked for.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL
	}
	return r.URL
}

// deviceOf describes what the request was sent with.
func deviceOf(r *http.Request) Device {
	agent := strings.ToValidUTF8(r.UserAgent(), "")
	if len(agent) > maxUserAgentLength {
		agent = strings.ToValidUTF8(agent[:maxUserAgentLength], "")
	}
	return Device{IPAddress: clientIP(r), UserAgent: agent}
}

// baseURL returns the scheme, host and port under which the browser knows us,
// without a slash at the end: base_url, or where the request itself went.
func (a *App) baseURL(r *http.Request) string {
	if a.BaseURL != "" {
		return a.BaseURL
	}
	return requestOrigin(r)
}

// requestOrigin returns the scheme, host and port that the browser asked.
func requestOrigin(r *http.Request) string {
	scheme, host := requestSite(r)
	return scheme + "://" + host
}

// requestSite returns the same in two parts. What a proxy says of it counts only
// when Caddy trusts that proxy.
func requestSite(r *http.Request) (scheme, host string) {
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

// checkReturnURL returns the URL to send the browser to for a return_to, empty
// for the default.
func (a *App) checkReturnURL(r *http.Request, raw string) (string, error) {
	return a.returnURLs.check(raw, a.baseURL(r))
}

// appOf returns the sessions app of a context.
func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("sessions")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}
