package signout

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// identityHeader names the person in the answer of whoami, as the original does.
const identityHeader = "X-Kratos-Authenticated-Identity-Id"

// whoami answers any method with the session of the request, as the original
// does: gates in front of other apps ask with the method they were asked with.
func (l *Handler) whoami(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	res, err := site.Authenticate(r)
	if err != nil {
		return site.FailJSON(w, r, err)
	}
	if res.Session == nil {
		site.ClearIfDead(w, r, res)
		return site.FailJSON(w, r, res.Inactive(web.NewError(http.StatusUnauthorized, "session_inactive",
			"No valid session credentials found in the request.", web.MsgUnauthorized)))
	}
	w.Header().Set(identityHeader, url.PathEscape(res.Session.Identity))
	return web.WriteJSON(w, http.StatusOK, web.SessionJSON(res.Session, site.Base(r)))
}

// caller returns the session that asks for the list of sessions. A nil result
// and a nil error say that the response is written.
func (l *Handler) caller(w http.ResponseWriter, r *http.Request) (*web.Auth, error) {
	site := l.Site
	if r.Method == http.MethodDelete && httpx.EarlyData(r) {
		return nil, site.FailJSON(w, r, web.ErrTooEarly())
	}
	res, err := site.Authenticate(r)
	if err != nil {
		return nil, site.FailJSON(w, r, err)
	}
	if res.Session == nil {
		site.ClearIfDead(w, r, res)
		return nil, site.FailJSON(w, r, res.Inactive(web.NewError(http.StatusUnauthorized, "session_inactive",
			"No valid session cookie found.", web.MsgUnauthorized)))
	}
	// A cookie is sent along by any page that makes the browser ask; a token
	// is not. So a change by cookie has to come from a page of this host.
	if r.Method == http.MethodDelete && res.Credential.From == session.FromCookie && httpx.CrossSite(r, site.Base(r)) {
		refusal := web.ErrCSRF("This request changes something and came from a page of another site.")
		site.Audit(r, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.BySessions}.OfSession(res.Session).Failed(refusal))
		return nil, site.FailJSON(w, r, refusal)
	}
	return res, nil
}

// sessions answers GET and DELETE /sessions.
func (l *Handler) sessions(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return l.listSessions(w, r)
	case http.MethodDelete:
		return l.endSessions(w, r)
	default:
		return l.Site.FailMethod(w, r, "DELETE, GET, HEAD")
	}
}

// listSessions lists the caller's other live sessions, newest first; with
// ?all=true the caller's own too, marked.
func (l *Handler) listSessions(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	res, err := l.caller(w, r)
	if res == nil || err != nil {
		return err
	}
	page, err := parsePage(r.URL.Query())
	if err != nil {
		return site.FailJSON(w, r, err)
	}
	all := r.URL.Query().Get("all") == "true"
	sessions, err := site.SessionsOf(r.Context(), res.Session.Identity)
	if err != nil {
		return site.FailJSON(w, r, err)
	}
	base, list := site.Base(r), make([]web.Session, 0, len(sessions))
	for _, s := range sessions {
		current := s.Key == res.Session.Key
		if current && !all {
			continue
		}
		wire := web.SessionJSON(s.Session, base)
		wire.Current = current
		list = append(list, wire)
	}
	page.writeHeaders(w.Header(), base+site.Prefix+"/sessions", all, len(list))
	start := min(page.offset, len(list))
	return web.WriteJSON(w, http.StatusOK, list[start:min(start+page.size, len(list))])
}

// endSessions ends the caller's other sessions and says how many really ended;
// with ?all=true the caller's own too, and last, so that a failure on the way
// can be tried again.
func (l *Handler) endSessions(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	res, err := l.caller(w, r)
	if res == nil || err != nil {
		return err
	}
	all := r.URL.Query().Get("all") == "true"
	own := res.Session
	count, err := l.endMany(r, own, telemetry.BySessions, func(key session.Key) bool { return key != own.Key }, all)
	if err != nil {
		return site.FailJSON(w, r, err)
	}
	if all && res.Credential.From == session.FromCookie {
		site.ClearIfOut(w, r)
		l.cleanBrowser(w.Header(), r)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]int{"count": count})
}

// endMany ends the sessions of a person that are picked, and the own one if that
// is wanted, and returns how many really ended. The own session is the last, so
// that a failure on the way can be tried again.
func (l *Handler) endMany(r *http.Request, own *session.Session, trigger string, pick func(session.Key) bool, ownToo bool) (int, error) {
	site := l.Site
	r, end := telemetry.StartLogout(r)
	defer end()
	e := telemetry.Entry{Event: telemetry.EventManyRevoked, Trigger: trigger, Outcome: telemetry.OutcomeRevoked}.OfSession(own)
	count, err := site.RevokeKeys(r.Context(), own.Identity, func(key session.Key) bool {
		picked := pick(key)
		if picked {
			e = e.And(key)
		}
		return picked
	})
	if err == nil && ownToo {
		var ended bool
		if ended, err = site.Revoke(r.Context(), own); ended {
			count++
			e = e.And(own.Key)
		}
	}
	if err != nil {
		e = e.Failed(err)
	}
	e.Count = count
	site.Audit(r, e)
	return count, err
}

