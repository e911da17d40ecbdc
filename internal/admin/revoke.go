package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// Count is the response to a revocation of many: how many sessions really ended.
type Count struct {
	Count int `json:"count"`
	// Done or Error is in the last line of a response that shows progress.
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

// revokeOne ends the session that is named.
func (s *API) revokeOne(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	key, identity, err := s.Named(site, r)
	if err != nil {
		return s.Fail(w, err)
	}
	r, end := telemetry.StartLogout(r)
	defer end()
	e := telemetry.Entry{Event: telemetry.EventRevoked, Trigger: telemetry.ByAdmin, Outcome: telemetry.OutcomeRevoked, Session: key.Short(), Identity: identity}
	count, err := site.RevokeKeys(r.Context(), identity, func(other session.Key) bool { return other == key })
	if err != nil {
		e.Event = telemetry.EventLogoutRefused
		site.Audit(r, e.Failed(err))
		return s.Fail(w, err)
	}
	if count == 0 {
		return s.Fail(w, errNoSuchSession)
	}
	site.Audit(r, e)
	return web.WriteJSON(w, http.StatusOK, Count{Count: count})
}

// revokeMany ends all sessions of a person, or, with all=true, of everybody. An empty
// identity, as of an empty variable in a script, ends no session.
func (s *API) revokeMany(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	query, err := adminQuery(r, "identity", "all")
	if err != nil {
		return err
	}
	switch all := query.Get("all"); {
	case query.Has("all") && query.Has("identity"):
		return adminError(http.StatusBadRequest, "want identity or all, not both")
	case query.Has("all") && all != "true":
		return adminError(http.StatusBadRequest, "all: want true, which ends the sessions of everybody")
	case query.Has("all"):
		return s.revokeAll(w, r, site)
	}
	identity, err := wantIdentity(query)
	if err != nil {
		return err
	}
	r, end := telemetry.StartLogout(r)
	defer end()
	e := telemetry.Entry{Event: telemetry.EventManyRevoked, Trigger: telemetry.ByAdmin, Outcome: telemetry.OutcomeRevoked, Identity: identity}
	count, err := site.RevokeKeys(r.Context(), identity, func(key session.Key) bool {
		e = e.And(key)
		return true
	})
	auditMany(site, r, e, count, err)
	if err != nil {
		return s.Fail(w, err)
	}
	return web.WriteJSON(w, http.StatusOK, Count{Count: count})
}

// auditMany records the end of many sessions, also if some did not end.
func auditMany(site *web.Site, r *http.Request, e telemetry.Entry, count int, err error) {
	if err != nil {
		e = e.Failed(err)
	}
	e.Count = count
	site.Audit(r, e)
}

// progressEvery is how often a response shows progress.
const progressEvery = 250 * time.Millisecond

// NDJSON is the type of a response that shows progress: a line of JSON for each step,
// the last of which says done or error.
const NDJSON = "application/x-ndjson"

// revokeAll ends the sessions of everybody. A client that accepts NDJSON gets
// progress.
func (s *API) revokeAll(w http.ResponseWriter, r *http.Request, site *web.Site) error {
	stream := strings.Contains(r.Header.Get("Accept"), NDJSON)
	last, told := time.Now(), false
	tell := func(Count) {}
	if stream {
		w.Header().Set("Content-Type", NDJSON)
		out := json.NewEncoder(w)
		// It goes on if the client has disconnected.
		tell = func(line Count) {
			told = true
			_ = out.Encode(line)
			_ = http.NewResponseController(w).Flush()
		}
	}
	r, end := telemetry.StartLogout(r)
	defer end()
	trail := &manager.EverybodyTrail{M: site.Manager, Ctx: r.Context(), By: manager.TriggerOf(r, telemetry.ByAdmin)}
	count, err := site.RevokeEverybody(r.Context(), trail, func(count int) {
		if now := time.Now(); now.Sub(last) >= progressEvery {
			last = now
			tell(Count{Count: count})
		}
	})
	switch {
	case err != nil && told:
		tell(Count{Count: count, Error: err.Error()})
		return nil
	case err != nil:
		return s.Fail(w, err)
	case stream:
		tell(Count{Count: count, Done: true})
		return nil
	}
	return web.WriteJSON(w, http.StatusOK, Count{Count: count})
}
