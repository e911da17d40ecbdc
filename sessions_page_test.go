package caddylogout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// pageRequest is what a browser sends for the page of its sessions; with a form,
// what a button of the page sends.
func pageRequest(t *testing.T, c session.Credential, form url.Values, headers ...string) *http.Request {
	t.Helper()
	headers = append([]string{"Accept: text/html", "Sec-Fetch-Mode: navigate", sessionCookieLine(c)}, headers...)
	if form == nil {
		return newRequest(t, http.MethodGet, siteURL+"/account/sessions", headers...)
	}
	r := newRequest(t, http.MethodPost, siteURL+"/account/sessions",
		append(headers, "Content-Type: application/x-www-form-urlencoded")...)
	body := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode())).Body
	r.Body = body
	return r
}

func pageHandler(a *testApp) *signout.Handler {
	return &signout.Handler{Site: a.Site, Options: signout.Options{SessionsPage: "/account/sessions"}}
}

func pageForm(c session.Credential, end string) url.Values {
	return url.Values{"csrf_token": {session.TokenFor(c, signout.SessionsPagePurpose)}, "end": {end}}
}

func TestSessionsPageLists(t *testing.T) {
	a := newTestApp(t, idleAfter(2*time.Hour))
	device := func(ip, agent string) manager.NewSession {
		return manager.NewSession{Identity: "alice", Method: "password", Device: session.Device{IPAddress: ip, UserAgent: agent}}
	}
	phone, _, err := a.Issue(t.Context(), device("203.0.113.7", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"))
	storetest.NoError(t, err)
	a.advance(50 * time.Minute)
	own, _, err := a.Issue(t.Context(), device("198.51.100.9", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"))
	storetest.NoError(t, err)
	a.signIn(t, "bob", "")
	a.advance(10 * time.Minute)

	w := serve(t, pageHandler(a), pageRequest(t, own, nil), nil)
	if w.Code != http.StatusOK {
		t.Fatalf("got %d %q", w.Code, w.Body)
	}
	rows := strings.Split(w.Body.String(), "<li>")[1:]
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2: %s", len(rows), w.Body)
	}
	for i, wants := range [][]string{
		{"Firefox on Linux", "This device", "198.51.100.9", "signed in 10 minutes ago</time>", session.KeyOf(own.Secret()).ID()},
		{"Safari on iPhone", "203.0.113.7", ">signed in 1 hour ago<", "last used 1 hour ago", session.KeyOf(phone.Secret()).ID()},
	} {
		for _, want := range wants {
			if !strings.Contains(rows[i], want) {
				t.Errorf("row %d lacks %q: %s", i, want, rows[i])
			}
		}
	}
	if strings.Contains(rows[1], "This device") {
		t.Error("another device is marked as this one")
	}
	for _, secret := range []string{own.Secret(), phone.Secret(), session.LogoutToken(own), session.KeyOf(own.Secret()).String()} {
		if strings.Contains(w.Body.String(), secret) {
			t.Error("the page holds a secret")
		}
	}
	if !strings.Contains(w.Header().Get("Cache-Control"), "no-store") || !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("headers %q", w.Header())
	}
	// Listing a session does not count as using it: the phone's ends when it is idle.
	a.advance(time.Hour)
	if a.alive(t, phone) {
		t.Error("the list kept an idle session alive")
	}
}

func TestSessionsPageEnds(t *testing.T) {
	tests := map[string]struct {
		end               func(own, other session.Credential) string
		own, other, third bool // live afterwards
		location          string
	}{
		"another":    {func(_, other session.Credential) string { return session.KeyOf(other.Secret()).ID() }, true, false, true, "/account/sessions"},
		"this":       {func(own, _ session.Credential) string { return session.KeyOf(own.Secret()).ID() }, false, true, true, siteURL + "/"},
		"others":     {func(_, _ session.Credential) string { return signout.EndOthers }, true, false, false, "/account/sessions"},
		"everywhere": {func(_, _ session.Credential) string { return signout.EndAll }, false, false, false, siteURL + "/"},
		"nothing":    {func(_, _ session.Credential) string { return "" }, true, true, true, "/account/sessions"},
		"unknown":    {func(_, _ session.Credential) string { return session.KeyOf("nobody").ID() }, true, true, true, "/account/sessions"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			own, _ := a.signIn(t, "alice", "")
			other, _ := a.signIn(t, "alice", "")
			third, _ := a.signIn(t, "alice", "")
			bob, _ := a.signIn(t, "bob", "")
			w := serve(t, pageHandler(a), pageRequest(t, own, pageForm(own, test.end(own, other)), "Sec-Fetch-Site: same-origin"), nil)
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != test.location {
				t.Fatalf("got %d %q", w.Code, w.Header().Get("Location"))
			}
			for who, c := range map[string]struct {
				c    session.Credential
				want bool
			}{"own": {own, test.own}, "other": {other, test.other}, "third": {third, test.third}, "bob's": {bob, true}} {
				if got := a.alive(t, c.c); got != c.want {
					t.Errorf("%s session is live: %v, want %v", who, got, c.want)
				}
			}
			if cleared := w.Header()["Set-Cookie"] != nil; cleared == test.own {
				t.Errorf("cookie cleared: %v", cleared)
			}
		})
	}
}

func TestSessionsPageRefuses(t *testing.T) {
	good := func(own, _ session.Credential) url.Values { return pageForm(own, signout.EndAll) }
	tests := map[string]struct {
		form    func(own, bob session.Credential) url.Values
		headers []string
		status  int
	}{
		"no token":         {func(_, _ session.Credential) url.Values { return url.Values{"end": {signout.EndAll}} }, nil, http.StatusForbidden},
		"token of another": {func(_, bob session.Credential) url.Values { return pageForm(bob, signout.EndAll) }, nil, http.StatusForbidden},
		"the logout token": {func(own, _ session.Credential) url.Values {
			return url.Values{"csrf_token": {session.LogoutToken(own)}, "end": {signout.EndAll}}
		}, nil, http.StatusForbidden},
		"from another site":   {good, []string{"Sec-Fetch-Site: cross-site"}, http.StatusForbidden},
		"from a sibling":      {good, []string{"Sec-Fetch-Site: same-site"}, http.StatusForbidden},
		"from another origin": {good, []string{"Origin: http://evil.example"}, http.StatusForbidden},
		"in early data":       {good, []string{"Early-Data: 1"}, http.StatusTooEarly},
		"by a script":         {good, []string{"Accept: application/json"}, http.StatusNotAcceptable},
		"a body beyond the bound": {func(own, _ session.Credential) url.Values {
			form := pageForm(own, signout.EndAll)
			form.Set("x", strings.Repeat("x", web.MaxBodyLength))
			return form
		}, nil, http.StatusRequestEntityTooLarge},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			own, _ := a.signIn(t, "alice", "")
			other, _ := a.signIn(t, "alice", "")
			bob, _ := a.signIn(t, "bob", "")
			r := pageRequest(t, own, test.form(own, bob), test.headers...)
			if test.status == http.StatusNotAcceptable {
				r.Header.Set("Accept", "application/json")
			}
			w := serve(t, pageHandler(a), r, nil)
			if w.Code != test.status {
				t.Errorf("got %d %q", w.Code, w.Body)
			}
			if !a.alive(t, own) || !a.alive(t, other) || !a.alive(t, bob) {
				t.Error("a session was ended")
			}
		})
	}
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	stranger := session.NewCredential("garbage", session.FromHeader)
	if w := serve(t, pageHandler(a), pageRequest(t, stranger, nil), nil); w.Code != http.StatusUnauthorized || w.Header()["Set-Cookie"] == nil {
		t.Errorf("a stranger: got %d", w.Code)
	}
	r := pageRequest(t, c, nil)
	r.Method = http.MethodDelete
	if w := serve(t, pageHandler(a), r, nil); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("DELETE: got %d %q", w.Code, w.Header().Get("Allow"))
	}
	if w := serve(t, &signout.Handler{Site: a.Site}, pageRequest(t, c, nil), nil); w.Code != http.StatusTeapot {
		t.Errorf("without the option: got %d, want the app's answer", w.Code)
	}
	for _, path := range []string{"/account/sessions/", "/account/Sessions", "/account/sessions/x", "/x/account/sessions"} {
		if w := serve(t, pageHandler(a), newRequest(t, http.MethodGet, siteURL+path, sessionCookieLine(c)), nil); w.Code != http.StatusTeapot {
			t.Errorf("%s: got %d, want the app's answer", path, w.Code)
		}
	}
	bringBack := a.takeStoreAway()
	defer bringBack()
	for _, form := range []url.Values{nil, pageForm(c, signout.EndAll)} {
		w := serve(t, pageHandler(a), pageRequest(t, c, form), nil)
		if w.Code != http.StatusServiceUnavailable || w.Header()["Set-Cookie"] != nil {
			t.Errorf("store away: got %d %q", w.Code, w.Header())
		}
	}
}

