package caddylogout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

func TestAuthenticateFindsTheGoodCredential(t *testing.T) {
	a := newTestApp(t, nil)
	good, sess := a.signIn(t, "alice", "")
	dead, deadSession := a.signIn(t, "alice", "")
	if _, err := a.Revoke(t.Context(), deadSession); err != nil {
		t.Fatal(err)
	}
	cookie := func(values ...string) string {
		return "Cookie: " + web.DefaultCookieName + "=" + strings.Join(values, "; "+web.DefaultCookieName+"=")
	}
	tests := map[string]struct {
		headers    []string
		live       bool
		source     session.Carrier
		deadCookie bool
	}{
		"nothing":                     {},
		"cookie":                      {[]string{cookie(good.Secret())}, true, session.FromCookie, false},
		"bearer":                      {[]string{"Authorization: Bearer " + good.Secret()}, true, session.FromBearer, false},
		"bearer in lower case":        {[]string{"Authorization: bearer " + good.Secret()}, true, session.FromBearer, false},
		"session token":               {[]string{"X-Session-Token: " + good.Secret()}, true, session.FromHeader, false},
		"wrong header, good cookie":   {[]string{"X-Session-Token: nope", cookie(good.Secret())}, true, session.FromCookie, false},
		"wrong cookie, good bearer":   {[]string{cookie("nope"), "Authorization: Bearer " + good.Secret()}, true, session.FromBearer, false},
		"two cookies, second is good": {[]string{cookie("nope", good.Secret())}, true, session.FromCookie, false},
		"two lines, second is good":   {[]string{cookie("nope"), cookie(good.Secret())}, true, session.FromCookie, false},
		"seven tossed in, then good":  {[]string{cookie("1", "2", "3", "4", "5", "6", "7", good.Secret())}, true, session.FromCookie, false},
		"dead cookie":                 {[]string{cookie(dead.Secret())}, false, 0, true},
		"garbage cookie":              {[]string{cookie("garbage")}, false, 0, true},
		"dead bearer":                 {[]string{"Authorization: Bearer " + dead.Secret()}, false, 0, false},
		"basic auth":                  {[]string{"Authorization: Basic " + good.Secret()}, false, 0, false},
		"bearer with two words":       {[]string{"Authorization: Bearer " + good.Secret() + " x"}, false, 0, false},
		"cookie of another name":      {[]string{"Cookie: x" + web.DefaultCookieName + "=" + good.Secret()}, false, 0, false},
		"logout token as credential":  {[]string{cookie(session.LogoutToken(good))}, false, 0, true},
		"key as credential":           {[]string{cookie(session.KeyOf(good.Secret()).String())}, false, 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			res, err := a.Authenticate(newRequest(t, http.MethodGet, "/", test.headers...))
			if err != nil {
				t.Fatal(err)
			}
			if live := res.Session != nil; live != test.live {
				t.Fatalf("live %v, want %v", live, test.live)
			}
			if test.live && (res.Session.ID != sess.ID || res.Credential.From != test.source) {
				t.Errorf("found %s by source %d", res, res.Credential.From)
			}
			if res.DeadCookie != test.deadCookie {
				t.Errorf("dead cookie %v, want %v", res.DeadCookie, test.deadCookie)
			}
		})
	}
}

func TestAuthenticateWithoutCredentialAsksNobody(t *testing.T) {
	a := newTestApp(t, nil)
	a.takeStoreAway()
	res, err := a.Authenticate(newRequest(t, http.MethodGet, "/", "Cookie: other=1", "Authorization: Basic eA=="))
	if err != nil || res.Session != nil {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestAuthenticateDuringAnOutage(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	bringBack := a.takeStoreAway()
	if _, err := a.Authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(c))); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	bringBack()
	res, err := a.Authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(c)))
	if err != nil || res.Session == nil {
		t.Errorf("after the outage: %v, %v", res, err)
	}
}

func TestSessionEnds(t *testing.T) {
	tests := map[string]struct {
		configure func(*App)
		use       []time.Duration // pauses, after each of which the session is used
		live      bool
	}{
		"before its lifespan":        {nil, []time.Duration{24*time.Hour - time.Second}, true},
		"at its lifespan":            {nil, []time.Duration{24 * time.Hour}, false},
		"of its own lifespan":        {func(a *App) { a.Lifespan = caddy.Duration(time.Minute) }, []time.Duration{time.Minute}, false},
		"idle":                       {idleAfter(time.Hour), []time.Duration{time.Hour}, false},
		"not quite idle":             {idleAfter(time.Hour), []time.Duration{time.Hour - time.Second}, true},
		"used again and again":       {idleAfter(time.Hour), []time.Duration{50 * time.Minute, 50 * time.Minute, 50 * time.Minute}, true},
		"used, then idle":            {idleAfter(time.Hour), []time.Duration{50 * time.Minute, time.Hour}, false},
		"used within a tenth":        {idleAfter(time.Hour), []time.Duration{5 * time.Minute, 56 * time.Minute}, false},
		"use does not beat lifespan": {idleAfter(20 * time.Hour), []time.Duration{12 * time.Hour, 12 * time.Hour}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, test.configure)
			c, _ := a.signIn(t, "alice", "")
			var res *web.Auth
			for _, pause := range test.use {
				a.advance(pause)
				var err error
				if res, err = a.Authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(c))); err != nil {
					t.Fatal(err)
				}
			}
			if live := res.Session != nil; live != test.live {
				t.Errorf("live %v, want %v", live, test.live)
			}
		})
	}
}

