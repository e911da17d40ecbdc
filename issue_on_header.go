// This file makes a session when a trusted app says, by a response header, that
// someone has signed in.

package caddylogout

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// issueRequest is what asks for a session: in the header of a trusted app, and
// in the body of a request to the admin endpoint.
type issueRequest struct {
	Identity string          `json:"identity"`
	Traits   json.RawMessage `json:"traits,omitempty"`
	// Lifespan is a duration like "1h" or "7d". Default: the app's lifespan.
	Lifespan string `json:"lifespan,omitempty"`
}

// session checks the request and says what session it asks for.
func (q *issueRequest) session(method string) (newSession, error) {
	n := newSession{identity: q.Identity, traits: q.Traits, method: method}
	if q.Lifespan != "" {
		lifespan, err := caddy.ParseDuration(q.Lifespan)
		if err != nil || lifespan <= 0 {
			return n, fmt.Errorf("%w: lifespan: want a duration like 1h, 30m or 7d", errInvalidSession)
		}
		n.lifespan = lifespan.Round(time.Second)
	}
	return n, n.validate()
}

// issuer is a response writer that watches for the header of a sign-in.
type issuer struct {
	*caddyhttp.ResponseWriterWrapper
	request  *http.Request
	gate     *SessionAuth
	previous *authResult
	wrote    bool
	dropBody bool
}

func newIssuer(w http.ResponseWriter, r *http.Request, g *SessionAuth, previous *authResult) *issuer {
	return &issuer{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		request:               r, gate: g, previous: previous,
	}
}

// WriteHeader implements http.ResponseWriter. The header is taken out whatever
// else happens: it tells who signed in.
func (i *issuer) WriteHeader(status int) {
	if i.wrote {
		return
	}
	h := i.Header()
	asked := h.Values(i.gate.IssueOnHeader)
	i.gate.own.deleteFrom(h)
	if status >= 100 && status <= 199 && status != http.StatusSwitchingProtocols {
		i.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	i.wrote = true
	if len(asked) == 0 {
		i.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	if err := i.issue(asked); err != nil {
		// The app believes that someone is signed in, and nobody is. Its answer
		// would say so, too: it is replaced.
		i.dropBody = true
		clear(h)
		if err := i.gate.app.unavailable(i.ResponseWriterWrapper, i.request, err); err != nil {
			i.gate.logger.Error("answering for a failed sign-in failed", zap.Error(err))
		}
		return
	}
	h.Set("Cache-Control", "no-store")
	i.ResponseWriterWrapper.WriteHeader(status)
}

// issue makes the session, hands out its cookie, and ends the session that the
// browser had until now.
func (i *issuer) issue(asked []string) error {
	a, r := i.gate.app, i.request
	failed := newError(http.StatusBadGateway, "sign_in_response_invalid",
		"The application's answer to this sign-in could not be understood.", "The upstream answer was malformed")
	var q issueRequest
	if len(asked) != 1 || json.Unmarshal([]byte(asked[0]), &q) != nil {
		i.gate.logger.Error("sign-in header of the app is not one JSON object", zap.String("header", i.gate.IssueOnHeader))
		return failed
	}
	n, err := q.session("app")
	if err != nil {
		i.gate.logger.Error("sign-in header of the app is invalid", zap.String("header", i.gate.IssueOnHeader), zap.Error(err))
		return failed
	}
	n.device = deviceOf(r)
	credential, s, err := a.issue(r.Context(), n)
	if err != nil {
		return err
	}
	if old := i.previous.session; old != nil {
		if _, err := a.revoke(r.Context(), old); err != nil {
			return err
		}
	}
	a.setSessionCookie(i, r, credential, s)
	i.gate.logger.Info("session issued",
		zap.String("session", s.Key.Short()), zap.String("identity", s.Identity),
		zap.String("method", n.method), zap.String("client_ip", clientIP(r)))
	return nil
}

// Write implements http.ResponseWriter.
func (i *issuer) Write(data []byte) (int, error) {
	if !i.wrote {
		i.WriteHeader(http.StatusOK)
	}
	if i.dropBody {
		return len(data), nil
	}
	return i.ResponseWriterWrapper.Write(data)
}

// ReadFrom keeps a copy to the writer from going past Write.
func (i *issuer) ReadFrom(src io.Reader) (int64, error) {
	if !i.wrote {
		i.WriteHeader(http.StatusOK)
	}
	if i.dropBody {
		return io.Copy(io.Discard, src)
	}
	return i.ResponseWriterWrapper.ReadFrom(src)
}

// FlushError implements what http.ResponseController looks for: a flush sends
// the header too, which must not go out unwatched.
func (i *issuer) FlushError() error {
	if !i.wrote {
		i.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(i.ResponseWriterWrapper).Flush()
}

// Interface guards.
var _ http.ResponseWriter = (*issuer)(nil)
