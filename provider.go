package caddylogout

import (
	"net/http"
	"reflect"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

// SessionProvider authenticates a request by its session, for the handler
// http.handlers.authentication:
//
//	authenticate … — in JSON: {"handler":"authentication","providers":{"session":{}}}
//
// It sets {http.auth.user.id} and {http.auth.user.<trait>}. While the store is
// unavailable, the provider returns an error, and Caddy refuses the request. It
// authenticates no CONNECT but one for a WebSocket, and cuts an Upgrade to anything
// else.
type SessionProvider struct {
	site *web.Site
}

// CaddyModule implements caddy.Module.
func (*SessionProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.authentication.providers.session", New: func() caddy.Module { return new(SessionProvider) }}
}

// Provision implements caddy.Provisioner.
func (p *SessionProvider) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	p.site = app.site
	return nil
}

// Authenticate implements caddyauth.Authenticator.
func (p *SessionProvider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	if admitted := web.Admit(r) == nil; !admitted {
		return caddyauth.User{}, false, nil
	}
	res, err := p.site.Authenticate(r)
	if err != nil {
		return caddyauth.User{}, false, err
	}
	if res.Session == nil {
		p.site.ClearIfDead(w, r, res)
		w.Header().Set("WWW-Authenticate", "Bearer")
		return caddyauth.User{}, false, nil
	}
	traits := p.site.TraitsOf(res.Session)
	// Caddy sets the metadata after the id: a trait of that name would turn one
	// person into another.
	delete(traits, "id")
	return caddyauth.User{ID: res.Session.Identity, Metadata: traits}, true, nil
}

// MatchSession matches requests with a live session, or only those of the named
// persons. While the store is unavailable, it returns an error (503) and not a
// mismatch: an outage must not choose another route. A CONNECT that is not for a
// WebSocket is an error too (501), and the matcher cuts an Upgrade to anything else:
// it may be the only protection of an app.
type MatchSession struct {
	// Identities are the ids of the persons to match. Default: all persons.
	Identities []string `json:"identities,omitempty"`

	site *web.Site
}

// CaddyModule implements caddy.Module.
func (*MatchSession) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.session", New: func() caddy.Module { return new(MatchSession) }}
}

// Provision implements caddy.Provisioner.
func (m *MatchSession) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	m.site = app.site
	return nil
}

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m *MatchSession) MatchWithError(r *http.Request) (bool, error) {
	if refusal := web.Admit(r); refusal != nil {
		return false, caddyhttp.Error(refusal.Code, refusal)
	}
	res, err := m.site.Authenticate(r)
	if err != nil {
		return false, caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	if res.Session == nil {
		return false, nil
	}
	return len(m.Identities) == 0 || slices.Contains(m.Identities, res.Session.Identity), nil
}

var stringSliceType = reflect.TypeFor[[]string]()

// CELLibrary makes the matcher a function of expressions:
//
//	expression session('alice', 'bob')
//	expression session('*')
//
// The name * stands for all persons.
func (*MatchSession) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl("session", "session_match_request_list",
		[]*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			names, err := data.ConvertToNative(stringSliceType)
			if err != nil {
				return nil, err
			}
			m := &MatchSession{Identities: names.([]string)}
			if slices.Contains(m.Identities, "*") {
				m.Identities = nil
			}
			return m, m.Provision(ctx)
		})
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

// Interface guards.
var (
	_ caddyauth.Authenticator           = (*SessionProvider)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchSession)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchSession)(nil)
	_ caddy.Provisioner                 = (*SessionProvider)(nil)
	_ caddy.Provisioner                 = (*MatchSession)(nil)
	_ caddyfile.Unmarshaler             = (*MatchSession)(nil)
)