func idleAfter(d time.Duration) func(*App) {
	return func(a *App) { a.IdleTimeout = caddy.Duration(d) }
}

// A session that a program writes back after its logout stays revoked.
func TestTombstoneWinsOverWriteBack(t *testing.T) {
	a := newTestApp(t, nil)
	c, s := a.signIn(t, "alice", "")
	value, err := a.Format.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Revoke(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	a.advance(23 * time.Hour) // the tombstone lasts as long as the session would have
	store, _ := a.OpenStore()
	if err := store.Create(t.Context(), s.Key, session.Entry{Identity: "alice", Value: value, ExpiresAt: s.ExpiresAt}); !errors.Is(err, session.ErrExists) {
		t.Errorf("written back: %v, want ErrExists", err)
	}
	if found, err := a.Lookup(t.Context(), c); err != nil || found.Session != nil || found.RevokedAt.IsZero() {
		t.Errorf("found %+v, %v", found, err)
	}
}

// A client that disconnects during its logout is still logged out.
func TestRevokeGoesOnWithoutTheClient(t *testing.T) {
	a := newTestApp(t, nil)
	c, s := a.signIn(t, "alice", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ended, err := a.Revoke(ctx, s); err != nil || !ended {
		t.Fatalf("ended %v, %v", ended, err)
	}
	if found, _ := a.Lookup(t.Context(), c); found.Session != nil {
		t.Error("the session is live")
	}
}

// An unreadable session is an outage, not a logout: a newer version may have written
// it.
func TestForeignValueIsAnOutage(t *testing.T) {
	a := newTestApp(t, nil)
	c := session.NewCredential("somebody", session.FromHeader)
	key := session.KeyOf(c.Secret())
	store, _ := a.OpenStore()
	value := fmt.Sprintf(`{"v":2,"id":%q,"identity":"alice","issued_at":"2026-01-02T03:04:05Z","expires_at":"2099-01-02T03:04:05Z"}`, key.ID())
	if err := store.Create(t.Context(), key, session.Entry{Identity: "alice", Value: []byte(value), ExpiresAt: a.time().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Lookup(t.Context(), c); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestNothingPrintsACredential(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	res, err := a.Authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(c)))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, value := range []any{c, &c, res, []session.Credential{c}} {
			if printed := fmt.Sprintf(format, value); strings.Contains(printed, c.Secret()) {
				t.Errorf("%s of %T prints the credential", format, value)
			}
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	a := newTestApp(t, nil)
	tests := map[string]manager.NewSession{
		"no identity":         {},
		"control character":   {Identity: "a\nb"},
		"broken UTF-8":        {Identity: "a\xff"},
		"long identity":       {Identity: strings.Repeat("a", manager.MaxIdentityLength+1)},
		"traits are a list":   {Identity: "a", Traits: []byte("[]")},
		"traits are broken":   {Identity: "a", Traits: []byte("{")},
		"traits are too much": {Identity: "a", Traits: []byte(`{"a":"` + strings.Repeat("x", manager.MaxTraitsLength) + `"}`)},
		"negative lifespan":   {Identity: "a", Lifespan: -1},
		"endless lifespan":    {Identity: "a", Lifespan: manager.MaxLifespan + 1},
	}
	for name, n := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := a.Issue(t.Context(), n); !errors.Is(err, manager.ErrInvalidSession) {
				t.Errorf("got %v, want errInvalidSession", err)
			}
		})
	}
}

func TestLogoutToken(t *testing.T) {
	one, other := session.NewCredential(session.NewToken(), session.FromHeader), session.NewCredential(session.NewToken(), session.FromHeader)
	token := session.LogoutToken(one)
	if len(token) != len(session.LogoutTokenPrefix)+32+52 || !strings.HasPrefix(token, session.LogoutTokenPrefix) {
		t.Errorf("token %q", token)
	}
	if !session.LogoutTokenMatches(one, token) || session.LogoutTokenMatches(other, token) || session.LogoutTokenMatches(one, token+"x") || session.LogoutTokenMatches(one, "") {
		t.Error("the token fits another credential, or not its own")
	}
	// Other nodes, and later versions, must compute the same.
	example, former := session.NewCredential("ory_st_example", session.FromHeader), "ory_lo_eytrposyabetmo5jrmcep4oasogkumth"
	if got := session.LogoutToken(example); got != former+"b3frhaqmtwoy7p5hggte2pvvnts7kchmfh66slr7344esfjw24la" {
		t.Errorf("token %q", got)
	}
	// What former versions computed is still in pages, and on nodes that are not
	// upgraded yet.
	if !session.LogoutTokenMatches(example, former) || session.LogoutTokenMatches(one, former) {
		t.Error("a token of the former version does not fit, or fits another credential")
	}
	if key, ok := session.KeyOfLogoutToken(token); !ok || key != session.KeyOf(one.Secret()) {
		t.Error("the token does not name its session")
	}
	mixed := token[:len(former)] + session.LogoutToken(other)[len(former):]
	for name, c := range map[string]session.Credential{"the HMAC's": one, "the key's": other} {
		if session.LogoutTokenMatches(c, mixed) {
			t.Errorf("a token of two sessions fits %s credential", name)
		}
	}
	for _, broken := range []string{"", former, former + "x", token + "x", token[:len(token)-1], token[:len(token)-1] + "b", token[:len(token)-1] + "!"} {
		if _, ok := session.KeyOfLogoutToken(broken); ok {
			t.Errorf("%q names a session", broken)
		}
		if session.LogoutTokenMatches(one, broken) {
			t.Errorf("%q fits", broken)
		}
	}
}
