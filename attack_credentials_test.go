package caddylogout

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// signInElsewhere makes a session as a login service does, under a credential of
// its own making.
func (a *testApp) signInElsewhere(t testing.TB, identity, credential string) session.Credential {
	t.Helper()
	c := session.NewCredential(credential, session.FromHeader)
	now := a.time()
	s := &session.Session{Identity: identity, IssuedAt: now, AuthenticatedAt: now, ExpiresAt: now.Add(time.Hour), Key: a.Format.Key(c), ID: a.Format.Key(c).ID()}
	value, err := a.Format.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	store, err := a.OpenStore()
	if err == nil {
		err = store.Create(t.Context(), s.Key, session.Entry{Identity: identity, Value: value, ExpiresAt: s.ExpiresAt})
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The app never gets the credential of a live session as a bearer token, whatever
// it looks like and whatever comes beside it; its own tokens it gets.
func TestAttackBearerOfASession(t *testing.T) {
	a := newTestApp(t, nil)
	mine, _ := a.signIn(t, "alice", "")
	odd := a.signInElsewhere(t, "alice", "0123456789abcdef")
	other := a.signInElsewhere(t, "bob", "fedcba9876543210")
	revoked := a.signInElsewhere(t, "bob", "revoked-elsewhere")
	if _, err := a.RevokeKeys(t.Context(), "bob", func(key session.Key) bool { return key == a.Format.Key(revoked) }); err != nil {
		t.Fatal(err)
	}
	pending := a.signInElsewhere(t, "bob", "pending-elsewhere")
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	storetest.NoError(t, j.Add(a.Format.Key(pending), a.now(), ""))
	tossed := "Cookie: " + web.DefaultCookieName + "=x0"
	for i := range session.MaxCredentials {
		tossed += fmt.Sprintf("; %s=x%d", web.DefaultCookieName, i+1)
	}
	beside := map[string][]string{
		"cookie":           {sessionCookieLine(mine)},
		"odd cookie":       {sessionCookieLine(odd)},
		"token":            {"X-Session-Token: " + mine.Secret()},
		"odd token":        {"X-Session-Token: " + odd.Secret()},
		"tossed cookies":   {tossed + "; " + web.DefaultCookieName + "=" + odd.Secret()},
		"many tokens":      append(slices.Repeat([]string{"X-Session-Token: a"}, 20), sessionCookieLine(mine)),
		"nothing":          nil,
		"cookies, no live": {tossed},
	}
	bearers := map[string]func(string) []string{
		"bearer":         func(v string) []string { return []string{"Authorization: Bearer " + v} },
		"lower case":     func(v string) []string { return []string{"Authorization: bearer " + v} },
		"spaces":         func(v string) []string { return []string{"Authorization:   Bearer    " + v + " "} },
		"tab":            func(v string) []string { return []string{"Authorization: Bearer\t" + v} },
		"two words":      func(v string) []string { return []string{"Authorization: Bearer " + v + " x"} },
		"second line":    func(v string) []string { return []string{"Authorization: Basic eA==", "Authorization: Bearer " + v} },
		"after another":  func(v string) []string { return []string{"Authorization: Bearer eyJ", "Authorization: Bearer " + v} },
		"joined":         func(v string) []string { return []string{"Authorization: Basic eA==, Bearer " + v} },
		"joined bearers": func(v string) []string { return []string{"Authorization: Bearer eyJ,Bearer " + v} },
		"after many": func(v string) []string {
			var lines []string
			for i := range 3 * session.MaxCredentials {
				lines = append(lines, fmt.Sprintf("Authorization: Bearer app%d", i))
			}
			return append(lines, "Authorization: Bearer "+v)
		},
	}
	tries, through := 0, 0
	for name, headers := range beside {
		for form, bearer := range bearers {
			for _, secret := range []string{mine.Secret(), odd.Secret(), other.Secret(), revoked.Secret(), pending.Secret()} {
				var p passed
				r := newRequest(t, http.MethodGet, "/", append(slices.Clone(headers), bearer(secret)...)...)
				serve(t, newGate(t, a, gate.Options{Optional: true}), r, p.next)
				tries++
				if p.header == nil {
					t.Errorf("%s beside %s: the optional gate refused", form, name)
				}
				if strings.Contains(fmt.Sprint(p.header), secret) {
					through++
					t.Errorf("%s beside %s: the app got %q", form, name, p.header["Authorization"])
				}
			}
		}
	}
	attacktest.Report(t, "credential of a session as a bearer token for the app", tries, through)

	// The app's own tokens arrive unchanged.
	for name, headers := range beside {
		for _, line := range []string{"Bearer eyJhbGciOiJub25lIn0.e30.", "Basic eA==", `Digest username="a", realm="b, c"`, "Bearer " + strings.Repeat("j", session.MaxCredentialLength+1)} {
			var p passed
			serve(t, newGate(t, a, gate.Options{Optional: true}), newRequest(t, http.MethodGet, "/", append(slices.Clone(headers), "Authorization: "+line)...), p.next)
			if !slices.Equal(p.header["Authorization"], []string{line}) {
				t.Errorf("%.30q beside %s: the app got %.60q", line, name, p.header["Authorization"])
			}
		}
	}
	off := false
	var p passed
	serve(t, newGate(t, a, gate.Options{StripCredentials: &off}), newRequest(t, http.MethodGet, "/", sessionCookieLine(mine), "Authorization: Bearer "+odd.Secret()), p.next)
	if !slices.Equal(p.header["Authorization"], []string{"Bearer " + odd.Secret()}) {
		t.Errorf("strip_credentials off: the app got %q", p.header["Authorization"])
	}
}

// The app does not get a bearer token that cannot be looked up, and no response says
// that the person is signed out. The gate looks few up, and each once.
func TestBearerLookUps(t *testing.T) {
	a := newTestApp(t, nil)
	mine, _ := a.signIn(t, "alice", "")
	counter := a.countReads(t)
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("Authorization: Bearer app%d", i))
	}
	for name, test := range map[string]struct {
		headers []string
		reads   int64
	}{
		"cookie alone":              {[]string{sessionCookieLine(mine)}, 1},
		"the same as a bearer":      {[]string{sessionCookieLine(mine), "Authorization: Bearer " + mine.Secret()}, 1},
		"a bearer of the app":       {[]string{sessionCookieLine(mine), "Authorization: Bearer eyJ"}, 2},
		"a bearer alone":            {[]string{"Authorization: Bearer eyJ"}, 1},
		"basic":                     {[]string{sessionCookieLine(mine), "Authorization: Basic eA=="}, 1},
		"a thousand beside a live":  {append([]string{sessionCookieLine(mine)}, many...), 1 + session.MaxCredentials},
		"a thousand and none alive": {many, 2 * session.MaxCredentials},
	} {
		counter.reads.Store(0)
		var p passed
		serve(t, newGate(t, a, gate.Options{Optional: true}), newRequest(t, http.MethodGet, "/", test.headers...), p.next)
		if reads := counter.reads.Load(); reads != test.reads {
			t.Errorf("%s: %d reads, want %d", name, reads, test.reads)
		}
	}

	res, err := a.Authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(mine)))
	storetest.NoError(t, err)
	defer a.takeStoreAway()()
	r := newRequest(t, http.MethodGet, "/", sessionCookieLine(mine), "Authorization: Bearer eyJ")
	web.Remember(r, res) // as the near cache would have it
	var p passed
	w := serve(t, newGate(t, a, gate.Options{}), r, p.next)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || p.header != nil || len(w.Header()["Set-Cookie"]) > 0 {
		t.Errorf("during an outage: %d %v, the app got %v", w.Code, w.Header(), p.header)
	}
	if !web.GateAnswered(r) {
		t.Error("an outage of the store is taken for an answer of the app")
	}
}

