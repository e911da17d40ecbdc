package web

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/person"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// AuthVar is the request variable that holds the result of authenticate, so that a
// matcher, the gate and a handler of one request ask the store once.
const AuthVar = "sessions.auth"

// Auth is the result of checking the credentials of one request.
type Auth struct {
	// Session is the live session, nil if there is none.
	Session *session.Session
	// Credential is the one that session belongs to.
	Credential session.Credential
	// DeadCookie says that the request carries session cookies and that the store
	// knows no live session of theirs: the response clears them.
	DeadCookie bool
	// Missed says that no live session was found, but that the request carries more
	// session cookies than were checked: the response must not say that there is
	// none.
	Missed bool
	// Strangers are the bearer tokens that belong to no session.
	Strangers []string
	// Traits are those of the session, flat, from the first use of such a
	// placeholder.
	Traits map[string]string
	// Changes is the count of change notifications at the time of the look-up,
	// foundAt, for streams.
	Changes uint64
	foundAt time.Time
	// Known is what this server keeps of the session.
	Known *nearcache.Entry
	// Stream is the request itself, while it is being served for the session.
	Stream *streams.Stream
	// Gated says that a gate has cleaned the request and set its headers.
	Gated bool
}

// String hides what must not be printed: request variables can be.
func (res *Auth) String() string {
	if res.Session == nil {
		return "anonymous"
	}
	return "session " + res.Session.Key.Short()
}

// GoString hides the same.
func (res *Auth) GoString() string { return res.String() }

// Authenticate finds the live session of a request. A wrong credential does not hide
// a good one: it checks all, best first. The error wraps [session.ErrUnavailable] if
// no credential is known to be live and the store could not look one up. A request
// without a credential needs no store.
func (site *Site) Authenticate(r *http.Request) (*Auth, error) {
	if res, ok := caddyhttp.GetVar(r.Context(), AuthVar).(*Auth); ok {
		return site.again(r, res)
	}
	var buf [session.MaxCredentials]session.Credential
	credentials := site.Format.Locate(r, buf[:0])
	if len(credentials) == 0 {
		site.Measured.Load().Counts().Add(telemetry.CheckNoCredential)
		return new(Auth), nil
	}
	var (
		res       *Auth
		outage    error
		strangers []string
	)
	for _, c := range credentials {
		found, err := site.Lookup(r.Context(), c)
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
		missed := site.MissedCookies(r, credentials)
		res = &Auth{Missed: missed, DeadCookie: HasCookie(credentials) && !missed}
	}
	res.Strangers = strangers
	Remember(r, res)
	return res, nil
}

// Remember keeps the result of authenticate for the rest of the request.
func Remember(r *http.Request, res *Auth) {
	if _, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		caddyhttp.SetVar(r.Context(), AuthVar, res)
	}
}

// LogoutToken returns the logout token of the credential of a live session. It is
// computed once for as long as the session is in memory.
func (res *Auth) LogoutToken() string {
	if token := res.Known.LogoutToken.Load(); token != nil {
		return *token
	}
	token := session.LogoutToken(res.Credential)
	res.Known.LogoutToken.Store(&token)
	return token
}

// TraitsOf returns the traits of a session by the names of their placeholders. Our
// sign-ins refuse the traits that it leaves out, but a login service may have written
// them.
func (site *Site) TraitsOf(s *session.Session) map[string]string {
	traits, err := person.Flatten(s.Traits)
	if err != nil {
		site.Logger.Warn("traits left out", zap.String("session", s.Key.Short()), zap.Error(err))
	}
	return traits
}
