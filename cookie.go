// This file holds the cookies we set: the session cookie, and the one that
// binds a sign-in form or an error page to the browser that asked for it.

package caddylogout

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

	// Domain to which browsers send the cookie, with all hosts below it.
	// Default: none, which is the very host that set it.
	Domain string `json:"domain,omitempty"`

	// Path below which browsers send the cookie. Default: /.
	Path string `json:"path,omitempty"`

	// SameSite is lax, strict or none. Default: lax.
	SameSite string `json:"same_site,omitempty"`

	// Secure keeps the cookie to HTTPS. Default: on when the request came over
	// HTTPS, as far as Caddy trusts what it hears of that.
	Secure *bool `json:"secure,omitempty"`

	// Persistent lets the cookie outlive the browser, to the end of the
	// session. Default: true.
	Persistent *bool `json:"persistent,omitempty"`
}

const (
	hostPrefix   = "__Host-"
	securePrefix = "__Secure-"
)

func (c *Cookie) setDefaults() {
	if c.Name == "" {
		c.Name = defaultCookieName
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.SameSite == "" {
		c.SameSite = "lax"
	}
}

// validate says what is wrong with the cookie, or nil.
func (c *Cookie) validate() error {
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
	case hasPrefixFold(c.Name, hostPrefix):
		if c.Domain != "" {
			return fail("name", "a __Host- cookie has no domain")
		}
		if c.Path != "" && c.Path != "/" {
			return fail("name", "a __Host- cookie has the path /")
		}
		if insecure {
			return fail("name", "a __Host- cookie is secure")
		}
	case hasPrefixFold(c.Name, securePrefix) && insecure:
		return fail("name", "a __Secure- cookie is secure")
	}
	return nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// secure reports whether a cookie set in answer to r is kept to HTTPS.
func (a *App) secure(r *http.Request) bool {
	c := &a.Cookie
	if c.Secure != nil {
		return *c.Secure
	}
	return hasPrefixFold(c.Name, hostPrefix) || hasPrefixFold(c.Name, securePrefix) ||
		c.SameSite == "none" || strings.HasPrefix(a.baseURL(r), "https://")
}

func (a *App) sessionCookie(r *http.Request) *http.Cookie {
	cookie := &http.Cookie{
		Name:     a.Cookie.Name,
		Path:     a.Cookie.Path,
		Domain:   a.Cookie.Domain,
		HttpOnly: true,
		Secure:   a.secure(r),
		SameSite: http.SameSiteLaxMode,
	}
	switch a.Cookie.SameSite {
	case "strict":
		cookie.SameSite = http.SameSiteStrictMode
	case "none":
		cookie.SameSite = http.SameSiteNoneMode
	}
	return cookie
}

// setSessionCookie hands the credential to the browser.
func (a *App) setSessionCookie(w http.ResponseWriter, r *http.Request, c session.Credential, s *session.Session) {
	cookie := a.sessionCookie(r)
	cookie.Value = c.Secret()
	if a.Cookie.Persistent == nil || *a.Cookie.Persistent {
		left := s.ExpiresAt.Sub(a.now())
		cookie.Expires = s.ExpiresAt
		cookie.MaxAge = max(1, int(left/time.Second))
	}
	replaceCookie(w.Header(), r, cookie)
}

// clearSessionCookie makes the browser forget the session cookie: an empty
// value under the attributes of its creation, since a browser takes a cookie of
// another path or domain for another cookie (RFC 6265, section 5.3).
func (a *App) clearSessionCookie(w http.ResponseWriter, r *http.Request) {
	cookie := a.sessionCookie(r)
	cookie.MaxAge = -1
	cookie.Expires = time.Unix(1, 0)
	replaceCookie(w.Header(), r, cookie)
}

// clearIfDead clears the session cookie when the store knows that no session
// cookie of the request is live. An outage never gets here.
func (a *App) clearIfDead(w http.ResponseWriter, r *http.Request, res *authResult) {
	if res.deadCookie {
		a.clearSessionCookie(w, r)
	}
}

// ownCookiesVar is the request variable that holds the Set-Cookie lines of ours,
// so that a gate around us tells them from the app's.
const ownCookiesVar = "sessions.set_cookies"

// replaceCookie sets a cookie of ours and drops what was about to be set under
// the same name, so that the browser is told one thing.
func replaceCookie(h http.Header, r *http.Request, cookie *http.Cookie) {
	line := cookie.String()
	dropSetCookies(h, func(other string) bool { return setCookieName(other) == cookie.Name })
	h.Add("Set-Cookie", line)
	if _, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		lines, _ := caddyhttp.GetVar(r.Context(), ownCookiesVar).([]string)
		caddyhttp.SetVar(r.Context(), ownCookiesVar, append(lines, line))
	}
}

