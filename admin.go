package caddylogout

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/admin"
)

// AdminSessions is the part of Caddy's admin endpoint that manages sessions:
//
//	GET    /sessions?identity=…       lists the sessions of a person
//	POST   /sessions                  makes one, and returns its token this once
//	DELETE /sessions?identity=…       ends all of a person, ?all=true everybody's
//	GET    /sessions/{id}?identity=…  shows one
//	DELETE /sessions/{id}?identity=…  ends one
//	DELETE /sessions/blocks           lifts blocks after failed attempts to sign in
//	GET    /sessions/statistics       the state of this node
//	GET    /sessions/readiness        whether the store is available
//	GET    /sessions/liveness         that Caddy answers
//
// Anyone who can reach the admin endpoint can sign in as anyone: keep it on loopback,
// as Caddy does by default, or on a Unix socket. docs/openapi.yaml describes the
// responses.
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
