package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
)

// Base returns the scheme, host and port under which the browser knows us,
// without a slash at the end: base_url, or where the request itself went.
func (site *Site) Base(r *http.Request) string {
	if site.BaseURL != "" {
		return site.BaseURL
	}
	return httpx.RequestOrigin(r)
}

// SiteOrigin returns the origin of the site that the request came to. It is not
// base_url if that is another host, which other apps may share.
func (site *Site) SiteOrigin(r *http.Request) string {
	origin := httpx.RequestOrigin(r)
	if _, host, ok := strings.Cut(site.BaseURL, "://"); ok && strings.HasSuffix(origin, "://"+host) {
		return site.BaseURL
	}
	return origin
}

// LogoutURL is the address that ends the session of a logout token.
func (site *Site) LogoutURL(r *http.Request, token, returnTo string) string {
	query := "token="
	if returnTo != "" {
		query = "return_to=" + url.QueryEscape(returnTo) + "&" + query
	}
	base, host := site.BaseURL, ""
	if base == "" {
		base, host = httpx.RequestSite(r)
		base += "://"
	}
	return base + host + site.Prefix + "/self-service/logout?" + query + token // letters, digits and _
}

// CheckReturnURL returns the URL to send the browser to for a return_to, empty
// for the default.
func (site *Site) CheckReturnURL(r *http.Request, raw string) (string, error) {
	return site.ReturnURLs.Check(raw, site.Base(r))
}

// DefaultLocation is the default return URL as this request needs it.
func (site *Site) DefaultLocation(r *http.Request) string {
	location, err := site.CheckReturnURL(r, "")
	if err != nil {
		return "/"
	}
	return location
}

// HomeURL is the link that leads on from a page of ours: the default return URL,
// unless that is the signed-out page.
func (site *Site) HomeURL(r *http.Request) string {
	home := site.DefaultLocation(r)
	if u, err := url.Parse(home); err != nil || u.Path == site.Prefix+DonePath {
		return "/"
	}
	return home
}

// OwnPath returns the path that the client asked for, cleaned and without our prefix,
// or "" if it is not below the prefix. It is the original path: other handlers may
// have rewritten the request, but that must not hide a logout.
func OwnPath(r *http.Request, prefix string) string {
	rest, ok := strings.CutPrefix(httpx.OriginalPath(r), prefix)
	if !ok || !strings.HasPrefix(rest, "/") {
		return ""
	}
	return rest
}

// OriginalURI is the path and query that the browser asked for.
func OriginalURI(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL.RequestURI()
	}
	return r.URL.RequestURI()
}

// DonePath is the address of the signed-out page, and of the image on it or on an
// app's own, below the prefix of the sessions app.
const DonePath = "/self-service/logout/done"

// ValidatePrefix checks the prefix of our paths: it refuses all that servers and
// proxies read in different ways.
func ValidatePrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") ||
		strings.Contains(prefix, "//") || strings.ContainsAny(prefix, "?#*\\%; ") {
		return errors.New("want a path like /.ory, without a slash at its end")
	}
	return nil
}
