// This file serves sessions on Caddy's admin endpoint.

package caddylogout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// AdminSessions is the part of Caddy's admin endpoint that makes sessions:
//
//	POST /sessions  {"identity":"alice","traits":{…},"lifespan":"1h"}
//
// answers 201 with {"session_token":"…","session":{…}}. The token is shown this
// once. Who may reach the admin endpoint may sign in as anybody: it is for
// loopback or a Unix socket, as Caddy's default has it. GET /sessions/readiness
// and GET /sessions/liveness answer 200 {"status":"ready"} and {"status":"alive"},
// or 503 when the store cannot be asked.
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
	return []caddy.AdminRoute{
		{Pattern: "/sessions", Handler: caddy.AdminHandlerFunc(s.serve)},
		{Pattern: "/sessions/readiness", Handler: caddy.AdminHandlerFunc(s.readiness)},
		{Pattern: "/sessions/liveness", Handler: caddy.AdminHandlerFunc(s.liveness)},
	}
}

func (s *AdminSessions) serve(w http.ResponseWriter, r *http.Request) error {
	prepare(w.Header())
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return adminError(http.StatusMethodNotAllowed, "want POST")
	}
	loaded, err := caddy.ActiveContext().AppIfConfigured("sessions")
	if err != nil {
		return adminError(http.StatusNotFound, "the running configuration has no sessions")
	}
	app := loaded.(*App)
	var q issueRequest
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyLength))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		// Whoever may ask here may read what the decoder says.
		return adminError(http.StatusBadRequest, `body: want JSON like {"identity":"alice","traits":{},"lifespan":"1h"}: `+err.Error())
	}
	n, err := q.session("token")
	if err != nil {
		return adminError(http.StatusBadRequest, err.Error())
	}
	credential, session, err := app.issue(r.Context(), n)
	if err != nil {
		app.audit(r, auditEntry{event: eventSignInRefused, trigger: byAdmin, identity: n.identity}.failed(err))
		if errors.Is(err, ErrUnavailable) {
			w.Header().Set("Retry-After", fmt.Sprint(retryAfter))
			return adminError(http.StatusServiceUnavailable, "the session store cannot be asked")
		}
		return err
	}
	app.audit(r, auditEntry{event: eventIssued, trigger: byAdmin, outcome: outcomeIssued}.ofSession(session))
	return writeJSON(w, http.StatusCreated, map[string]any{
		"session_token": credential.value,
		"session":       sessionJSON(session, app.BaseURL),
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
