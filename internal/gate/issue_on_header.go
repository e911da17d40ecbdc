package gate

import (
	"encoding/json"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// watchResponse returns a writer that keeps the app from setting or clearing our
// cookies, also in a response that was in flight when the person was logged out,
// and that watches for the header of a sign-in.
func (g *Handler) watchResponse(w http.ResponseWriter, r *http.Request, previous *web.Auth) *httpx.HookedWriter {
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
		// The client never gets the header: it names the person who signed in.
		asked := h.Values(g.IssueOnHeader)
		g.own.DeleteFrom(h)
		if len(asked) == 0 || httpx.Informational(status) {
			return false
		}
		if err := g.issue(w, r, previous, asked); err != nil {
			// The app believes that the person is signed in, which is wrong, and its
			// response would say so: an error replaces it.
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

// issue makes the session, sets its cookie, and ends the session that the browser had
// until now.
func (g *Handler) issue(w http.ResponseWriter, r *http.Request, previous *web.Auth, asked []string) error {
	site := g.site
	refused := telemetry.Entry{Event: telemetry.EventSignInRefused, Trigger: telemetry.ByApp}
	failed := web.NewError(http.StatusBadGateway, "sign_in_response_invalid",
		"The application's answer to this sign-in could not be understood.", "The upstream answer was malformed")
	var q manager.IssueRequest
	if len(asked) != 1 || json.Unmarshal([]byte(asked[0]), &q) != nil {
		g.logger.Error("sign-in header of the app is not one JSON object", zap.String("header", g.IssueOnHeader))
		site.Audit(r, refused.Failed(failed))
		return failed
	}
	n, err := q.Session("app")
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
		if err := site.End(r.Context(), old, manager.TriggerOf(r, telemetry.BySignIn)); err != nil {
			site.Discard(r.Context(), s)
			site.Audit(r, refused.Failed(err))
			return err
		}
	}
	site.SetSessionCookie(w, r, credential, s)
	site.Audit(r, telemetry.Entry{Event: telemetry.EventIssued, Trigger: telemetry.ByApp, Outcome: telemetry.OutcomeIssued}.OfSession(s))
	return nil
}
