package caddylogout

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// The same logout in a second tab, without the cookie, gets the first response again,
// for ten minutes, on every server.
func TestSecondTab(t *testing.T) {
	t.Parallel()
	onEachStore(t, 2, nil, func(t *testing.T, apps []*testApp) {
		one, other := apps[0], apps[len(apps)-1]
		c, _ := one.signIn(t, "alice", "")
		core, logs := observer.New(zap.InfoLevel)
		other.logTo(zap.New(core))
		follow := func(a *testApp, headers ...string) *httptest.ResponseRecorder {
			return serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(c, "&return_to=%2Fbye"), headers...), nil)
		}
		if w := follow(one); w.Code == http.StatusSeeOther && w.Header().Get("Location") == "http://app.example/bye" {
			t.Fatal("a session that lives was said to have ended")
		}
		if w := follow(one, sessionCookieLine(c), "Accept: text/html"); w.Code != http.StatusSeeOther || one.alive(t, c) {
			t.Fatalf("first tab: %d", w.Code)
		}
		for _, pause := range []time.Duration{0, time.Second, manager.ReplayWindow - 2*time.Second} {
			other.advance(pause)
			w := follow(other, "Accept: text/html")
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "http://app.example/bye" || w.Header()["Set-Cookie"] != nil {
				t.Errorf("second tab: %d %q", w.Code, w.Header())
			}
			if w := follow(other, "Accept: application/json"); w.Code != http.StatusNoContent {
				t.Errorf("second tab, a script: %d", w.Code)
			}
		}
		if repeated := logs.FilterField(zap.String("event", telemetry.EventLogoutRepeated)); repeated.Len() != 6 {
			t.Errorf("%d of 6 in the audit log", repeated.Len())
		}
		other.advance(time.Second)
		if w := follow(other, "Accept: application/json"); w.Code != http.StatusUnauthorized {
			t.Errorf("after ten minutes: %d", w.Code)
		}
	})
}

