// This file makes a session when a trusted app says, by a response header, that
// someone has signed in.

package caddylogout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// issueRequest is what asks for a session: in the header of a trusted app, and
// in the body of a request to the admin endpoint.
type issueRequest struct {
	Identity string          `json:"identity"`
	Traits   json.RawMessage `json:"traits,omitempty"`
	// Lifespan is a duration like "1h" or "7d". Default: the app's lifespan.
	Lifespan string `json:"lifespan,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler. Each name may stand once, and as it is
// written here: of two identities one reader takes the first and another the last,
// and an app that pastes a name into its JSON could be made to name somebody else.
func (q *issueRequest) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return errors.New("want an object")
	}
	fields := map[string]any{"identity": &q.Identity, "traits": &q.Traits, "lifespan": &q.Lifespan}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		to := fields[name.(string)] // what the decoder calls a name is one
		if to == nil {
			return fmt.Errorf("unknown field %q, or given twice", name)
		}
		delete(fields, name.(string))
		if err := decoder.Decode(to); err != nil {
			return err
		}
	}
	return nil
}

// session checks the request and says what session it asks for.
func (q *issueRequest) session(method string) (manager.NewSession, error) {
	n := manager.NewSession{Identity: q.Identity, Traits: q.Traits, Method: method}
	if q.Lifespan != "" {
		lifespan, err := caddy.ParseDuration(q.Lifespan)
		if err != nil || lifespan <= 0 {
			return n, fmt.Errorf("%w: lifespan: want a duration like 1h, 30m or 7d", manager.ErrInvalidSession)
		}
		n.Lifespan = lifespan.Round(time.Second)
	}
	return n, n.Validate()
}

// watchResponse returns a writer that keeps the app from setting or clearing our
// cookies, also in a response that was in flight when the person was logged out,
// and that watches for the header of a sign-in.
func (g *SessionAuth) watchResponse(w http.ResponseWriter, r *http.Request, previous *web.Auth) *httpx.HookedWriter {
	return httpx.HookResponse(w, func(w http.ResponseWriter, status int) bool {
		h := w.Header()
		if previous.Stream.WasCut() && !httpx.Informational(status) {
			clear(h)
			if err := g.refuse(w, r); err != nil {
				g.logger.Error("refusing a session that has ended failed", zap.Error(err))
			}
			return true
		}
		g.site.DropForeignCookies(h, r)
		if previous.Session != nil && g.NoStore != nil && *g.NoStore {
			httpx.NoStore(h, status)
		}
		if g.IssueOnHeader == "" {
			return false
		}
		// It is taken out whatever else happens: it tells who signed in.
		asked := h.Values(g.IssueOnHeader)
		g.own.DeleteFrom(h)
		if len(asked) == 0 || httpx.Informational(status) {
			return false
		}
		if err := g.issue(w, r, previous, asked); err != nil {
			// The app believes that someone is signed in, and nobody is. Its
			// answer would say so, too: it is replaced.
			clear(h)
			if err := g.unavailable(w, r, err); err != nil {
				g.logger.Error("answering for a failed sign-in failed", zap.Error(err))
			}
			return true
		}
		h.Set("Cache-Control", "no-store")
		return false
	})
}

// issue makes the session, hands out its cookie, and ends the session that the
// browser had until now.
func (g *SessionAuth) issue(w http.ResponseWriter, r *http.Request, previous *web.Auth, asked []string) error {
	site := g.site
	refused := telemetry.Entry{Event: telemetry.EventSignInRefused, Trigger: telemetry.ByApp}
	failed := web.NewError(http.StatusBadGateway, "sign_in_response_invalid",
		"The application's answer to this sign-in could not be understood.", "The upstream answer was malformed")
	var q issueRequest
	if len(asked) != 1 || json.Unmarshal([]byte(asked[0]), &q) != nil {
		g.logger.Error("sign-in header of the app is not one JSON object", zap.String("header", g.IssueOnHeader))
		site.Audit(r, refused.Failed(failed))
		return failed
	}
	n, err := q.session("app")
	if err != nil {
		g.logger.Error("sign-in header of the app is invalid", zap.String("header", g.IssueOnHeader), zap.Error(err))
		site.Audit(r, refused.Failed(failed))
		return failed
	}
	n.Device = httpx.DeviceOf(r)
	if previous.Session != nil {
		n.Ending = []session.Key{previous.Session.Key}
	}
	refused.Identity = n.Identity
	credential, s, err := site.Issue(r.Context(), n)
	if err != nil {
		site.Audit(r, refused.Failed(err))
		return err
	}
	if old := previous.Session; old != nil {
		if _, err := site.Revoke(r.Context(), old); err != nil {
			site.Discard(r.Context(), s)
			site.Audit(r, refused.Failed(err))
			return err
		}
		site.Audit(r, telemetry.Entry{Event: telemetry.EventRevoked, Trigger: telemetry.BySignIn, Outcome: telemetry.OutcomeRevoked}.OfSession(old))
	}
	site.SetSessionCookie(w, r, credential, s)
	site.Audit(r, telemetry.Entry{Event: telemetry.EventIssued, Trigger: telemetry.ByApp, Outcome: telemetry.OutcomeIssued}.OfSession(s))
	return nil
}