// A sibling host sets session cookies under other paths, so that ours is one of many.
// No response clears ours, or says that the person is signed out, while its session
// is live; if ours is the last, as browsers send it, the gate finds it.
func TestAttackTossedCookies(t *testing.T) {
	a := newTestApp(t, nil)
	mine, _ := a.signIn(t, "alice", "")
	counter := a.countReads(t)
	a.Site.KeptErrors.SetBurst(0) // shown, not kept
	logout := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}})
	logout.SessionsPage = "/account/sessions"
	type request struct{ method, path, accept string }
	requests := []request{
		{"GET", "/page", "text/html"},
		{"GET", "/page", "application/json"},
		{"GET", "/self-service/logout/browser", "application/json"},
		{"GET", "/self-service/logout/browser", "text/html"},
		{"GET", web.DonePath, "text/html"},
		{"GET", "/self-service/logout?token=ory_lo_x", "text/html"},
		{"GET", "/self-service/logout?token=ory_lo_x", "application/json"},
		{"GET", "/sessions/whoami", "application/json"},
		{"GET", "/sessions", "application/json"},
		{"DELETE", "/sessions?all=true", "application/json"},
		{"GET", "/account/sessions", "text/html"},
		{"POST", "/logout", "text/html"},
		{"POST", "/logout", "application/json"},
	}
	saysOut := func(code int, body string, h http.Header) bool {
		return code < 400 && code != http.StatusOK || strings.Contains(body, "session_inactive") || strings.Contains(body, "signed out") ||
			len(h["Set-Cookie"]) > 0 || h.Get("Clear-Site-Data") != ""
	}
	tries, through := 0, 0
	for _, count := range []int{2, 8, 9, 17, 100} {
		for _, at := range []int{0, count / 2, count - 1} {
			var pairs []string
			for i := range count {
				value := fmt.Sprintf("ory_st_tossed%d", i)
				if i == at {
					value = mine.Secret()
				}
				pairs = append(pairs, web.DefaultCookieName+"="+value)
			}
			cookies := "Cookie: " + strings.Join(pairs, "; ")
			for _, q := range requests {
				r := newRequest(t, q.method, "http://app.example"+q.path, cookies, "Accept: "+q.accept, "Sec-Fetch-Site: same-origin", "Origin: http://app.example")
				counter.reads.Store(0)
				var p passed
				gate := newGate(t, a, gate.Options{LoginURL: "/login"})
				w := serve(t, logout, r, func(w http.ResponseWriter, r *http.Request) error {
					return gate.ServeHTTP(w, r, caddyhttp.HandlerFunc(p.next))
				})
				tries++
				live := a.alive(t, mine)
				// The gate's redirect to sign in says nothing about a session.
				asked := q.path == "/page" && p.header == nil && len(w.Header()["Set-Cookie"]) == 0
				home := q.path == web.DonePath && w.Header().Get("Location") == "http://app.example/"
				if live && !asked && !home && saysOut(w.Code, w.Body.String(), w.Header()) {
					through++
					t.Errorf("%s %s (%s) with the live one at %d of %d: %d %v", q.method, q.path, q.accept, at, count, w.Code, w.Header())
				}
				if looked := at == 0 || at == count-1 || count <= session.MaxCredentials; looked && q.path == "/page" && p.header == nil {
					t.Errorf("the live one at %d of %d was not found", at, count)
				}
				if reads := counter.reads.Load(); reads > 4*session.MaxCredentials {
					t.Errorf("%s %s: %d reads", q.method, q.path, reads)
				}
				if !live {
					mine, _ = a.signIn(t, "alice", "")
					pairs[at] = web.DefaultCookieName + "=" + mine.Secret()
					cookies = "Cookie: " + strings.Join(pairs, "; ")
				}
			}
		}
	}
	attacktest.Report(t, "session cookies tossed in beside a live one", tries, through)

	// If all were checked and none is live, the response clears it as before.
	w := serve(t, logout, newRequest(t, "GET", "/self-service/logout/browser", "Cookie: "+web.DefaultCookieName+"=a; "+web.DefaultCookieName+"=b", "Accept: application/json"), nil)
	if w.Code != http.StatusUnauthorized || !strings.Contains(fmt.Sprint(w.Header()["Set-Cookie"]), web.DefaultCookieName+"=;") {
		t.Errorf("dead cookies: %d %v", w.Code, w.Header())
	}
}

