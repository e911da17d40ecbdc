// Package signout serves what ends sessions and tells about them: Ory's self-service
// logout, the list of a person's sessions and its page, and the app's own logout.
package signout

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

// Options are the options of logout.
type Options struct {
	// SessionsAPI serves /sessions and /sessions/{id}. When false, these paths
	// belong to the app, and of /sessions only whoami is served. Default: true.
	SessionsAPI *bool `json:"sessions_api,omitempty"`

	// SessionsPage is the path of a page on which people see where they are
	// signed in, and sign out there, such as /account/sessions. Default: none.
	SessionsPage string `json:"sessions_page,omitempty"`

	AppLogout
}

// Handler is logout as it runs.
type Handler struct {
	Options
	Site *web.Site
}

// New returns the logout of a site.
func New(options Options, site *web.Site) (*Handler, error) {
	l := &Handler{Options: options, Site: site}
	return l, l.AppLogout.provision()
}

// Validate implements caddy.Validator.
func (l *Options) Validate() error {
	if err := ValidateSessionsPage(l.SessionsPage); err != nil {
		return fmt.Errorf("logout: sessions_page: %w", err)
	}
	return l.AppLogout.Validate()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if refusal := web.Admit(r); refusal != nil {
		return l.Site.FailAndClose(w, r, refusal)
	}
	if serve := Routes.Find(l, web.OwnPath(r, l.Site.Prefix)); serve != nil {
		return serve(l, w, r)
	}
	if l.SessionsPage != "" && web.OwnPath(r, "") == l.SessionsPage {
		return l.sessionsPage(w, r)
	}
	l.Site.CleanUngated(r)
	if l.IsAppLogout(r) {
		return l.appLogout(w, r, next)
	}
	if len(l.LogoutOn) > 0 {
		return l.watchForLogout(w, r, next)
	}
	return next.ServeHTTP(w, r)
}

// Routes are our paths. Some belong to the app with sessions_api off.
var Routes = web.Routes[*Handler]{
	{Path: "/self-service/logout/browser", Serve: (*Handler).createURL},
	{Path: "/self-service/logout", Serve: (*Handler).submit},
	{Path: "/self-service/logout/api", Serve: (*Handler).endByToken},
	{Path: web.DonePath, Serve: (*Handler).serveDone},
	{Path: web.ErrorsPath, Serve: (*Handler).serveError},
	{Path: "/sessions/whoami", Serve: (*Handler).whoami},
	{Path: "/sessions", Serve: (*Handler).sessions, If: (*Handler).servesSessions},
	{Path: "/sessions/{id}", Serve: (*Handler).session, If: (*Handler).servesSessions},
	{Path: "/sessions/*", Serve: (*Handler).unknown, If: (*Handler).servesSessions},
	{Path: "/self-service/logout/*", Serve: (*Handler).unknown},
	{Path: web.ErrorsPath + "/*", Serve: (*Handler).unknown},
}

func (l *Handler) servesSessions() bool { return l.SessionsAPI == nil || *l.SessionsAPI }

// serveError serves the error of a browser.
func (l *Handler) serveError(w http.ResponseWriter, r *http.Request) error {
	return l.Site.ServeError(w, r)
}

func (l *Handler) unknown(w http.ResponseWriter, r *http.Request) error {
	return l.Site.FailJSON(w, r, web.ErrNotFound())
}

// createURL answers with the logout URL of this session. It changes nothing.
func (l *Handler) createURL(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return site.FailMethod(w, r, "GET, HEAD")
	}
	res, err := site.Authenticate(r)
	if err != nil {
		return site.Fail(w, r, err)
	}
	if res.Session == nil {
		site.ClearIfDead(w, r, res)
		return site.Fail(w, r, res.Inactive(web.ErrSessionInactive()))
	}
	returnTo := ""
	if raw := r.URL.Query().Get("return_to"); raw != "" {
		if returnTo, err = site.CheckReturnURL(r, raw); err != nil {
			return site.Fail(w, r, web.ErrReturnURL(raw, err))
		}
	}
	token := res.LogoutToken()
	return web.WriteJSON(w, http.StatusOK, struct {
		URL   string `json:"logout_url"`
		Token string `json:"logout_token"`
	}{site.LogoutURL(r, token, returnTo), token})
}

