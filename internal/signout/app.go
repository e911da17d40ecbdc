package signout

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// appLogout serves a request for the app's own logout.
func (l *Handler) appLogout(w http.ResponseWriter, r *http.Request, next nextHandler) error {
	site := l.Site
	switch {
	case r.Method == http.MethodHead:
		// It must change nothing (RFC 9110, section 9.2.1), and apps answer it
		// as GET: so it does not get there.
		web.Prepare(w.Header())
		w.WriteHeader(http.StatusOK)
		return nil
	case httpx.Speculative(r):
		return site.FailJSON(w, r, web.ErrSpeculative())
	case !forPerson(r):
		refusal := web.ErrCSRF("This address signs people out, so it does not answer an image, a frame or any other part of a page.")
		site.Audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp}.Failed(refusal))
		return site.FailJSON(w, r, refusal)
	case httpx.EarlyData(r):
		return site.FailJSON(w, r, web.ErrTooEarly())
	}
	confirmed := readConfirmation(r)
	credentials := site.Format.Locate(r, nil)
	if !l.fromApp(r) && !confirmed.by(credentials) {
		return l.askFirst(w, r)
	}
	if l.AppFirst != nil && !*l.AppFirst {
		return l.finishAppLogout(w, r, credentials, nil)
	}
	return l.appFirst(w, r, next, confirmed, credentials)
}

// forPerson reports whether a browser asks for a page, or a script for data: not
// for an image, a frame, a style sheet or the like, which any page can make it do.
func forPerson(r *http.Request) bool {
	return !slices.ContainsFunc(r.Header["Sec-Fetch-Dest"], func(dest string) bool { return dest != "document" && dest != "empty" })
}

// fromApp reports whether a person on a page of the app wants the request, or typed it
// in. A GET that does not say where it comes from may be a link on any page.
func (l *Handler) fromApp(r *http.Request) bool {
	if r.Method == http.MethodGet && len(r.Header["Sec-Fetch-Site"])+len(r.Header["Origin"])+len(r.Header["Referer"]) == 0 {
		return false
	}
	return !httpx.CrossSite(r, l.Site.SiteOrigin(r))
}

// askFirst answers a client that may not want to be logged out at all: a page with one
// button, or, for JSON clients, the URL that does it.
func (l *Handler) askFirst(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	res, err := site.Authenticate(r)
	if err != nil {
		site.Audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp}.Failed(err))
		return site.Unavailable(w, r, err)
	}
	token := ""
	if res.Session != nil {
		token = res.LogoutToken()
	}
	if httpx.WantsJSON(r) {
		refusal := web.ErrCSRF("This request would sign a person out, and it did not come from a page of this site.")
		refused := telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp}
		if res.Session != nil {
			refused = refused.OfSession(res.Session)
		}
		site.Audit(r, refused.Failed(refusal))
		if token != "" {
			refusal.Details = map[string]any{"logout_url": site.LogoutURL(r, token, "")}
		}
		return site.FailJSON(w, r, refusal)
	}
	// The address is the cleaned one: a browser takes //logout for a host.
	target := url.URL{Path: httpx.OriginalPath(r), RawQuery: httpx.OriginalURL(r).RawQuery}
	web.Prepare(w.Header())
	return site.Pages.Confirm(w, r, pages.ConfirmData{
		Action: target.String(), Token: token, Method: r.Method, Home: site.HomeURL(r),
	})
}

// finishAppLogout ends our session and answers; app is the header that the app
// has answered with, if it was asked.
func (l *Handler) finishAppLogout(w http.ResponseWriter, r *http.Request, credentials []session.Credential, app http.Header) error {
	if err := l.endAll(r, credentials, telemetry.ByApp); err != nil {
		return l.failLogout(w, r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp}, err, true)
	}
	for _, name := range []string{"Set-Cookie", "Clear-Site-Data"} {
		w.Header()[name] = append(w.Header()[name], app[name]...)
		if len(w.Header()[name]) == 0 {
			w.Header().Del(name)
		}
	}
	l.clearCookies(w, r, credentials)
	if httpx.WantsJSON(r) {
		return web.WriteNoContent(w)
	}
	return web.Redirect(w, r, l.returnLocation(r))
}