// A logout of one of two live sessions leaves the cookie to the other, also while
// it is pending: a host beside ours may know the token of its own session.
func TestAttackLogoutOfATossedSession(t *testing.T) {
	tries, through := 0, 0
	for _, away := range []bool{false, true} {
		for _, path := range []string{"/self-service/logout?token=%s", "/self-service/logout/api"} {
			a := newTestApp(t, nil)
			j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
			defer closeJournal(t, j)
			mine, _ := a.signIn(t, "alice", "")
			tossed, _ := a.signIn(t, "mallory", "")
			r := newRequest(t, http.MethodGet, fmt.Sprintf("/self-service/logout?token=%s", session.LogoutToken(tossed)), sessionCookieLine(tossed)+"; "+web.DefaultCookieName+"="+mine.Secret(), "Accept: text/html")
			if strings.HasSuffix(path, "api") {
				r = newRequest(t, http.MethodDelete, path, sessionCookieLine(mine), "X-Session-Token: "+tossed.Secret())
			}
			bringBack := func() {}
			if away {
				bringBack = a.takeStoreAway()
			}
			w := serve(t, &signout.Handler{Site: a.Site}, r, nil)
			bringBack()
			tries++
			if len(w.Header()["Set-Cookie"]) > 0 {
				through++
				t.Errorf("%s, away %v: %d %v", path, away, w.Code, w.Header())
			}
			if !a.alive(t, mine) {
				t.Errorf("%s, away %v: my session ended", path, away)
			}
		}
	}
	attacktest.Report(t, "logout of a session that was tossed in", tries, through)
}
