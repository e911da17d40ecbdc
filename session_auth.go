package caddylogout

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/streams"
)

// SessionAuth is the gate in front of an app. A request with a live session passes,
// with the placeholders {http.auth.user.id}, {http.auth.user.*} (the traits),
// {session.id} and {session.logout_url} set. The gate sends all others to sign in,
// unless it is optional.
type SessionAuth struct {
	gate.Options

	handler *gate.Handler
}

// CaddyModule implements caddy.Module.
func (*SessionAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.session_auth", New: func() caddy.Module { return new(SessionAuth) }}
}

// Provision implements caddy.Provisioner.
func (g *SessionAuth) Provision(ctx caddy.Context) error {
	streams.KeepConnection(ctx)
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	g.handler = gate.New(g.Options, app.site, ctx.Logger())
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (g *SessionAuth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return g.handler.ServeHTTP(w, r, next)
}

func parseSessionAuth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(SessionAuth)
	return g, g.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	session_auth [<matcher>] {
//		optional
//		login_url         <url>
//		header            <name> <value>
//		strip_credentials [on|off]
//		streams           close|keep
//		issue_on_header   <name>
//		no_store          [on|off]
//	}
func (g *SessionAuth) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := eachOption(d, g.unmarshalOption, "header"); err != nil {
		return err
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
	case "streams":
		return g.unmarshalStreams(d)
	case "issue_on_header":
		return checkedArg(d, &g.IssueOnHeader, gate.ValidateHeaderName)
	case "no_store":
		return switchArg(d, &g.NoStore)
	default:
		return d.Errf("unknown option %q of session_auth: want optional, login_url, header, strip_credentials, streams, issue_on_header or no_store", option)
	}
}

func (g *SessionAuth) unmarshalStreams(d *caddyfile.Dispenser) error {
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	if raw != "close" && raw != "keep" {
		return d.Errf("streams: want close or keep, not %q", raw)
	}
	g.KeepStreams = raw == "keep"
	return nil
}

func (g *SessionAuth) unmarshalHeader(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("header: want a name and a value")
	}
	if err := gate.ValidateHeaderName(args[0]); err != nil {
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

// Interface guards.
var (
	_ caddy.Provisioner           = (*SessionAuth)(nil)
	_ caddy.Validator             = (*SessionAuth)(nil)
	_ caddyhttp.MiddlewareHandler = (*SessionAuth)(nil)
	_ caddyfile.Unmarshaler       = (*SessionAuth)(nil)
)