// dropForeignCookies drops what somebody else sets under the names of our
// cookies. Only we sign people in and out: an app that sets the session cookie,
// or an answer of it that was in flight during a logout, would undo that.
func (a *App) dropForeignCookies(h http.Header, r *http.Request) {
	if len(h["Set-Cookie"]) == 0 {
		return
	}
	own, _ := caddyhttp.GetVar(r.Context(), ownCookiesVar).([]string)
	dropSetCookies(h, func(line string) bool {
		return a.isOwnCookie(setCookieName(line)) && !slices.Contains(own, line)
	})
}

// dropSetCookies takes Set-Cookie lines out of a response.
func dropSetCookies(h http.Header, drop func(line string) bool) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	httpx.SetLines(h, "Set-Cookie", slices.DeleteFunc(slices.Clone(lines), drop))
}

// setCookieName returns the name under which a browser sends a cookie back. What
// was set as "=name=value" has no name for a browser, and comes back looking as
// if it had one.
func setCookieName(line string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(line, "= \t"), "=")
	return strings.Trim(name, " \t")
}

// isOwnCookie reports whether a cookie of this name is ours alone.
func (a *App) isOwnCookie(name string) bool {
	return name == a.Cookie.Name || a.isBrowserCookie(name)
}

// isBrowserCookie reports whether a cookie of this name holds a browser's secret.
func (a *App) isBrowserCookie(name string) bool {
	return strings.HasPrefix(strings.TrimPrefix(name, hostPrefix), browserCookiePrefix) &&
		(name == a.browserCookieName(true) || name == a.browserCookieName(false))
}

// browserCookiePrefix is how the name of a browser's secret starts.
const browserCookiePrefix = "csrf_token_"

// browserCookieName is the cookie that holds a browser's secret. It depends on
// the session cookie's name, so that two gates on one host do not share it. On
// HTTPS it is a __Host- cookie, which a sibling subdomain cannot toss in.
func (a *App) browserCookieName(secure bool) string {
	sum := sha256.Sum256([]byte(a.Cookie.Name))
	name := browserCookiePrefix + hex.EncodeToString(sum[:8])
	if secure {
		return hostPrefix + name
	}
	return name
}

// browserSecretLength is the length of a browser's secret in hex digits.
const browserSecretLength = 64

// presentBrowserCookie returns the browser's secret, or "" if it has none.
func (a *App) presentBrowserCookie(r *http.Request) string {
	for value := range httpx.CookieValues(r.Header, a.browserCookieName(a.browserCookieSecure(r))) {
		if len(value) == browserSecretLength {
			return value
		}
	}
	return ""
}

// browserCookie returns the browser's secret and gives it one if it has none.
func (a *App) browserCookie(w http.ResponseWriter, r *http.Request) string {
	if secret := a.presentBrowserCookie(r); secret != "" {
		return secret
	}
	return a.rotateBrowserCookie(w, r)
}

// rotateBrowserCookie gives the browser a new secret: what was bound to the old
// one before a sign-in is worth nothing after it.
func (a *App) rotateBrowserCookie(w http.ResponseWriter, r *http.Request) string {
	var b [browserSecretLength / 2]byte
	_, _ = rand.Read(b[:])
	secret, secure := hex.EncodeToString(b[:]), a.browserCookieSecure(r)
	replaceCookie(w.Header(), r, &http.Cookie{
		Name:     a.browserCookieName(secure),
		Value:    secret,
		Path:     "/",
		MaxAge:   365 * 24 * 60 * 60,
		HttpOnly: true,
		Secure:   secure,
		SameSite: http.SameSiteLaxMode,
	})
	return secret
}

func (a *App) browserCookieSecure(r *http.Request) bool {
	return strings.HasPrefix(a.baseURL(r), "https://")
}