// submit follows a logout URL: check the token, the session and the return URL,
// then revoke, then clear the cookie, then redirect, in this order.
func (l *Handler) submit(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	switch {
	case r.Method == http.MethodHead:
		// HEAD must change nothing (RFC 9110, section 9.2.1), so it cannot
		// answer as GET would: nobody was logged out.
		web.Prepare(w.Header())
		w.WriteHeader(http.StatusOK)
		return nil
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		return site.FailMethod(w, r, "GET, HEAD, POST")
	case httpx.Speculative(r):
		// A refusal, not a redirect: a browser would use the answer to a
		// prefetch for the real click, and the click would log nobody out.
		return site.FailJSON(w, r, web.ErrSpeculative())
	case httpx.EarlyData(r):
		return site.FailJSON(w, r, web.ErrTooEarly())
	}
	trigger := telemetry.ByBrowser
	if httpx.WantsJSON(r) {
		trigger = telemetry.ByScript
	}
	r, end := telemetry.StartLogout(r)
	defer end()
	return l.follow(w, r, trigger)
}

// follow does what a logout URL asks for.
func (l *Handler) follow(w http.ResponseWriter, r *http.Request, trigger string) error {
	site := l.Site
	refused := telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: trigger}
	refuse := func(err error) error {
		site.Audit(r, refused.Failed(err))
		return site.Fail(w, r, err)
	}
	token, rawReturnTo, err := submitted(w, r)
	if err != nil {
		return refuse(err)
	}
	if token == "" {
		return refuse(web.NewError(http.StatusBadRequest, "logout_token_missing", "Please include a token in the URL query.", web.MsgBadRequest))
	}
	verified, err := l.verify(r, token, trigger)
	refused.Session = verified.handle
	if err != nil {
		return l.failLogout(w, r, refused, err, verified.proven())
	}
	if verified.failure != nil {
		if verified.clear {
			site.ClearSessionCookie(w, r)
		}
		return refuse(verified.failure)
	}
	if verified.session != nil {
		refused = refused.OfSession(verified.session)
	}
	location, err := site.CheckReturnURL(r, rawReturnTo)
	if err != nil {
		return refuse(web.ErrReturnURL(rawReturnTo, err))
	}
	if verified.session != nil {
		ended, err := site.EndFound(r.Context(), verified.session, verified.credential, manager.TriggerOf(r, trigger))
		if ended.Pending {
			err = manager.ErrPending
		}
		if err != nil {
			return l.failLogout(w, r, refused, err, true)
		}
	} else {
		repeated := refused
		repeated.Event, repeated.Outcome = telemetry.EventLogoutRepeated, telemetry.OutcomeRepeated
		site.Audit(r, repeated)
	}
	if verified.clear {
		site.ClearSessionCookie(w, r)
	}
	if verified.proven() {
		l.cleanBrowser(w.Header(), r)
	}
	if httpx.WantsJSON(r) {
		return web.WriteNoContent(w)
	}
	return web.Redirect(w, r, location)
}

// failLogout answers a logout that was not done: pending, or an error. proven
// says that the client has shown the credential of what is pending: nobody else
// may have the app's cookies deleted.
func (l *Handler) failLogout(w http.ResponseWriter, r *http.Request, refused telemetry.Entry, err error, proven bool) error {
	if errors.Is(err, manager.ErrPending) {
		if proven {
			l.DeleteStripped(w.Header(), r)
		}
		return l.Site.AnswerPending(w, r, httpx.WantsJSON(r))
	}
	l.Site.Audit(r, refused.Failed(err))
	return l.Site.Fail(w, r, err)
}

// submitted reads the logout token and the return URL, from the query or from
// the form of a POST.
func submitted(w http.ResponseWriter, r *http.Request) (token, returnTo string, err error) {
	query := r.URL.Query()
	token, returnTo = query.Get("token"), query.Get("return_to")
	if r.Method != http.MethodPost || token != "" {
		return token, returnTo, nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, web.MaxBodyLength)
	if err := r.ParseForm(); err != nil {
		return "", "", web.BodyError(err)
	}
	if returnTo == "" {
		returnTo = r.PostForm.Get("return_to")
	}
	return r.PostForm.Get("token"), returnTo, nil
}
