package signout

import (
	"encoding/json"
	"mime"
	"net/http"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// endByToken ends the session of a token, for clients without cookies.
func (l *Handler) endByToken(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	switch {
	case r.Method != http.MethodDelete:
		return site.FailMethod(w, r, http.MethodDelete)
	case httpx.EarlyData(r):
		return site.FailJSON(w, r, web.ErrTooEarly())
	}
	r, end := telemetry.StartLogout(r)
	defer end()
	refuse := func(err error) error {
		site.Audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByAPI}.Failed(err))
		return site.FailJSON(w, r, err)
	}
	credentials, err := l.tokensToEnd(w, r)
	if err != nil {
		return refuse(err)
	}
	done, pending := false, false
	for _, c := range credentials {
		ended, err := site.EndCredential(r.Context(), c, manager.TriggerOf(r, telemetry.ByAPI))
		switch {
		case err != nil:
			return refuse(err)
		case ended.Session != nil:
			return web.WriteNoContent(w)
		}
		done = done || ended.Repeated
		// Then the others are pending, too: during an outage it is not known which is live.
		pending = pending || ended.Pending
	}
	switch {
	case pending:
		return site.AnswerPending(w, r, true)
	case done:
		site.Audit(r, telemetry.Entry{Event: telemetry.EventLogoutRepeated, Trigger: telemetry.ByAPI, Outcome: telemetry.OutcomeRepeated})
		return web.WriteNoContent(w)
	}
	return refuse(web.NewError(http.StatusForbidden, "session_token_invalid",
		"The provided Ory Session Token could not be found, is invalid, or otherwise malformed.", web.MsgForbidden))
}

// tokensToEnd returns the credentials that the request names: the token in the
// body, or, without a body, those in the headers. A cookie names none here: it
// is sent along unasked, and this address is not protected by a logout token.
func (l *Handler) tokensToEnd(w http.ResponseWriter, r *http.Request) ([]session.Credential, error) {
	if r.ContentLength == 0 {
		var tokens []session.Credential
		for _, c := range l.Site.Format.Locate(r, nil) {
			if c.From != session.FromCookie {
				tokens = append(tokens, c)
			}
		}
		if len(tokens) == 0 {
			return nil, web.NewError(http.StatusBadRequest, "request_body_missing",
				`Unable to decode HTTP Request Body because its HTTP Header "Content-Length" is zero.`, web.MsgBadRequest)
		}
		return tokens, nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, web.NewError(http.StatusBadRequest, "request_content_type_unsupported",
			"The body of this request must be JSON, with the HTTP Header \"Content-Type: application/json\".", web.MsgBadRequest)
	}
	var body struct {
		SessionToken string `json:"session_token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, web.MaxBodyLength)).Decode(&body); err != nil {
		return nil, web.BodyError(err)
	}
	return session.AppendCredential(nil, body.SessionToken, session.FromHeader), nil
}
