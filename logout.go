// This file holds the logout handler: which paths are ours, and the browser,
// AJAX and API flows that end a session.

package caddylogout

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/signout"
)

// Logout serves the self-service endpoints that end sessions and tell about
// them, in front of everything else:
//
//	GET    /self-service/logout/browser   makes a logout URL for this session
//	GET    /self-service/logout?token=…   follows it (POST works too)
//	DELETE /self-service/logout/api       ends the session of a token
//	GET    /self-service/errors?id=…      what went wrong, for a browser
//	GET    /sessions/whoami               who this is
//	GET    /sessions, DELETE /sessions, DELETE /sessions/{id}
//
// With paths, it also makes the app's own logout a real one. All other requests
// go on to the next handler.
type Logout struct {
	signout.Options

	handler *signout.Handler
}

// CaddyModule implements caddy.Module.
func (*Logout) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.logout", New: func() caddy.Module { return new(Logout) }}
}

// Provision implements caddy.Provisioner.
func (l *Logout) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	l.handler, err = signout.New(l.Options, app.site)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Logout) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return l.handler.ServeHTTP(w, r, next)
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Logout)(nil)
	_ caddy.Validator             = (*Logout)(nil)
	_ caddyhttp.MiddlewareHandler = (*Logout)(nil)
)
