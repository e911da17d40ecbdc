// This file ends sessions for clients without cookies, by their token.

package caddylogout

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// endByToken ends the session of a token, for clients without cookies.
func (l *Logout) endByToken(w http.ResponseWriter, r *http.Request) error {
	a := l.app
	switch {
	case r.Method != http.MethodDelete:
		return a.failMethod(w, r, http.MethodDelete)
	case httpx.EarlyData(r):
		return a.failJSON(w, r, errTooEarly())
	}
	r, end := telemetry.StartLogout(r)
	defer end()
	refuse := func(err error) error {
		a.audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByAPI}.Failed(err))
		return a.failJSON(w, r, err)
	}
	credentials, err := l.tokensToEnd(w, r)
	if err != nil {
		return refuse(err)
	}
	done, pending := false, false
	for _, c := range credentials {
		found, err := a.Lookup(r.Context(), c)
		if err == nil && found.Session != nil {
			_, err = a.Revoke(r.Context(), found.Session)
		}
		if err != nil {
			err = a.Postpone(r.Context(), c, manager.TriggerOf(r, telemetry.ByAPI), err)
		}
		switch {
		case found.Pending || errors.Is(err, manager.ErrPending):
			pending = true // and so are the others: nobody knows which one is good
		case err != nil:
			return refuse(err)
		case found.Session != nil:
			a.audit(r, telemetry.Entry{Event: telemetry.EventRevoked, Trigger: telemetry.ByAPI, Outcome: telemetry.OutcomeRevoked}.OfSession(found.Session))
			return writeNoContent(w)
		}
		done = done || a.JustRevoked(found)
	}
	switch {
	case pending:
		return a.answerPending(w, r, true)
	case done:
		a.audit(r, telemetry.Entry{Event: telemetry.EventLogoutRepeated, Trigger: telemetry.ByAPI, Outcome: telemetry.OutcomeRepeated})
		return writeNoContent(w)
	}
	return refuse(newError(http.StatusForbidden, "session_token_invalid",
		"The provided Ory Session Token could not be found, is invalid, or otherwise malformed.", msgForbidden))
}

// tokensToEnd returns the credentials that the request names: the token in the
// body, or, without a body, those in the headers. A cookie names none here: it
// is sent along unasked, and this address is not protected by a logout token.
func (l *Logout) tokensToEnd(w http.ResponseWriter, r *http.Request) ([]session.Credential, error) {
	if r.ContentLength == 0 {
		var tokens []session.Credential
		for _, c := range l.app.Format.Locate(r, nil) {
			if c.From != session.FromCookie {
				tokens = append(tokens, c)
			}
		}
		if len(tokens) == 0 {
			return nil, newError(http.StatusBadRequest, "request_body_missing",
				`Unable to decode HTTP Request Body because its HTTP Header "Content-Length" is zero.`, msgBadRequest)
		}
		return tokens, nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, newError(http.StatusBadRequest, "request_content_type_unsupported",
			"The body of this request must be JSON, with the HTTP Header \"Content-Type: application/json\".", msgBadRequest)
	}
	var body struct {
		SessionToken string `json:"session_token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyLength)).Decode(&body); err != nil {
		return nil, bodyError(err)
	}
	return session.AppendCredential(nil, body.SessionToken, session.FromHeader), nil
}
