// This file answers who a request comes from: the one way from a credential
// through key, store and format to a live session.

package caddylogout

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// authVar is the request variable that holds what authenticate found, so that a
// matcher, the gate and a handler of one request ask the store once.
const authVar = "sessions.auth"

// authResult is what the credentials of one request came to.
type authResult struct {
	// session is the live session, nil if there is none.
	session *session.Session
	// credential is the one that session belongs to.
	credential session.Credential
	// deadCookie says that the request carries session cookies and that the
	// store knows none of them to be live: they are to be cleared.
	deadCookie bool
	// missed says that no live session was found, but that the request carries
	// more session cookies than were looked at: nobody may be told that there is
	// none.
	missed bool
	// strangers are the bearer tokens that were looked up and are no session's.
	strangers []string
	// traits are those of the session, flat, once a placeholder of one was asked for.
	traits map[string]string
	// changes is what streams wants to know of the time of the look-up, foundAt.
	changes uint64
	foundAt time.Time
	// known is what this server keeps of the session.
	known *nearcache.Entry
	// stream is the request itself, while it is being served for the session.
	stream *streams.Stream
	// gated says that a gate has cleaned the request and told the app.
	gated bool
}

// String hides what must not be printed: request variables can be.
func (res *authResult) String() string {
	if res.session == nil {
		return "anonymous"
	}
	return "session " + res.session.Key.Short()
}

// GoString hides the same.
func (res *authResult) GoString() string { return res.String() }

// authenticate finds the live session of a request. A wrong credential does not
// hide a good one: all are looked at, best first. The error wraps
// [ErrUnavailable] if no credential is known to be live and one could not be
// asked about. A request without a credential asks the store nothing.
func (a *App) authenticate(r *http.Request) (*authResult, error) {
	if res, ok := caddyhttp.GetVar(r.Context(), authVar).(*authResult); ok {
		return a.again(r, res)
	}
	var buf [session.MaxCredentials]session.Credential
	credentials := a.Format.Locate(r, buf[:0])
	if len(credentials) == 0 {
		a.Measured.Load().Counts().Add(telemetry.CheckNoCredential)
		return new(authResult), nil
	}
	var (
		res       *authResult
		outage    error
		strangers []string
	)
	for _, c := range credentials {
		found, err := a.Lookup(r.Context(), c)
		if err != nil {
			outage = err
			continue
		}
		if found.Session != nil {
			res = authResultOf(&found, c)
			break
		}
		if c.From == session.FromBearer && !found.OfSession() {
			strangers = append(strangers, c.Secret())
		}
	}
	switch {
	case res == nil && outage != nil:
		return nil, outage
	case res == nil:
		missed := a.missedCookies(r, credentials)
		res = &authResult{missed: missed, deadCookie: hasCookie(credentials) && !missed}
	}
	res.strangers = strangers
	remember(r, res)
	return res, nil
}

// remember keeps what authenticate found for the rest of the request.
func remember(r *http.Request, res *authResult) {
	if _, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		caddyhttp.SetVar(r.Context(), authVar, res)
	}
}

// LogoutToken returns the logout token of the credential of a live session. It is
// computed once for as long as the session is in memory.
func (res *authResult) logoutToken() string {
	if token := res.known.LogoutToken.Load(); token != nil {
		return *token
	}
	token := session.LogoutToken(res.credential)
	res.known.LogoutToken.Store(&token)
	return token
}