// Whatever a stranger makes of a token ends no session, calls none ended that
// lives, keeps none alive, has no cookie cleared that is live and none of the
// app's, and costs one look-up at most.
func TestAttackLogoutTokens(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(a *App) { a.IdleTimeout = caddy.Duration(time.Hour) })
	signOut := newLogout(t, a, signout.AppLogout{StripCookies: []signout.StripCookies{{Names: []string{"app"}}}})
	live, _ := a.signIn(t, "alice", "")
	mine, _ := a.signIn(t, "mallory", "")
	ended, s := a.signIn(t, "mallory", "")
	_, err := a.Revoke(t.Context(), s)
	storetest.NoError(t, err)
	key := func(c session.Credential) string { return session.EncodeTokenKey(session.KeyOf(c.Secret())) }
	made := session.NewCredential(session.NewToken(), session.FromHeader)
	const app = "Cookie: app=1"
	tries, through := 0, 0
	for name, test := range map[string]struct {
		token   string
		headers []string
		status  int
		clears  bool
		lookUps int64
	}{
		"of a session that lives":                 {session.LogoutToken(live), []string{app}, 401, false, 1},
		"former, of a session that lives":         {session.LogoutTokenMAC(live), []string{app}, 401, false, 0},
		"the key of a session that lives":         {session.LogoutTokenMAC(made) + key(live), []string{app}, 401, false, 1},
		"made up":                                 {session.LogoutToken(made), []string{app}, 401, false, 1},
		"made up, with its credential":            {session.LogoutToken(made), []string{app, sessionCookieLine(made)}, 401, true, 1},
		"own, revoked, with a live cookie":        {session.LogoutToken(ended), []string{app, sessionCookieLine(live)}, 403, false, 1},
		"own, revoked, with a live bearer":        {session.LogoutToken(ended), []string{app, "Authorization: Bearer " + live.Secret()}, 403, false, 1},
		"own HMAC, key of another that lives":     {session.LogoutTokenMAC(mine) + key(live), []string{app, sessionCookieLine(mine)}, 403, false, 1},
		"own HMAC, key of one that was revoked":   {session.LogoutTokenMAC(mine) + key(ended), []string{app, sessionCookieLine(mine)}, 403, false, 1},
		"dead HMAC, key of one that was revoked":  {session.LogoutTokenMAC(made) + key(ended), []string{app, sessionCookieLine(made)}, 401, true, 1},
		"no HMAC":                                 {session.LogoutTokenPrefix + key(ended), []string{app}, 401, false, 0},
		"the key twice":                           {session.LogoutToken(ended) + key(ended), []string{app}, 401, false, 0},
		"another spelling of the key":             {session.LogoutToken(ended)[:90] + "b", []string{app}, 401, false, 0},
		"own, revoked, in a browser of nobody":    {session.LogoutToken(ended), []string{app}, 204, false, 1},
		"own, revoked, in a browser that is dead": {session.LogoutToken(ended), []string{app, sessionCookieLine(made)}, 204, true, 2},
	} {
		tries++
		counted := &countedStore{}
		counted.Store, _ = a.OpenStore()
		a.reopen(func(o *manager.Opened) { o.Store = counted })
		w := serve(t, signOut, newRequest(t, http.MethodGet, siteURL+"/self-service/logout?token="+test.token, append(test.headers, "Accept: application/json")...), nil)
		a.reopen(func(o *manager.Opened) { o.Store = counted.Store })
		cleared := fmt.Sprint(w.Header()["Set-Cookie"]) != "[]"
		if w.Code != test.status || cleared != test.clears || counted.gets != test.lookUps || counted.writes != 0 ||
			w.Header()["Clear-Site-Data"] != nil || len(w.Header()["Set-Cookie"]) > 1 {
			through++
			t.Errorf("%s: %d, %d look-ups, %d writes, %q", name, w.Code, counted.gets, counted.writes, w.Header())
		}
		if !a.alive(t, live) || !a.alive(t, mine) {
			t.Fatalf("%s: a session was ended", name)
		}
	}
	t.Logf("attack: logout tokens of strangers: %d tries, %d got through", tries, through)

	// A token is not a use of its session.
	for range 4 {
		a.advance(20 * time.Minute)
		serve(t, signOut, newRequest(t, http.MethodGet, submitLine(live), "Accept: application/json"), nil)
	}
	if a.alive(t, live) {
		t.Error("a token without its credential kept an idle session alive")
	}
}

// During an outage, no server can say whether the session has ended.
func TestSecondTabDuringAnOutage(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	follow := func(headers ...string) *httptest.ResponseRecorder {
		return serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(c), append(headers, "Accept: application/json")...), nil)
	}
	a.takeStoreAway()
	if w := follow(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header()["Set-Cookie"] != nil {
		t.Errorf("without a journal: %d %q", w.Code, w.Header())
	}
	j := a.withJournal(t, t.TempDir()+"/pending.db")
	defer closeJournal(t, j)
	if w := follow(); w.Code != http.StatusServiceUnavailable || j.Pending() != 0 {
		t.Errorf("a token alone: %d, %d pending", w.Code, j.Pending())
	}
	for _, headers := range [][]string{{sessionCookieLine(c)}, nil} {
		if w := follow(headers...); w.Code != http.StatusAccepted {
			t.Errorf("pending, with %q: %d", headers, w.Code)
		}
	}
}

// countedStore counts its calls.
type countedStore struct {
	session.Store
	gets, writes int64
}

func (s *countedStore) GetWithUse(ctx context.Context, key session.Key) (session.Record, error) {
	s.gets++
	return s.Store.GetWithUse(ctx, key)
}

func (s *countedStore) Revoke(ctx context.Context, key session.Key, identity string, at, until time.Time) (bool, error) {
	s.writes++
	return s.Store.Revoke(ctx, key, identity, at, until)
}

func (s *countedStore) Touch(ctx context.Context, key session.Key, at, until time.Time) error {
	s.writes++
	return s.Store.Touch(ctx, key, at, until)
}
