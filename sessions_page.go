// This file serves the page on which people see where they are signed in, and
// sign out there.

package caddylogout

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// sessionsPagePurpose keeps the token of the page's form from being taken for
// anything else that is ever computed under a credential.
const sessionsPagePurpose = "caddy-logout sessions page v1"

// maxSessionsOnPage bounds the sessions that the page shows, the newest.
const maxSessionsOnPage = 100

// What the form asks for in its field end, besides the id of a session.
const (
	endOthers = "others"
	endAll    = "all"
)

// validateSessionsPage checks the path of the page.
func validateSessionsPage(path string) error {
	if validatePrefix(path) != nil {
		return errors.New("want a path like /account/sessions, without a slash at its end")
	}
	return nil
}

// sessionsPage answers on the path of the page: GET shows the live sessions of
// the person who asks, POST ends those that were chosen and shows the rest.
func (l *Logout) sessionsPage(w http.ResponseWriter, r *http.Request) error {
	a, change := l.app, r.Method == http.MethodPost
	switch {
	case !change && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return a.failMethod(w, r, "GET, HEAD, POST")
	case change && httpx.EarlyData(r):
		return a.failJSON(w, r, errTooEarly())
	case httpx.WantsJSON(r):
		return a.failJSON(w, r, newError(http.StatusNotAcceptable, "not_acceptable",
			"This address is a page for browsers. Scripts use "+a.Prefix+"/sessions instead.", "There is no JSON here"))
	}
	res, err := a.authenticate(r)
	if err != nil {
		return a.unavailable(w, r, err)
	}
	if res.session == nil {
		a.clearIfDead(w, r, res)
		if res.missed {
			return a.failPage(w, r, errTooManyCookies())
		}
		return a.unauthorized(w, r)
	}
	if change {
		return l.endChosen(w, r, res)
	}
	return l.showSessions(w, r, res)
}

// unauthorized answers whoever is not signed in.
func (a *App) unauthorized(w http.ResponseWriter, r *http.Request) error {
	if httpx.WantsJSON(r) || !isNavigation(r) {
		return a.failJSON(w, r, errSessionInactive())
	}
	prepare(w.Header())
	errorHeaders(w.Header(), errSessionInactive())
	return a.pages.Unauthorized(w, r, pages.UnauthorizedData{})
}

// endChosen does what a button of the page stands for. The browser is sent on
// with 303, so that to load the page again does nothing again.
func (l *Logout) endChosen(w http.ResponseWriter, r *http.Request, res *authResult) error {
	a, own := l.app, res.session
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyLength)
	if err := r.ParseForm(); err != nil {
		return a.failPage(w, r, bodyError(err))
	}
	// The token alone is enough: no other site can know it. That the browser
	// says where the form was is a second lock, should the page ever leak.
	want := session.TokenFor(res.credential, sessionsPagePurpose)
	if httpx.CrossSite(r, a.baseURL(r)) || subtle.ConstantTimeCompare([]byte(want), []byte(r.PostForm.Get("csrf_token"))) != 1 {
		refusal := errCSRF("This form is not of this page as you see it now. Please go back, load the page again, and try once more.")
		a.audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByPage}.OfSession(own).Failed(refusal))
		return a.failPage(w, r, refusal)
	}
	chosen := r.PostForm.Get("end")
	out := chosen == endAll || chosen == own.ID
	if _, err := l.endMany(r, own, telemetry.ByPage, func(key session.Key) bool {
		return key != own.Key && (chosen == endAll || chosen == endOthers || key.ID() == chosen)
	}, out); err != nil {
		return a.unavailable(w, r, err)
	}
	if !out {
		return redirect(w, r, l.SessionsPage)
	}
	a.clearIfOut(w, r)
	l.cleanBrowser(w.Header(), r)
	location, err := a.checkReturnURL(r, "")
	if err != nil {
		return a.failPage(w, r, errReturnURL("", err))
	}
	return redirect(w, r, location)
}

// showSessions shows the page.
func (l *Logout) showSessions(w http.ResponseWriter, r *http.Request, res *authResult) error {
	a := l.app
	sessions, err := a.SessionsOf(r.Context(), res.session.Identity)
	if err != nil {
		return a.unavailable(w, r, err)
	}
	data := pages.SessionsData{
		Action:    l.SessionsPage,
		CSRFToken: session.TokenFor(res.credential, sessionsPagePurpose),
		Identity:  res.session.Identity,
		Others:    len(sessions) > 1,
		More:      max(0, len(sessions)-maxSessionsOnPage),
	}
	own := a.row(manager.Listed{Session: res.session, LastUsed: a.now()}, res.session)
	data.Sessions = append(data.Sessions, own) // first, and also when it is an old one
	for _, s := range sessions {
		if s.Key != res.session.Key && len(data.Sessions) < maxSessionsOnPage {
			data.Sessions = append(data.Sessions, a.row(s, res.session))
		}
	}
	prepare(w.Header())
	return a.pages.Sessions(w, r, data)
}

// row says in words what the page shows of a session.
func (a *App) row(s manager.Listed, own *session.Session) pages.SessionRow {
	browser, kind := browserName(a.pages, s.Device.UserAgent)
	row := pages.SessionRow{
		ID:        s.ID,
		Browser:   browser,
		Kind:      kind,
		Address:   s.Device.IPAddress,
		Current:   s.Key == own.Key,
		SignedIn:  agoInWords(a.pages, a.now().Sub(s.IssuedAt)),
		Timestamp: s.IssuedAt.UTC().Format(time.RFC3339),
	}
	if a.IdleTimeout > 0 && !row.Current {
		row.LastUsed = agoInWords(a.pages, a.now().Sub(s.LastUsed))
	}
	return row
}

// agoInWords says how long ago something was. It needs no time zone, which a
// page without JavaScript cannot know.
func agoInWords(texts *pages.Set, d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return texts.Text("time.now")
	case d < time.Hour:
		return ago(texts, int(d/time.Minute), "minute")
	case d < day:
		return ago(texts, int(d/time.Hour), "hour")
	default:
		return ago(texts, int(d/day), "day")
	}
}

func ago(texts *pages.Set, n int, unit string) string {
	if n == 1 {
		return texts.Text("time." + unit + "_ago")
	}
	return texts.Text("time."+unit+"s_ago", n)
}
