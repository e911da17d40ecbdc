package caddylogout

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-logout/caddy-logout/internal/returnurl"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// parseSessions reads the global option:
//
//	sessions {
//		store redis|embedded …
//		cookie [<name>] { … }
//		lifespan            <duration>
//		idle_timeout        <duration>
//		max_sessions        <n>|off
//		base_url            <url>
//		prefix              <path>
//		default_return_url  <url>
//		allowed_return_urls <url…>
//		error_ui            <url>
//		pages               [<folder>] { … }
//		durable_logout      [on|off] {
//			journal <file>
//		}
//		near_cache          off | { … }
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
	if err := eachOption(d, a.unmarshalOption, "allowed_return_urls"); err != nil {
		return err
	}
	if a.DurableLogout != nil && !a.storeIsRemote() {
		return d.Errf("%w", errDurableEmbedded)
	}
	if a.NearCache.isSet() && !a.storeIsRemote() {
		return d.Errf("near_cache: %w", errCacheEmbedded)
	}
	return nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "store":
		return a.unmarshalStore(d)
	case "cookie":
		return unmarshalCookie(d, &a.Cookie)
	case "lifespan":
		return durationArg(d, &a.Lifespan, false)
	case "idle_timeout":
		return durationArg(d, &a.IdleTimeout, true)
	case "max_sessions":
		return a.unmarshalMaxSessions(d)
	case "base_url":
		return checkedArg(d, &a.BaseURL, validateBaseURL)
	case "prefix":
		return checkedArg(d, &a.Prefix, web.ValidatePrefix)
	case "error_ui":
		return checkedArg(d, &a.ErrorUI, validatePageURL)
	case "default_return_url":
		return checkedArg(d, &a.DefaultReturnURL, validateDefaultReturnURL)
	case "allowed_return_urls":
		return a.unmarshalAllowed(d)
	case "pages":
		return a.Pages.UnmarshalCaddyfile(d)
	case "durable_logout":
		return a.unmarshalDurableLogout(d)
	case "near_cache":
		return a.NearCache.UnmarshalCaddyfile(d)
	default:
		return d.Errf("unknown option %q of sessions: want store, cookie, lifespan, idle_timeout, max_sessions, base_url, prefix, default_return_url, allowed_return_urls, error_ui, pages, near_cache or durable_logout", option)
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
	a.storeModule, _ = module.(session.StoreModule) // for the checks here; Provision loads its own
	return nil
}

func (a *App) unmarshalDurableLogout(d *caddyfile.Dispenser) error {
	var on *bool
	if err := switchArg(d, &on); err != nil {
		return err
	}
	durable := new(DurableLogout)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch {
		case d.Val() != "journal":
			return d.Errf("unknown option %q of durable_logout: want journal", d.Val())
		case !*on:
			return d.Err("durable_logout: off, and yet it has a journal")
		case durable.Journal != "":
			return d.Err("journal is given twice")
		}
		if err := stringArg(d, &durable.Journal); err != nil {
			return err
		}
	}
	if *on {
		a.DurableLogout = durable
	}
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
		if err := returnurl.ValidateAllowed(entry); err != nil {
			return d.Errf("allowed_return_urls: %q: %w", entry, err)
		}
	}
	a.AllowedReturnURLs = append(a.AllowedReturnURLs, entries...)
	return nil
}

// unmarshalCookie reads:
//
//	cookie [<name>] {
//		domain     <host>
//		path       <path>
//		same_site  lax|strict|none
//		secure     [on|off]
//		persistent [on|off]
//	}
func unmarshalCookie(d *caddyfile.Dispenser, c *web.Cookie) error {
	if d.NextArg() {
		c.Name = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := eachOption(d, func(d *caddyfile.Dispenser, option string) error { return unmarshalCookieOption(d, option, c) }); err != nil {
		return err
	}
	if c.Name == "" {
		c.Name = web.DefaultCookieName
	}
	if err := c.Validate(); err != nil {
		return d.Errf("cookie: %w", err)
	}
	return nil
}

func unmarshalCookieOption(d *caddyfile.Dispenser, option string, c *web.Cookie) error {
	switch option {
	case "domain":
		return stringArg(d, &c.Domain)
	case "path":
		return stringArg(d, &c.Path)
	case "same_site":
		err := stringArg(d, &c.SameSite)
		c.SameSite = strings.ToLower(c.SameSite)
		return err
	case "secure":
		return switchArg(d, &c.Secure)
	case "persistent":
		return switchArg(d, &c.Persistent)
	default:
		return d.Errf("unknown option %q of cookie: want domain, path, same_site, secure or persistent", option)
	}
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
)