// session answers DELETE /sessions/{id}: it ends one other session of the
// caller. An id that is unknown, or another person's, changes nothing and is
// answered the same.
func (l *Handler) session(w http.ResponseWriter, r *http.Request) error {
	site, id := l.Site, path.Base(web.OwnPath(r, l.Site.Prefix))
	if r.Method != http.MethodDelete {
		return site.FailMethod(w, r, http.MethodDelete)
	}
	res, err := l.caller(w, r)
	if res == nil || err != nil {
		return err
	}
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return site.FailJSON(w, r, web.NewError(http.StatusBadRequest, "session_id_invalid", "The session id is not a UUID.", web.MsgBadRequest))
	}
	id = strings.ToLower(id)
	if id == res.Session.ID {
		return site.FailJSON(w, r, web.NewError(http.StatusBadRequest, "session_is_current",
			"To end the session that asks, use the logout flow instead.", "cannot revoke current session"))
	}
	r, end := telemetry.StartLogout(r)
	defer end()
	e := telemetry.Entry{Event: telemetry.EventRevoked, Trigger: telemetry.BySessions, Outcome: telemetry.OutcomeRevoked, Session: id[:8], Identity: res.Session.Identity}
	count, err := site.RevokeKeys(r.Context(), res.Session.Identity, func(key session.Key) bool { return key.ID() == id })
	if err != nil {
		e.Event = telemetry.EventLogoutRefused
		site.Audit(r, e.Failed(err))
		return site.FailJSON(w, r, err)
	}
	if count > 0 {
		site.Audit(r, e)
	}
	web.Prepare(w.Header())
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Limits of a page of the list, in sessions.
const (
	DefaultPageSize = 250
	MaxPageSize     = 1000
)

// page is one page of a list.
type page struct{ offset, size int }

// pageToken is what the page_token parameter holds, in base64url.
type pageToken struct {
	Offset  string `json:"offset"`
	Version int    `json:"v"`
}

// parsePage reads page_size and page_token, or the older per_page and page.
func parsePage(query url.Values) (page, error) {
	p := page{size: DefaultPageSize}
	number := func(name string, least, most int) (int, bool, error) {
		raw := query.Get(name)
		if raw == "" {
			return 0, false, nil
		}
		n, err := strconv.Atoi(raw)
		if err != nil || n < least {
			return 0, false, web.NewError(http.StatusBadRequest, "page_invalid",
				fmt.Sprintf("The query parameter %s must be a number from %d to %d.", name, least, most), web.MsgBadRequest)
		}
		return min(n, most), true, nil
	}
	for _, name := range []string{"per_page", "page_size"} {
		n, ok, err := number(name, 1, MaxPageSize)
		if err != nil {
			return p, err
		}
		if ok {
			p.size = n
		}
	}
	if raw := query.Get("page_token"); raw != "" {
		var token pageToken
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(raw, "="))
		if err == nil {
			err = json.Unmarshal(data, &token)
		}
		if err == nil {
			p.offset, err = strconv.Atoi(token.Offset)
		}
		if err != nil || p.offset < 0 {
			return p, web.NewError(http.StatusBadRequest, "page_invalid", "The query parameter page_token is not one of ours.", web.MsgBadRequest)
		}
		return p, nil
	}
	const lastPage = 1 << 20
	n, _, err := number("page", 0, lastPage)
	p.offset = n * p.size
	return p, err
}

// writeHeaders sets the total and the links to the other pages (RFC 8288).
func (p page) writeHeaders(h http.Header, address string, all bool, total int) {
	link := func(rel string, offset int) string {
		token, _ := json.Marshal(pageToken{Offset: strconv.Itoa(offset), Version: 2})
		query := url.Values{
			"page_size":  {strconv.Itoa(p.size)},
			"page_token": {base64.RawURLEncoding.EncodeToString(token)},
			"per_page":   {strconv.Itoa(p.size)},
			"page":       {strconv.Itoa(offset / p.size)},
		}
		if all {
			query.Set("all", "true")
		}
		return "<" + address + "?" + query.Encode() + `>; rel="` + rel + `"`
	}
	links := []string{link("first", 0)}
	if p.offset+p.size < total {
		links = append(links, link("next", p.offset+p.size))
	}
	if p.offset > 0 {
		links = append(links, link("prev", max(0, p.offset-p.size)))
	}
	links = append(links, link("last", max(0, total-1)/p.size*p.size))
	h.Set("X-Total-Count", strconv.Itoa(total))
	h.Set("Link", strings.Join(links, ","))
}
