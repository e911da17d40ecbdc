package caddylogout

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/signin"
)

// Login signs people in with a name and a password from an accounts file:
//
//	GET  /self-service/login/browser    begins, for browsers: leads to the form
//	GET  /self-service/login/api        begins, for clients without cookies
//	GET  /self-service/login?flow=…     the form, or the flow as JSON
//	GET  /self-service/login/flows?id=… the flow as JSON
//	POST /self-service/login?flow=…     signs in
//
// All other requests go on to the next handler.
type Login struct {
	signin.Options

	handler *signin.Handler
}

// CaddyModule implements caddy.Module.
func (*Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.login", New: func() caddy.Module { return new(Login) }}
}

// Provision implements caddy.Provisioner. It reads the accounts file.
func (l *Login) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	if l.handler, err = signin.New(l.Options, app.site, ctx.Logger()); err != nil {
		return err
	}
	app.accounts = append(app.accounts, l.handler.Names()...)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Login) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return l.handler.ServeHTTP(w, r, next)
}

// Cleanup implements caddy.CleanerUpper. Caddy calls it also after a failed Provision.
func (l *Login) Cleanup() error {
	if l.handler == nil {
		return nil
	}
	return l.handler.Close()
}

// parseLogin reads the login directive.
func parseLogin(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	l := new(Login)
	if err := l.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return l, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	login [<matcher>] {
//		accounts           <file>
//		default_return_url <url>
//	}
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive itself
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := eachOption(d, l.unmarshalOption); err != nil {
		return err
	}
	if l.Accounts == "" {
		return d.Err("login: want accounts <file>")
	}
	return nil
}

func (l *Login) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "accounts":
		if err := stringArg(d, &l.Accounts); err != nil {
			return err
		}
		if l.Accounts == "" {
			return d.Err("accounts: want the name of a file")
		}
		return nil
	case "default_return_url":
		return checkedArg(d, &l.DefaultReturnURL, validateDefaultReturnURL)
	default:
		return d.Errf("unknown option %q of login: want accounts or default_return_url", option)
	}
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Login)(nil)
	_ caddy.CleanerUpper          = (*Login)(nil)
	_ caddyhttp.MiddlewareHandler = (*Login)(nil)
	_ caddyfile.Unmarshaler       = (*Login)(nil)
)
