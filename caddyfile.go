// This file reads the Caddyfile: the global option sessions, and the directives
// and matcher that go with it. It parses and checks; behaviour is elsewhere.

package caddylogout

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseSessions reads the global option:
//
//	sessions {
//		store redis|embedded …
//		cookie [<name>] { … }
//		lifespan            <duration>
//		idle_timeout        <duration>
//		base_url            <url>
//		prefix              <path>
//		default_return_url  <url>
//		allowed_return_urls <url…>
//		error_ui            <url>
//	}
func parseSessions(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next() // to the line of the second one
		return nil, d.Err("sessions is configured twice; there is one sessions app, shared by all sites")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "sessions", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenOptions)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := seen.once(d, option, "allowed_return_urls"); err != nil {
			return err
		}
		if err := a.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "store":
		return a.unmarshalStore(d)
	case "cookie":
		return a.Cookie.UnmarshalCaddyfile(d)
	case "lifespan":
		return durationArg(d, &a.Lifespan, false)
	case "idle_timeout":
		return durationArg(d, &a.IdleTimeout, true)
	case "base_url":
		return checkedArg(d, &a.BaseURL, validateBaseURL)
	case "prefix":
		return checkedArg(d, &a.Prefix, validatePrefix)
	case "error_ui":
		return checkedArg(d, &a.ErrorUI, validatePageURL)
	case "default_return_url":
		return checkedArg(d, &a.DefaultReturnURL, validateDefaultReturnURL)
	case "allowed_return_urls":
		return a.unmarshalAllowed(d)
	default:
		return d.Errf("unknown option %q of sessions: want store, cookie, lifespan, idle_timeout, base_url, prefix, default_return_url, allowed_return_urls or error_ui", option)
	}
}

func (a *App) unmarshalStore(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("store: want redis or embedded")
	}
	name := d.Val()
	if _, err := caddy.GetModule("sessions.stores." + name); err != nil {
		return d.Errf("store: %q is no store: want redis or embedded", name)
	}
	module, err := caddyfile.UnmarshalModule(d, "sessions.stores."+name)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (a *App) unmarshalAllowed(d *caddyfile.Dispenser) error {
	entries := d.RemainingArgs()
	if len(entries) == 0 {
		return d.ArgErr()
	}
	for _, entry := range entries {
		if hasPlaceholder(entry) {
			continue
		}
		if _, err := parseAllowedURL(entry); err != nil {
			return d.Errf("allowed_return_urls: %q: %w", entry, err)
		}
	}
	a.AllowedReturnURLs = append(a.AllowedReturnURLs, entries...)
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	cookie [<name>] {
//		domain     <host>
//		path       <path>
//		same_site  lax|strict|none
//		secure     [on|off]
//		persistent [on|off]
//	}
func (c *Cookie) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		c.Name = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenOptions)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := seen.once(d, option); err != nil {
			return err
		}
		var err error
		switch option {
		case "domain":
			err = stringArg(d, &c.Domain)
		case "path":
			err = stringArg(d, &c.Path)
		case "same_site":
			err = stringArg(d, &c.SameSite)
			c.SameSite = strings.ToLower(c.SameSite)
		case "secure":
			err = switchArg(d, &c.Secure)
		case "persistent":
			err = switchArg(d, &c.Persistent)
		default:
			err = d.Errf("unknown option %q of cookie: want domain, path, same_site, secure or persistent", option)
		}
		if err != nil {
			return err
		}
	}
	if c.Name == "" {
		c.Name = defaultCookieName
	}
	if err := c.validate(); err != nil {
		return d.Errf("cookie: %w", err)
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	logout [<matcher>] {
//		sessions_api [on|off]
//	}
func (l *Logout) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenOptions)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := seen.once(d, option); err != nil {
			return err
		}
		if option != "sessions_api" {
			return d.Errf("unknown option %q of logout: want sessions_api", option)
		}
		if err := switchArg(d, &l.SessionsAPI); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	session_auth [<matcher>] {
//		optional
//		login_url         <url>
//		header            <name> <value>
//		strip_credentials [on|off]
//		issue_on_header   <name>
//	}
func (g *SessionAuth) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenOptions)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := seen.once(d, option, "header"); err != nil {
			return err
		}
		if err := g.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	if g.Optional && g.LoginURL != "" {
		return d.Err("session_auth: optional and login_url contradict each other: who may pass is not sent to sign in")
	}
	return nil
}

