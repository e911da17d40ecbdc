// This file holds the gate: who may pass to the app, and what the app is told
// about them.

package caddylogout

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/streams"
)

// SessionAuth is the gate in front of an app. A request with a live session
// passes, with the placeholders {http.auth.user.id}, {http.auth.user.*} (the
// traits), {session.id} and {session.logout_url} set. All others are asked to
// sign in, unless the gate is optional.
type SessionAuth struct {
	gate.Options

	handler *gate.Handler
}

// CaddyModule implements caddy.Module.
func (*SessionAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.session_auth", New: func() caddy.Module { return new(SessionAuth) }}
}

// Provision implements caddy.Provisioner.
func (s *SessionAuth) Provision(ctx caddy.Context) error {
	streams.KeepConnection(ctx)
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	s.handler = gate.New(s.Options, app.site, ctx.Logger())
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s *SessionAuth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return s.handler.ServeHTTP(w, r, next)
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*SessionAuth)(nil)
	_ caddy.Validator             = (*SessionAuth)(nil)
	_ caddyhttp.MiddlewareHandler = (*SessionAuth)(nil)
)
