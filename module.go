// Package caddylogout makes Caddy an identity-aware reverse proxy whose sign-out
// really signs out.
//
// Each request is checked against a session (a cookie or a bearer token) that
// lives in Redis or, without Redis, in a file. Logout paths are intercepted
// before the app, logout URLs are made and honoured, safe against cross-site
// requests, and when a person is logged out, they are out: the session is
// revoked in the store first, then the cookie is cleared, then the browser is
// sent on. On the wire it is Ory's self-service logout.
//
// This file registers every module with Caddy, and nothing else does.
package caddylogout

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-logout/caddy-logout/internal/cli"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(EmbeddedStore))
	caddy.RegisterModule(new(RedisStore))
	caddy.RegisterModule(new(Logout))
	caddy.RegisterModule(new(Login))
	caddy.RegisterModule(new(SessionAuth))
	caddy.RegisterModule(new(SessionProvider))
	caddy.RegisterModule(new(MatchSession))
	caddy.RegisterModule(new(AdminSessions))

	httpcaddyfile.RegisterGlobalOption("sessions", parseSessions)
	httpcaddyfile.RegisterDirective("logout", parseLogout) // its paths are no matchers
	httpcaddyfile.RegisterHandlerDirective("login", parseLogin)
	httpcaddyfile.RegisterHandlerDirective("session_auth", parseSessionAuth)

	// Our own paths are answered before any gate, ours or another.
	httpcaddyfile.RegisterDirectiveOrder("logout", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterDirectiveOrder("login", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterDirectiveOrder("session_auth", httpcaddyfile.Before, "basic_auth")

	cli.Register()
}
