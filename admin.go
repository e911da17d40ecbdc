// This file serves sessions on Caddy's admin endpoint: which paths there are, and
// how sessions are made there.

package caddylogout

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
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
	logger *zap.Logger
}

// CaddyModule implements caddy.Module.
func (*AdminSessions) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.sessions", New: func() caddy.Module { return new(AdminSessions) }}
}

// Provision implements caddy.Provisioner. Admin routers are provisioned before
// the apps, so the app is looked up when a request comes.
func (s *AdminSessions) Provision(ctx caddy.Context) error {
	s.logger = ctx.Logger()
	return nil
}

// Routes implements caddy.AdminRouter.
func (s *AdminSessions) Routes() []caddy.AdminRoute {
	routes := make([]caddy.AdminRoute, 0, len(adminRoutes)+1)
	for _, route := range adminRoutes {
		routes = append(routes, caddy.AdminRoute{Pattern: route.pattern, Handler: caddy.AdminHandlerFunc(route.methods.serve(s))})
	}
	// What is below /sessions and none of ours: in JSON, too.
	return append(routes, caddy.AdminRoute{Pattern: "/sessions/", Handler: caddy.AdminHandlerFunc(s.unknown)})
}

// adminMethods are what serves the methods of one path. HEAD is served as GET.
type adminMethods map[string]func(*AdminSessions, http.ResponseWriter, *http.Request) error

// adminRoutes are the paths, as patterns of [http.ServeMux].
var adminRoutes = []struct {
	pattern string
	methods adminMethods
}{
	{"/sessions", adminMethods{
		http.MethodGet:    (*AdminSessions).list,
		http.MethodPost:   (*AdminSessions).issue,
		http.MethodDelete: (*AdminSessions).revokeMany,
	}},
	{"/sessions/{id}", adminMethods{
		http.MethodGet:    (*AdminSessions).show,
		http.MethodDelete: (*AdminSessions).revokeOne,
	}},
	{"/sessions/blocks", adminMethods{http.MethodDelete: (*AdminSessions).lift}},
	{"/sessions/statistics", adminMethods{http.MethodGet: (*AdminSessions).statistics}},
	{"/sessions/readiness", adminMethods{http.MethodGet: (*AdminSessions).readiness}},
	{"/sessions/liveness", adminMethods{http.MethodGet: (*AdminSessions).liveness}},
}

// serve returns what serves a path: its methods, and 405 for all others.
func (m adminMethods) serve(s *AdminSessions) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		web.Prepare(w.Header())
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if serve := m[method]; serve != nil {
			return serve(s, w, r)
		}
		allowed := slices.Collect(maps.Keys(m))
		if m[http.MethodGet] != nil {
			allowed = append(allowed, http.MethodHead)
		}
		slices.Sort(allowed)
		allow := strings.Join(allowed, ", ")
		w.Header().Set("Allow", allow)
		return adminError(http.StatusMethodNotAllowed, "want "+allow)
	}
}

func (*AdminSessions) unknown(w http.ResponseWriter, _ *http.Request) error {
	web.Prepare(w.Header())
	return adminError(http.StatusNotFound, "there is no such path")
}

// activeApp returns the sessions app of the running configuration.
func activeApp() (*App, error) {
	loaded, err := caddy.ActiveContext().AppIfConfigured("sessions")
	if err != nil {
		return nil, adminError(http.StatusNotFound, "the running configuration has no sessions")
	}
	return loaded.(*App), nil
}

// fail answers an error of the app. That the store is away is never an answer
// about sessions. What its error says holds no key and nothing of a client.
func (s *AdminSessions) fail(w http.ResponseWriter, err error) error {
	if errors.Is(err, errNoSuchSession) {
		w.Header().Set("Ory-Error-Id", noSuchSessionID)
		return adminError(http.StatusNotFound, err.Error())
	}
	if !errors.Is(err, session.ErrUnavailable) {
		return err
	}
	w.Header().Set("Retry-After", fmt.Sprint(web.RetryAfter))
	return adminError(http.StatusServiceUnavailable, "the session store cannot be asked: "+err.Error())
}

// issue makes a session: {"identity":"alice","traits":{…},"lifespan":"1h"}
// is answered 201 with {"session_token":"…","session":{…}}.
func (s *AdminSessions) issue(w http.ResponseWriter, r *http.Request) error {
	app, err := activeApp()
	if err != nil {
		return err
	}
	var q manager.IssueRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, web.MaxBodyLength)).Decode(&q); err != nil {
		// Whoever may ask here may read what the decoder says.
		return adminError(http.StatusBadRequest, `body: want JSON like {"identity":"alice","traits":{},"lifespan":"1h"}: `+err.Error())
	}
	n, err := q.Session("token")
	if err != nil {
		return adminError(http.StatusBadRequest, err.Error())
	}
	credential, sess, err := app.Issue(r.Context(), n)
	if err != nil {
		app.Audit(r, telemetry.Entry{Event: telemetry.EventSignInRefused, Trigger: telemetry.ByAdmin, Identity: n.Identity}.Failed(err))
		if errors.Is(err, session.ErrUnavailable) {
			w.Header().Set("Retry-After", fmt.Sprint(web.RetryAfter))
			return adminError(http.StatusServiceUnavailable, "the session store cannot be asked")
		}
		if errors.Is(err, session.ErrExists) {
			w.Header().Set("Retry-After", fmt.Sprint(web.RetryAfter))
			return adminError(http.StatusServiceUnavailable, "the sessions of this person are being ended at this moment")
		}
		return err
	}
	app.Audit(r, telemetry.Entry{Event: telemetry.EventIssued, Trigger: telemetry.ByAdmin, Outcome: telemetry.OutcomeIssued}.OfSession(sess))
	return web.WriteJSON(w, http.StatusCreated, map[string]any{
		"session_token": credential.Secret(),
		"session":       web.SessionJSON(sess, app.BaseURL),
	})
}

func adminError(status int, reason string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(reason)}
}

// Interface guards.
var (
	_ caddy.AdminRouter = (*AdminSessions)(nil)
	_ caddy.Provisioner = (*AdminSessions)(nil)
)