func TestSessionsPageOption(t *testing.T) {
	for path, ok := range map[string]bool{
		"": true, "/account/sessions": true, "/s": true,
		"account": false, "/": false, "/a/": false, "/a//b": false, "/a*": false, "/a?b": false, "/a%2fb": false,
	} {
		if err := (&signout.Options{SessionsPage: path}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// A session that is between the index and the store when "everywhere" runs never
// comes to life. The hook stops the store exactly there.
func TestEverywhereEndsWhatIsBeingCreated(t *testing.T) {
	a := newTestApp(t, nil)
	store := openRedis(t, RedisStore{Address: redistest.Start(t).Addr()}, a.time)
	defer store.Close()
	a.reopen(func(o *manager.Opened) { o.Store = store })
	ended := -1
	store.AddHook(redistest.BeforeSet(func() {
		var err error
		ended, err = a.RevokeKeys(t.Context(), "alice", func(session.Key) bool { return true })
		storetest.NoError(t, err)
	}))
	_, _, err := a.IssueOnce(t.Context(), &manager.NewSession{Identity: "alice", Method: "password", Lifespan: time.Hour})
	if !errors.Is(err, session.ErrExists) {
		t.Errorf("the sign-in got %v, want ErrExists", err)
	}
	if ended != 0 {
		t.Errorf("%d sessions ended, want 0: none was there yet", ended)
	}
	if sessions, err := a.SessionsOf(t.Context(), "alice"); err != nil || len(sessions) != 0 {
		t.Errorf("%d sessions are live (%v)", len(sessions), err)
	}
}

// meanwhileStore signs a person in as soon as the sessions are revoked: after
// "everywhere" has read the index.
type meanwhileStore struct {
	session.Store
	run func()
}

func (m *meanwhileStore) RevokeAll(ctx context.Context, identity string, keys []session.IndexedKey, at, until time.Time) (int, error) {
	if run := m.run; run != nil {
		m.run = nil
		run()
	}
	return m.Store.RevokeAll(ctx, identity, keys, at, until)
}

// A session that is created while "everywhere" is at work ends with the others.
func TestEverywhereEndsWhatWasCreatedMeanwhile(t *testing.T) {
	a := newTestApp(t, nil)
	own, _ := a.signIn(t, "alice", "")
	inner, err := a.OpenStore()
	storetest.NoError(t, err)
	var late session.Credential
	store := &meanwhileStore{Store: inner}
	store.run = func() { late, _ = a.signIn(t, "alice", "") }
	a.reopen(func(o *manager.Opened) { o.Store = store })
	count, err := a.RevokeKeys(t.Context(), "alice", func(session.Key) bool { return true })
	if err != nil || count != 2 {
		t.Errorf("count %d, %v; want 2", count, err)
	}
	if late.Secret() == "" || a.alive(t, late) || a.alive(t, own) {
		t.Error("a session slipped through")
	}
}

// The page shows a bounded number, and ends those that it does not show.
func TestSessionsPageIsBounded(t *testing.T) {
	a := newTestApp(t, func(a *App) { a.Lifespan, a.MaxSessions = caddy.Duration(time.Hour), new(0) })
	own, _ := a.signIn(t, "alice", "")
	a.advance(time.Second)
	for range signout.MaxSessionsOnPage + 2 {
		a.signIn(t, "alice", "")
	}
	w := serve(t, pageHandler(a), pageRequest(t, own, nil), nil)
	rows := regexp.MustCompile(`<li>`).FindAllString(w.Body.String(), -1)
	if len(rows) != signout.MaxSessionsOnPage || !strings.Contains(w.Body.String(), "And 3 more.") || !strings.Contains(w.Body.String(), "This device") {
		t.Errorf("%d rows", len(rows))
	}
	serve(t, pageHandler(a), pageRequest(t, own, pageForm(own, signout.EndOthers)), nil)
	if left, err := a.SessionsOf(t.Context(), "alice"); err != nil || len(left) != 1 {
		t.Errorf("%d left (%v)", len(left), err)
	}
}
