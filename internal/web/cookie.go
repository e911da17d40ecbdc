package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/session"
)

// Cookie is how the session cookie looks. It is always HttpOnly.
type Cookie struct {
	// Name of the cookie. Default: ory_kratos_session. A name that starts with
	// __Host- or __Secure- binds browsers to rules (RFC 6265bis, section
	// 4.1.3), which are enforced here too.
	Name string `json:"name,omitempty"`

	// Domain to which browsers send the cookie, with all hosts below it. Default:
	// only the host that set it.
	Domain string `json:"domain,omitempty"`

	// Path below which browsers send the cookie. Default: /.
	Path string `json:"path,omitempty"`

	// SameSite is lax, strict or none. Default: lax.
	SameSite string `json:"same_site,omitempty"`

	// Secure keeps the cookie to HTTPS. Default: on when the request came over HTTPS,
	// as far as Caddy trusts the proxies before it.
	Secure *bool `json:"secure,omitempty"`

	// Persistent lets the cookie outlive the browser, to the end of the
	// session. Default: true.
	Persistent *bool `json:"persistent,omitempty"`
}

// DefaultCookieName is that of Ory Kratos: its clients find it.
const DefaultCookieName = "ory_kratos_session"

// The prefixes of names that bind browsers to rules (RFC 6265bis, section 4.1.3).
const (
	HostPrefix   = "__Host-"
	SecurePrefix = "__Secure-"
)

// SetDefaults fills in what is not configured.
func (c *Cookie) SetDefaults() {
	if c.Name == "" {
		c.Name = DefaultCookieName
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.SameSite == "" {
		c.SameSite = "lax"
	}
}

// Validate returns what is wrong with the cookie, or nil.
func (c *Cookie) Validate() error {
	fail := func(option, reason string) error { return fmt.Errorf("%s: %s", option, reason) }
	switch {
	case !httpguts.ValidHeaderFieldName(c.Name):
		return fail("name", "not a token (RFC 6265, section 4.1.1)")
	case c.Path != "" && (c.Path[0] != '/' || strings.ContainsAny(c.Path, ";\x00\r\n")):
		return fail("path", "want a path that starts with /")
	case strings.ContainsAny(c.Domain, "/:;, ") || strings.HasSuffix(c.Domain, "."):
		return fail("domain", "want a host name alone")
	}
	switch c.SameSite {
	case "", "lax", "strict":
	case "none":
		if c.Secure != nil && !*c.Secure {
			return fail("same_site", "none needs Secure, and secure is off")
		}
	default:
		return fail("same_site", "want lax, strict or none")
	}
	insecure := c.Secure != nil && !*c.Secure
	switch {
	case HasPrefixFold(c.Name, HostPrefix):
		if c.Domain != "" {
			return fail("name", "a __Host- cookie has no domain")
		}
		if c.Path != "" && c.Path != "/" {
			return fail("name", "a __Host- cookie has the path /")
		}
		if insecure {
			return fail("name", "a __Host- cookie is secure")
		}
	case HasPrefixFold(c.Name, SecurePrefix) && insecure:
		return fail("name", "a __Secure- cookie is secure")
	}
	return nil
}

// HasPrefixFold is strings.HasPrefix without regard to case.
func HasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// secure reports whether the response to r keeps a cookie to HTTPS.
func (site *Site) secure(r *http.Request) bool {
	c := &site.Cookie
	if c.Secure != nil {
		return *c.Secure
	}
	return HasPrefixFold(c.Name, HostPrefix) || HasPrefixFold(c.Name, SecurePrefix) ||
		c.SameSite == "none" || strings.HasPrefix(site.Base(r), "https://")
}

// SessionCookie returns the session cookie without a value.
func (site *Site) SessionCookie(r *http.Request) *http.Cookie {
	cookie := &http.Cookie{
		Name:     site.Cookie.Name,
		Path:     site.Cookie.Path,
		Domain:   site.Cookie.Domain,
		HttpOnly: true,
		Secure:   site.secure(r),
		SameSite: http.SameSiteLaxMode,
	}
	switch site.Cookie.SameSite {
	case "strict":
		cookie.SameSite = http.SameSiteStrictMode
	case "none":
		cookie.SameSite = http.SameSiteNoneMode
	}
	return cookie
}

// SetSessionCookie hands the credential to the browser.
func (site *Site) SetSessionCookie(w http.ResponseWriter, r *http.Request, c session.Credential, s *session.Session) {
	cookie := site.SessionCookie(r)
	cookie.Value = c.Secret()
	if site.Cookie.Persistent == nil || *site.Cookie.Persistent {
		left := s.ExpiresAt.Sub(site.Now())
		cookie.Expires = s.ExpiresAt
		cookie.MaxAge = max(1, int(left/time.Second))
	}
	ReplaceCookie(w.Header(), r, cookie)
}

// ClearSessionCookie makes the browser forget the session cookie: an empty
// value under the attributes of its creation, since a browser takes a cookie of
// another path or domain for another cookie (RFC 6265, section 5.3).
func (site *Site) ClearSessionCookie(w http.ResponseWriter, r *http.Request) {
	cookie := site.SessionCookie(r)
	cookie.MaxAge = -1
	cookie.Expires = time.Unix(1, 0)
	ReplaceCookie(w.Header(), r, cookie)
}

// ClearIfDead clears the session cookie when the store knows that no session
// cookie of the request is live. An outage never gets here.
func (site *Site) ClearIfDead(w http.ResponseWriter, r *http.Request, res *Auth) {
	if res.DeadCookie {
		site.ClearSessionCookie(w, r)
	}
}

// ownCookiesVar is the request variable that holds the Set-Cookie lines of ours,
// so that a gate around us tells them from the app's.
const ownCookiesVar = "sessions.set_cookies"

// ReplaceCookie sets a cookie of ours and drops others of the same name from the
// response, so that the browser gets one.
func ReplaceCookie(h http.Header, r *http.Request, cookie *http.Cookie) {
	line := cookie.String()
	DropSetCookies(h, func(other string) bool { return SetCookieName(other) == cookie.Name })
	h.Add("Set-Cookie", line)
	if _, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		lines, _ := caddyhttp.GetVar(r.Context(), ownCookiesVar).([]string)
		caddyhttp.SetVar(r.Context(), ownCookiesVar, append(lines, line))
	}
}

