// This file holds what happens at the app's own logout: whose wish it is, then
// the app, then our session, then the cookies, then the answer.

package caddylogout

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// appLogout serves a request for the app's own logout.
func (l *Logout) appLogout(w http.ResponseWriter, r *http.Request, next nextHandler) error {
	a := l.app
	switch {
	case r.Method == http.MethodHead:
		// It must change nothing (RFC 9110, section 9.2.1), and apps answer it
		// as GET: so it does not get there.
		prepare(w.Header())
		w.WriteHeader(http.StatusOK)
		return nil
	case httpx.Speculative(r):
		return a.failJSON(w, r, errSpeculative())
	case !forPerson(r):
		refusal := errCSRF("This address signs people out, so it does not answer an image, a frame or any other part of a page.")
		a.audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp}.Failed(refusal))
		return a.failJSON(w, r, refusal)
	case httpx.EarlyData(r):
		return a.failJSON(w, r, errTooEarly())
	}
	confirmed := readConfirmation(r)
	credentials := a.Format.Locate(r, nil)
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

// fromApp reports whether the request is the wish of somebody on the app's own
// pages, or typed in. A GET of which nobody says where it comes from may be a
// link on any page.
func (l *Logout) fromApp(r *http.Request) bool {
	if r.Method == http.MethodGet && len(r.Header["Sec-Fetch-Site"])+len(r.Header["Origin"])+len(r.Header["Referer"]) == 0 {
		return false
	}
	return !httpx.CrossSite(r, l.app.siteOrigin(r))
}

// siteOrigin returns the origin of the site that the request came to. It is not
// base_url if that is another host, which other apps may share.
func (a *App) siteOrigin(r *http.Request) string {
	origin := httpx.RequestOrigin(r)
	if _, host, ok := strings.Cut(a.BaseURL, "://"); ok && strings.HasSuffix(origin, "://"+host) {
		return a.BaseURL
	}
	return origin
}

// askFirst answers somebody who may not want to be logged out at all: a page
// with one button, or, for JSON clients, the URL that does it.
func (l *Logout) askFirst(w http.ResponseWriter, r *http.Request) error {
	a := l.app
	res, err := a.authenticate(r)
	if err != nil {
		a.audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp}.Failed(err))
		return a.unavailable(w, r, err)
	}
	token := ""
	if res.session != nil {
		token = res.logoutToken()
	}
	if httpx.WantsJSON(r) {
		refusal := errCSRF("This request would sign somebody out, and it did not come from a page of this site.")
		refused := telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp}
		if res.session != nil {
			refused = refused.OfSession(res.session)
		}
		a.audit(r, refused.Failed(refusal))
		if token != "" {
			refusal.Details = map[string]any{"logout_url": a.logoutURL(r, token, "")}
		}
		return a.failJSON(w, r, refusal)
	}
	// The address is the cleaned one: a browser takes //logout for a host.
	target := url.URL{Path: httpx.OriginalPath(r), RawQuery: httpx.OriginalURL(r).RawQuery}
	prepare(w.Header())
	return a.pages.Confirm(w, r, pages.ConfirmData{
		Action: target.String(), Token: token, Method: r.Method, Home: a.homeURL(r),
	})
}

// finishAppLogout ends our session and answers; app is the header that the app
// has answered with, if it was asked.
func (l *Logout) finishAppLogout(w http.ResponseWriter, r *http.Request, credentials []session.Credential, app http.Header) error {
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
		return writeNoContent(w)
	}
	return redirect(w, r, l.returnLocation(r))
}

// clearCookies takes out of the response what the app sets of the cookies that a
// logout ends, and ends them.
func (l *Logout) clearCookies(w http.ResponseWriter, r *http.Request, credentials []session.Credential) {
	dropSetCookies(w.Header(), func(line string) bool {
		return l.app.isOwnCookie(setCookieName(line)) || l.setsStripped(line)
	})
	if hasCookie(credentials) {
		l.app.clearSessionCookie(w, r)
	}
	l.cleanBrowser(w.Header(), r)
}