// clearCookies takes out of the response what the app sets of the cookies that a
// logout ends, and ends them.
func (l *Handler) clearCookies(w http.ResponseWriter, r *http.Request, credentials []session.Credential) {
	web.DropSetCookies(w.Header(), func(line string) bool {
		return l.Site.IsOwnCookie(web.SetCookieName(line)) || l.SetsStripped(line)
	})
	if web.HasCookie(credentials) {
		l.Site.ClearSessionCookie(w, r)
	}
	l.cleanBrowser(w.Header(), r)
}

// returnLocation is where the browser goes.
func (l *Handler) returnLocation(r *http.Request) string {
	if l.returnURL != nil {
		location, _ := l.returnURL.Check("", l.Site.SiteOrigin(r)) // the default is never refused
		return location
	}
	location, err := l.Site.CheckReturnURL(r, httpx.OriginalURL(r).Query().Get("return_to"))
	if err == nil {
		return location
	}
	telemetry.Meters.RefuseReturnURL(err)
	return l.Site.DefaultLocation(r)
}

// endAll ends every live session of the credentials. All of them came from one
// client, that wants to be out; to end one only would leave the others to
// the attacker who tossed in a cookie. The error is that of the first which could not be
// ended, ErrPending if they were all noted, and ErrTooManyCookies if there
// are more than were looked at.
func (l *Handler) endAll(r *http.Request, credentials []session.Credential, trigger string) error {
	site := l.Site
	r, end := telemetry.StartLogout(r)
	defer end()
	ctx, cancel := manager.Detach(r.Context())
	defer cancel()
	by, pending := manager.TriggerOf(r, trigger), false
	var failure error
	for _, c := range credentials {
		ended, err := site.EndCredential(ctx, c, by)
		failure = errors.Join(failure, err)
		pending = pending || ended.Pending
		if ended.Repeated {
			site.Audit(r, telemetry.Entry{Event: telemetry.EventLogoutRepeated, Trigger: trigger, Outcome: telemetry.OutcomeRepeated, Session: site.Format.Key(c).Short()})
		}
	}
	switch {
	case failure != nil:
		return failure
	case pending:
		return manager.ErrPending
	case site.MissedCookies(r, credentials):
		return web.ErrTooManyCookies() // one that was not looked at may be live
	}
	return nil
}

// watchForLogout lets a request through and ends the session if the response
// says that the app has logged a person out.
func (l *Handler) watchForLogout(w http.ResponseWriter, r *http.Request, next nextHandler) error {
	seen := r.WithContext(r.Context())
	seen.Header = cloneHeader(r.Header) // before the gate takes our cookies out
	return next.ServeHTTP(httpx.HookResponse(w, func(w http.ResponseWriter, status int) bool {
		if httpx.Informational(status) || !slices.ContainsFunc(l.LogoutOn, func(on LogoutOn) bool {
			return on.matches(seen, status, w.Header())
		}) {
			return false
		}
		credentials := l.Site.Format.Locate(seen, nil)
		if len(credentials) == 0 && !l.hasStripped(seen) {
			return false // nobody was logged in
		}
		return l.endInResponse(w, seen, credentials, telemetry.ByResponse)
	}), r)
}

// endInResponse ends the sessions of a request before the app's response to it
// goes out. If that fails, the response is replaced: it would say that a
// person is out who is not.
func (l *Handler) endInResponse(w http.ResponseWriter, r *http.Request, credentials []session.Credential, trigger string) (answered bool) {
	h := w.Header()
	if err := l.endAll(r, credentials, trigger); err != nil {
		clear(h)
		if err := l.failLogout(w, r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: trigger}, err, true); err != nil {
			l.Site.Logger.Error("answering for a failed logout failed", zap.Error(err))
		}
		return true
	}
	l.clearCookies(w, r, credentials)
	h.Set("Cache-Control", "no-store")
	return false
}
