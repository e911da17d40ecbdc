// Package admin serves sessions on Caddy's admin endpoint: it lists, shows, makes and
// ends them, lifts blocks of sign-ins, and reports the state of this node.
package admin

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

// API serves the admin endpoint. Admin routers are provisioned before the apps, so
// the app is looked up when a request comes.
type API struct {
	logger *zap.Logger
}

// New returns the API.
func New(logger *zap.Logger) *API { return &API{logger: logger} }

// Routes returns the routes.
func (s *API) Routes() []caddy.AdminRoute {
	routes := make([]caddy.AdminRoute, 0, len(endpoints)+1)
	for _, route := range endpoints {
		routes = append(routes, caddy.AdminRoute{Pattern: route.pattern, Handler: caddy.AdminHandlerFunc(route.methods.serve(s))})
	}
	// Other paths below /sessions: the response is JSON, too.
	return append(routes, caddy.AdminRoute{Pattern: "/sessions/", Handler: caddy.AdminHandlerFunc(s.unknown)})
}

// adminMethods are what serves the methods of one path. HEAD is served as GET.
type adminMethods map[string]func(*API, http.ResponseWriter, *http.Request) error

// endpoints are the paths, as patterns of [http.ServeMux].
var endpoints = []struct {
	pattern string
	methods adminMethods
}{
	{"/sessions", adminMethods{
		http.MethodGet:    (*API).list,
		http.MethodPost:   (*API).issue,
		http.MethodDelete: (*API).revokeMany,
	}},
	{"/sessions/{id}", adminMethods{
		http.MethodGet:    (*API).show,
		http.MethodDelete: (*API).revokeOne,
	}},
	{"/sessions/blocks", adminMethods{http.MethodDelete: (*API).lift}},
	{"/sessions/statistics", adminMethods{http.MethodGet: (*API).statistics}},
	{"/sessions/readiness", adminMethods{http.MethodGet: (*API).readiness}},
	{"/sessions/liveness", adminMethods{http.MethodGet: (*API).liveness}},
}

// serve returns what serves a path: its methods, and 405 for all others.
func (m adminMethods) serve(s *API) func(http.ResponseWriter, *http.Request) error {
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

func (*API) unknown(w http.ResponseWriter, _ *http.Request) error {
	web.Prepare(w.Header())
	return adminError(http.StatusNotFound, "there is no such path")
}

// activeSite returns the site of the running configuration.
func activeSite() (*web.Site, error) {
	loaded, err := caddy.ActiveContext().AppIfConfigured("sessions")
	if err != nil {
		return nil, adminError(http.StatusNotFound, "the running configuration has no sessions")
	}
	return loaded.(interface{ Site() *web.Site }).Site(), nil
}

// Fail answers with an error of the site. An unavailable store says nothing about
// sessions. Its error holds no key and no data of a client.
func (s *API) Fail(w http.ResponseWriter, err error) error {
	if errors.Is(err, errNoSuchSession) {
		w.Header().Set("Ory-Error-Id", NoSuchSessionID)
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
func (s *API) issue(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	var q manager.IssueRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, web.MaxBodyLength)).Decode(&q); err != nil {
		// A client of the admin endpoint may read the decoder's error.
		return adminError(http.StatusBadRequest, `body: want JSON like {"identity":"alice","traits":{},"lifespan":"1h"}: `+err.Error())
	}
	n, err := q.Session("token")
	if err != nil {
		return adminError(http.StatusBadRequest, err.Error())
	}
	credential, sess, err := site.Issue(r.Context(), n)
	if err != nil {
		site.Audit(r, telemetry.Entry{Event: telemetry.EventSignInRefused, Trigger: telemetry.ByAdmin, Identity: n.Identity}.Failed(err))
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
	site.Audit(r, telemetry.Entry{Event: telemetry.EventIssued, Trigger: telemetry.ByAdmin, Outcome: telemetry.OutcomeIssued}.OfSession(sess))
	return web.WriteJSON(w, http.StatusCreated, map[string]any{
		"session_token": credential.Secret(),
		"session":       web.SessionJSON(sess, site.BaseURL),
	})
}

func adminError(status int, reason string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(reason)}
}

// Endpoints returns the methods of each path, as patterns of [http.ServeMux] have it.
func Endpoints() map[string][]string {
	all := make(map[string][]string, len(endpoints))
	for _, route := range endpoints {
		all[route.pattern] = slices.Sorted(maps.Keys(route.methods))
	}
	return all
}
