// This file holds the login handler: which paths are its own, and the pages and
// flows that lead to a sign-in.

package caddylogout

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
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

// Interface guards.
var (
	_ caddy.Provisioner           = (*Login)(nil)
	_ caddy.CleanerUpper          = (*Login)(nil)
	_ caddyhttp.MiddlewareHandler = (*Login)(nil)
)