func (g *SessionAuth) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "optional":
		g.Optional = true
		if d.NextArg() {
			return d.ArgErr()
		}
		return nil
	case "login_url":
		return checkedArg(d, &g.LoginURL, validatePageURL)
	case "header":
		return g.unmarshalHeader(d)
	case "strip_credentials":
		return switchArg(d, &g.StripCredentials)
	case "issue_on_header":
		return checkedArg(d, &g.IssueOnHeader, validateHeaderName)
	default:
		return d.Errf("unknown option %q of session_auth: want optional, login_url, header, strip_credentials or issue_on_header", option)
	}
}

func (g *SessionAuth) unmarshalHeader(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("header: want a name and a value")
	}
	if err := validateHeaderName(args[0]); err != nil {
		return d.Errf("header: %w", err)
	}
	name := http.CanonicalHeaderKey(args[0])
	if _, twice := g.Headers[name]; twice {
		return d.Errf("header: %s is configured twice", name)
	}
	if g.Headers == nil {
		g.Headers = make(map[string]string)
	}
	g.Headers[name] = args[1]
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	@name session [<identity…>]
func (m *MatchSession) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		m.Identities = append(m.Identities, d.RemainingArgs()...)
		if d.NextBlock(0) {
			return d.Err("the session matcher takes no block")
		}
	}
	return nil
}

func parseLogout(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	l := new(Logout)
	return l, l.UnmarshalCaddyfile(h.Dispenser)
}

func parseSessionAuth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(SessionAuth)
	return g, g.UnmarshalCaddyfile(h.Dispenser)
}

// seenOptions finds options that are given twice, where the second would
// silently win.
type seenOptions map[string]bool

func (s seenOptions) once(d *caddyfile.Dispenser, option string, repeatable ...string) error {
	if slices.Contains(repeatable, option) {
		return nil
	}
	if s[option] {
		return d.Errf("%s is given twice", option)
	}
	s[option] = true
	return nil
}

// stringArg reads exactly one argument.
func stringArg(d *caddyfile.Dispenser, to *string) error {
	if !d.AllArgs(to) {
		return d.ArgErr()
	}
	return nil
}

// checkedArg reads exactly one argument and checks it, unless it holds a
// placeholder: what that will be is known at start.
func checkedArg(d *caddyfile.Dispenser, to *string, check func(string) error) error {
	option := d.Val()
	if err := stringArg(d, to); err != nil {
		return err
	}
	if hasPlaceholder(*to) {
		return nil
	}
	if err := check(*to); err != nil {
		return d.Errf("%s: %w", option, err)
	}
	return nil
}

// validateDefaultReturnURL checks a default return URL.
func validateDefaultReturnURL(value string) error {
	_, err := parseDefaultURL(value)
	return err
}

func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

// durationArg reads a duration; off is one where zero has a meaning.
func durationArg(d *caddyfile.Dispenser, to *caddy.Duration, mayBeOff bool) error {
	option := d.Val()
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	if mayBeOff && raw == "off" {
		return nil
	}
	duration, err := caddy.ParseDuration(raw)
	if err != nil || duration <= 0 {
		return d.Errf("%s: %q is not a duration like 30m, 24h or 7d", option, raw)
	}
	*to = caddy.Duration(duration)
	return nil
}

// switchArg reads on or off; the option alone means on.
func switchArg(d *caddyfile.Dispenser, to **bool) error {
	option, on := d.Val(), true
	if d.NextArg() {
		switch d.Val() {
		case "on":
		case "off":
			on = false
		default:
			return d.Errf("%s: want on or off, not %q", option, d.Val())
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	*to = &on
	return nil
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Logout)(nil)
	_ caddyfile.Unmarshaler = (*SessionAuth)(nil)
	_ caddyfile.Unmarshaler = (*MatchSession)(nil)
)