// DropForeignCookies drops the cookies that others set under the names of ours. Only
// we sign people in and out: an app that sets the session cookie, or its response
// that was in flight during a logout, would undo that.
func (site *Site) DropForeignCookies(h http.Header, r *http.Request) {
	if len(h["Set-Cookie"]) == 0 {
		return
	}
	own, _ := caddyhttp.GetVar(r.Context(), ownCookiesVar).([]string)
	DropSetCookies(h, func(line string) bool {
		return site.IsOwnCookie(SetCookieName(line)) && !slices.Contains(own, line)
	})
}

// DropSetCookies deletes Set-Cookie lines from a response.
func DropSetCookies(h http.Header, drop func(line string) bool) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	httpx.SetLines(h, "Set-Cookie", slices.DeleteFunc(slices.Clone(lines), drop))
}

// SetCookieName returns the name under which a browser sends a cookie back. What
// was set as "=name=value" has no name for a browser, and comes back looking as
// if it had one.
func SetCookieName(line string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(line, "= \t"), "=")
	return strings.Trim(name, " \t")
}

// IsOwnCookie reports whether a cookie of this name is ours alone.
func (site *Site) IsOwnCookie(name string) bool {
	return name == site.Cookie.Name || site.IsBrowserCookie(name)
}

// IsBrowserCookie reports whether a cookie of this name holds a browser's secret.
func (site *Site) IsBrowserCookie(name string) bool {
	return strings.HasPrefix(strings.TrimPrefix(name, HostPrefix), browserCookiePrefix) &&
		(name == site.BrowserCookieName(true) || name == site.BrowserCookieName(false))
}

// browserCookiePrefix is how the name of a browser's secret starts.
const browserCookiePrefix = "csrf_token_"

// BrowserCookieName is the cookie that holds a browser's secret. It depends on the
// session cookie's name, so that two gates on one host do not share it. On HTTPS it
// is a __Host- cookie, which a sibling subdomain cannot set.
func (site *Site) BrowserCookieName(secure bool) string {
	sum := sha256.Sum256([]byte(site.Cookie.Name))
	name := browserCookiePrefix + hex.EncodeToString(sum[:8])
	if secure {
		return HostPrefix + name
	}
	return name
}

// BrowserSecretLength is the length of a browser's secret in hex digits.
const BrowserSecretLength = 64

// PresentBrowserCookie returns the browser's secret, or "" if it has none.
func (site *Site) PresentBrowserCookie(r *http.Request) string {
	for value := range httpx.CookieValues(r.Header, site.BrowserCookieName(site.browserCookieSecure(r))) {
		if len(value) == BrowserSecretLength {
			return value
		}
	}
	return ""
}

// BrowserCookie returns the browser's secret and gives it one if it has none.
func (site *Site) BrowserCookie(w http.ResponseWriter, r *http.Request) string {
	if secret := site.PresentBrowserCookie(r); secret != "" {
		return secret
	}
	return site.RotateBrowserCookie(w, r)
}

// RotateBrowserCookie gives the browser a new secret: what was bound to the old
// one before a sign-in is worth nothing after it.
func (site *Site) RotateBrowserCookie(w http.ResponseWriter, r *http.Request) string {
	var b [BrowserSecretLength / 2]byte
	_, _ = rand.Read(b[:])
	secret, secure := hex.EncodeToString(b[:]), site.browserCookieSecure(r)
	ReplaceCookie(w.Header(), r, &http.Cookie{
		Name:     site.BrowserCookieName(secure),
		Value:    secret,
		Path:     "/",
		MaxAge:   365 * 24 * 60 * 60,
		HttpOnly: true,
		Secure:   secure,
		SameSite: http.SameSiteLaxMode,
	})
	return secret
}

func (site *Site) browserCookieSecure(r *http.Request) bool {
	return strings.HasPrefix(site.Base(r), "https://")
}
