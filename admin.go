// This file serves sessions on Caddy's admin endpoint: which paths there are, and
// how sessions are made there.

package caddylogout

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/admin"
)

// AdminSessions is the part of Caddy's admin endpoint that manages sessions:
//
//	GET    /sessions?identity=…       lists the sessions of a person
//	POST   /sessions                  makes one, and answers its token this once
//	DELETE /sessions?identity=…       ends all of a person, ?all=true everybody's
//	GET    /sessions/{id}?identity=…  shows one
//	DELETE /sessions/{id}?identity=…  ends one
//	DELETE /sessions/blocks           lifts blocks of failed tries to sign in
//	GET    /sessions/statistics       says how this node does
//	GET    /sessions/readiness        whether the store can be asked
//	GET    /sessions/liveness         that Caddy answers
//
// Who may reach the admin endpoint may sign in as anybody: it is for loopback or
// a Unix socket, as Caddy's default has it. The answers are described in
// docs/openapi.yaml.
type AdminSessions struct {
	api *admin.API
}

// CaddyModule implements caddy.Module.
func (*AdminSessions) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.sessions", New: func() caddy.Module { return new(AdminSessions) }}
}

// Provision implements caddy.Provisioner.
func (s *AdminSessions) Provision(ctx caddy.Context) error {
	s.api = admin.New(ctx.Logger())
	return nil
}

// Routes implements caddy.AdminRouter.
func (s *AdminSessions) Routes() []caddy.AdminRoute { return s.api.Routes() }

// Interface guards.
var (
	_ caddy.AdminRouter = (*AdminSessions)(nil)
	_ caddy.Provisioner = (*AdminSessions)(nil)
)