// returnLocation is where the browser goes.
func (l *Logout) returnLocation(r *http.Request) string {
	if l.returnURL != nil {
		location, _ := l.returnURL.Check("", l.app.siteOrigin(r)) // the default is never refused
		return location
	}
	location, err := l.app.checkReturnURL(r, httpx.OriginalURL(r).Query().Get("return_to"))
	if err == nil {
		return location
	}
	telemetry.Meters.RefuseReturnURL(err)
	return l.app.defaultLocation(r)
}

// endAll ends every live session of the credentials. All of them came from one
// client, that wants to be out; to end one only would leave the others to whoever
// has tossed in a cookie. The error is that of the first which could not be
// ended, ErrPending if they were all noted, and errTooManyCookies if there
// are more than were looked at.
func (l *Logout) endAll(r *http.Request, credentials []session.Credential, trigger string) error {
	a := l.app
	r, end := telemetry.StartLogout(r)
	defer end()
	ctx, cancel := manager.Detach(r.Context())
	defer cancel()
	var failure error
	pending := false
	for _, c := range credentials {
		found, err := a.Lookup(ctx, c)
		if err == nil && found.Session != nil {
			_, err = a.Revoke(ctx, found.Session)
		}
		if err != nil {
			err = a.Postpone(r.Context(), c, manager.TriggerOf(r, trigger), err)
		}
		switch {
		case found.Pending || errors.Is(err, manager.ErrPending):
			pending = true
		case err != nil:
			failure = errors.Join(failure, err)
		case found.Session != nil:
			a.audit(r, telemetry.Entry{Event: telemetry.EventRevoked, Trigger: trigger, Outcome: telemetry.OutcomeRevoked}.OfSession(found.Session))
		case a.JustRevoked(found):
			a.audit(r, telemetry.Entry{Event: telemetry.EventLogoutRepeated, Trigger: trigger, Outcome: telemetry.OutcomeRepeated, Session: a.Format.Key(c).Short()})
		}
	}
	switch {
	case failure != nil:
		return failure
	case pending:
		return manager.ErrPending
	case a.missedCookies(r, credentials):
		return errTooManyCookies() // one that was not looked at may be live
	}
	return nil
}

// watchForLogout lets a request through and ends the session if the response
// says that the app has logged somebody out.
func (l *Logout) watchForLogout(w http.ResponseWriter, r *http.Request, next nextHandler) error {
	seen := r.WithContext(r.Context())
	seen.Header = cloneHeader(r.Header) // before the gate takes our cookies out
	return next.ServeHTTP(httpx.HookResponse(w, func(w http.ResponseWriter, status int) bool {
		if httpx.Informational(status) || !slices.ContainsFunc(l.LogoutOn, func(on LogoutOn) bool {
			return on.matches(seen, status, w.Header())
		}) {
			return false
		}
		credentials := l.app.Format.Locate(seen, nil)
		if len(credentials) == 0 && !l.hasStripped(seen) {
			return false // nobody was logged in
		}
		return l.endInResponse(w, seen, credentials, telemetry.ByResponse)
	}), r)
}

// endInResponse ends the sessions of a request before the app's response to it
// goes out. If that fails, the response is replaced: it would say that somebody
// is out who is not.
func (l *Logout) endInResponse(w http.ResponseWriter, r *http.Request, credentials []session.Credential, trigger string) (answered bool) {
	h := w.Header()
	if err := l.endAll(r, credentials, trigger); err != nil {
		clear(h)
		if err := l.failLogout(w, r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: trigger}, err, true); err != nil {
			l.app.logger.Error("answering for a failed logout failed", zap.Error(err))
		}
		return true
	}
	l.clearCookies(w, r, credentials)
	h.Set("Cache-Control", "no-store")
	return false
}
