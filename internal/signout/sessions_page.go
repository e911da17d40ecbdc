package signout

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// SessionsPagePurpose keeps the token of the page's form from being taken for
// anything else that is ever computed under a credential.
const SessionsPagePurpose = "caddy-logout sessions page v1"

// MaxSessionsOnPage bounds the sessions that the page shows, the newest.
const MaxSessionsOnPage = 100

// What the form asks for in its field end, besides the id of a session.
const (
	EndOthers = "others"
	EndAll    = "all"
)

// ValidateSessionsPage checks the path of the page.
func ValidateSessionsPage(path string) error {
	if web.ValidatePrefix(path) != nil {
		return errors.New("want a path like /account/sessions, without a slash at its end")
	}
	return nil
}

// sessionsPage answers on the path of the page: GET shows the live sessions of
// the person who asks, POST ends those that were chosen and shows the rest.
func (l *Handler) sessionsPage(w http.ResponseWriter, r *http.Request) error {
	site, change := l.Site, r.Method == http.MethodPost
	switch {
	case !change && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return site.FailMethod(w, r, "GET, HEAD, POST")
	case change && httpx.EarlyData(r):
		return site.FailJSON(w, r, web.ErrTooEarly())
	case httpx.WantsJSON(r):
		return site.FailJSON(w, r, web.NewError(http.StatusNotAcceptable, "not_acceptable",
			"This address is a page for browsers. Scripts use "+site.Prefix+"/sessions instead.", "There is no JSON here"))
	}
	res, err := site.Authenticate(r)
	if err != nil {
		return site.Unavailable(w, r, err)
	}
	if res.Session == nil {
		site.ClearIfDead(w, r, res)
		if res.Missed {
			return site.FailPage(w, r, web.ErrTooManyCookies())
		}
		return site.Unauthorized(w, r)
	}
	if change {
		return l.endChosen(w, r, res)
	}
	return l.showSessions(w, r, res)
}

// endChosen does what a button of the page stands for. The browser is sent on
// with 303, so that to load the page again does nothing again.
func (l *Handler) endChosen(w http.ResponseWriter, r *http.Request, res *web.Auth) error {
	site, own := l.Site, res.Session
	r.Body = http.MaxBytesReader(w, r.Body, web.MaxBodyLength)
	if err := r.ParseForm(); err != nil {
		return site.FailPage(w, r, web.BodyError(err))
	}
	// The token alone is enough: no other site can know it. That the browser
	// says where the form was is a second lock, should the page ever leak.
	want := session.TokenFor(res.Credential, SessionsPagePurpose)
	if httpx.CrossSite(r, site.Base(r)) || subtle.ConstantTimeCompare([]byte(want), []byte(r.PostForm.Get("csrf_token"))) != 1 {
		refusal := web.ErrCSRF("This form is not of this page as you see it now. Please go back, load the page again, and try once more.")
		site.Audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByPage}.OfSession(own).Failed(refusal))
		return site.FailPage(w, r, refusal)
	}
	chosen := r.PostForm.Get("end")
	out := chosen == EndAll || chosen == own.ID
	if _, err := l.endMany(r, own, telemetry.ByPage, func(key session.Key) bool {
		return key != own.Key && (chosen == EndAll || chosen == EndOthers || key.ID() == chosen)
	}, out); err != nil {
		return site.Unavailable(w, r, err)
	}
	if !out {
		return web.Redirect(w, r, l.SessionsPage)
	}
	site.ClearIfOut(w, r)
	l.cleanBrowser(w.Header(), r)
	location, err := site.CheckReturnURL(r, "")
	if err != nil {
		return site.FailPage(w, r, web.ErrReturnURL("", err))
	}
	return web.Redirect(w, r, location)
}

// showSessions shows the page.
func (l *Handler) showSessions(w http.ResponseWriter, r *http.Request, res *web.Auth) error {
	site := l.Site
	sessions, err := site.SessionsOf(r.Context(), res.Session.Identity)
	if err != nil {
		return site.Unavailable(w, r, err)
	}
	data := pages.SessionsData{
		Action:    l.SessionsPage,
		CSRFToken: session.TokenFor(res.Credential, SessionsPagePurpose),
		Identity:  res.Session.Identity,
		Others:    len(sessions) > 1,
		More:      max(0, len(sessions)-MaxSessionsOnPage),
	}
	own := l.row(manager.Listed{Session: res.Session, LastUsed: site.Now()}, res.Session)
	data.Sessions = append(data.Sessions, own) // first, and also when it is an old one
	for _, s := range sessions {
		if s.Key != res.Session.Key && len(data.Sessions) < MaxSessionsOnPage {
			data.Sessions = append(data.Sessions, l.row(s, res.Session))
		}
	}
	web.Prepare(w.Header())
	return site.Pages.Sessions(w, r, data)
}

// row says in words what the page shows of a session.
func (l *Handler) row(s manager.Listed, own *session.Session) pages.SessionRow {
	browser, kind := BrowserName(l.Site.Pages, s.Device.UserAgent)
	row := pages.SessionRow{
		ID:        s.ID,
		Browser:   browser,
		Kind:      kind,
		Address:   s.Device.IPAddress,
		Current:   s.Key == own.Key,
		SignedIn:  agoInWords(l.Site.Pages, l.Site.Now().Sub(s.IssuedAt)),
		Timestamp: s.IssuedAt.UTC().Format(time.RFC3339),
	}
	if l.Site.IdleTimeout > 0 && !row.Current {
		row.LastUsed = agoInWords(l.Site.Pages, l.Site.Now().Sub(s.LastUsed))
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
