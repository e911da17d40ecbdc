package caddylogout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// twoGates is a request that meets two gates, or a matcher and a gate.
type twoGates struct {
	a             *testApp
	first, second *gate.Handler
	// between is called when the first has let the request pass.
	between func()
	// app is behind the second.
	app handlerFunc
}

// The ways in which a request meets a second gate.
var twoGateWays = map[string]func(t *testing.T, g twoGates, w http.ResponseWriter, r *http.Request) error{
	"one inside the other": func(_ *testing.T, g twoGates, w http.ResponseWriter, r *http.Request) error {
		return g.first.ServeHTTP(w, r, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			g.between()
			return g.second.ServeHTTP(w, r, g.app)
		}))
	},
	// As Caddy does it: the same request, with the error in its context.
	"handle_errors": func(t *testing.T, g twoGates, w http.ResponseWriter, r *http.Request) error {
		t.Helper()
		failed := errors.New("the app has failed")
		if err := g.first.ServeHTTP(w, r, handlerFunc(func(http.ResponseWriter, *http.Request) error { return failed })); !errors.Is(err, failed) {
			t.Errorf("the first gate: %v", err)
		}
		g.between()
		return g.second.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), caddyhttp.ErrorCtxKey, failed)), g.app)
	},
	"a matcher first": func(t *testing.T, g twoGates, w http.ResponseWriter, r *http.Request) error {
		t.Helper()
		if match, err := (&MatchSession{site: g.a.Site}).MatchWithError(r); err != nil || !match {
			t.Errorf("the matcher: %v, %v", match, err)
		}
		g.between()
		return g.second.ServeHTTP(w, r, g.app)
	},
}

// TestAttackSecondGate has a session end between two checks of one request, and
// while it is served behind the second one.
func TestAttackSecondGate(t *testing.T) {
	tries, through := 0, 0
	for way, meet := range twoGateWays {
		for kind, first := range map[string]gate.Options{"cuts": {}, "keeps streams": {KeepStreams: true}, "optional": {Optional: true}} {
			for when, reported := range map[string]bool{"reported": true, "not reported": false} {
				tries++
				a := newTestApp(t, nil)
				a.withStreams(t)
				c, s := a.signIn(t, "alice", "")
				passed := false
				g := twoGates{a: a, first: newGate(t, a, first), second: newGate(t, a, gate.Options{}), between: func() {
					if reported {
						_, err := a.Revoke(t.Context(), s)
						storetest.NoError(t, err)
						return
					}
					_, err := a.open().Revoke(t.Context(), s.Key, s.Identity, a.time(), s.ExpiresAt)
					storetest.NoError(t, err)
					a.advance(time.Second)
				}, app: func(http.ResponseWriter, *http.Request) error { passed = true; return nil }}
				w := httptest.NewRecorder()
				storetest.NoError(t, meet(t, g, w, newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Accept: application/json")))
				if passed || w.Code != http.StatusUnauthorized {
					through++
					t.Errorf("%s, the first one %s, %s: passed %v, status %d", way, kind, when, passed, w.Code)
				}
			}
			tries++
			a := newTestApp(t, nil)
			a.withStreams(t)
			c, s := a.signIn(t, "alice", "")
			cut := false
			g := twoGates{a: a, first: newGate(t, a, first), second: newGate(t, a, gate.Options{}), between: func() {}, app: func(_ http.ResponseWriter, r *http.Request) error {
				if n := a.open().Streams.Count(); n != 1 {
					t.Errorf("%s, the first one %s: registered %d times, want 1", way, kind, n)
				}
				// Another request logs out: one that logs itself out is spared.
				_, err := a.Revoke(t.Context(), s)
				storetest.NoError(t, err)
				cut = r.Context().Err() != nil
				return nil
			}}
			w := httptest.NewRecorder()
			storetest.NoError(t, meet(t, g, w, newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Accept: application/json")))
			if !cut {
				through++
				t.Errorf("%s, the first one %s: is not cut behind the second", way, kind)
			}
			if n := a.open().Streams.Count(); n != 0 {
				t.Errorf("%s, the first one %s: %d are registered at the end", way, kind, n)
			}
		}
	}
	t.Logf("attack: a session that ends between two gates of one request: %d tries, %d got through", tries, through)
}

// TestSecondGateLetsPass has the session live on: its credential is taken out by
// the first gate, and the second lets the request pass all the same.
func TestSecondGateLetsPass(t *testing.T) {
	for way, meet := range twoGateWays {
		t.Run(way, func(t *testing.T) {
			a := newTestApp(t, nil)
			a.withStreams(t)
			c, _ := a.signIn(t, "alice", "")
			user := ""
			g := twoGates{a: a, first: newGate(t, a, gate.Options{}), second: newGate(t, a, gate.Options{}), between: func() {
				a.advance(time.Second)
			}, app: func(_ http.ResponseWriter, r *http.Request) error { user = r.Header.Get("X-User-Id"); return nil }}
			storetest.NoError(t, meet(t, g, httptest.NewRecorder(), newRequest(t, http.MethodGet, "/", sessionCookieLine(c))))
			if user != "alice" {
				t.Errorf("user %q behind the second gate", user)
			}
		})
	}
}

// TestSecondGateDuringAnOutage cannot look the session up again: it may have ended.
func TestSecondGateDuringAnOutage(t *testing.T) {
	for way, meet := range twoGateWays {
		t.Run(way, func(t *testing.T) {
			a := newTestApp(t, nil)
			a.withStreams(t)
			c, _ := a.signIn(t, "alice", "")
			passed := false
			g := twoGates{a: a, first: newGate(t, a, gate.Options{}), second: newGate(t, a, gate.Options{}), between: func() {
				a.takeStoreAway()
				a.advance(time.Second)
			}, app: func(http.ResponseWriter, *http.Request) error { passed = true; return nil }}
			w := httptest.NewRecorder()
			storetest.NoError(t, meet(t, g, w, newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Accept: application/json")))
			if passed || w.Code != http.StatusServiceUnavailable || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("passed %v, %d %v", passed, w.Code, w.Header())
			}
		})
	}
}
