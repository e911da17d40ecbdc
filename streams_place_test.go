package caddylogout

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// configured is a configuration as Caddy starts it, until cleanUp.
func configured(t *testing.T, store map[string]string) *testApp {
	t.Helper()
	raw, err := json.Marshal(store)
	storetest.NoError(t, err)
	a := &testApp{App: &App{StoreRaw: raw}}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	storetest.NoError(t, a.Provision(ctx))
	a.Site = a.App.site
	a.logTo(zap.NewNop())
	storetest.NoError(t, a.Start())
	return a
}

// openStores counts the stores that are open in this process, besides those that
// other tests left.
func openStores(t *testing.T) func() int {
	t.Helper()
	deferred.Closes.Flush()
	count := func() int {
		n := 0
		manager.Stores.Range(func(_, _ any) bool { n++; return true })
		return n
	}
	before := count()
	return func() int { return count() - before }
}

// revokeElsewhere logs a session out as another server does.
func revokeElsewhere(t *testing.T, config RedisStore, s *session.Session) {
	t.Helper()
	config.Timeout = unhurried
	other := openRedis(t, config, time.Now)
	_, err := other.Revoke(t.Context(), s.Key, s.Identity, time.Now(), s.ExpiresAt)
	storetest.NoError(t, errors.Join(err, other.Close()))
}

// TestAttackReloadRotatesThePassword keeps requests open through a reload that
// changes the password of Redis, takes the old one away, lets the grace period
// pass, and logs out on another server.
func TestAttackReloadRotatesThePassword(t *testing.T) {
	const tries = 3
	through := 0
	for _, when := range []string{"within the grace period", "after it", "after a reload that failed"} {
		server := redistest.Start(t)
		server.CLI(t, "ACL", "SETUSER", "caddy", "on", ">first", "~*", "&*", "+@all")
		config := func(password string) map[string]string {
			return map[string]string{"module": "redis", "address": server.Addr(), "username": "caddy", "password": password}
		}
		old := configured(t, config("first"))
		c, s := old.signIn(t, "alice", "")
		release := make(chan struct{})
		ended := old.serveStream(t, newGate(t, old, gate.Options{}), c, release)

		server.CLI(t, "ACL", "SETUSER", "caddy", ">second")
		next := configured(t, config("second"))
		storetest.NoError(t, old.Cleanup())
		server.CLI(t, "ACL", "SETUSER", "caddy", "<first")
		server.CLI(t, "CLIENT", "KILL", "USER", "caddy")
		switch when {
		case "after it":
			deferred.Closes.Expire()
		case "after a reload that failed":
			failed := configured(t, config("wrong"))
			storetest.NoError(t, failed.Cleanup())
		}
		began := time.Now()
		revokeElsewhere(t, RedisStore{Address: server.Addr()}, s)
		select {
		case err := <-ended:
			if !errors.Is(err, streams.ErrSessionEnded) {
				t.Errorf("%s: ended by %v", when, err)
			}
			t.Logf("%s: cut after %v", when, time.Since(began).Round(time.Millisecond))
		case <-time.After(10 * time.Second):
			through++
			t.Errorf("%s: goes on", when)
		}
		close(release)
		storetest.NoError(t, next.Cleanup())
		deferred.Closes.Flush()
	}
	t.Logf("attack: a request that outlives a new password of the store: %d tries, %d got through", tries, through)
}

// TestPlaceThatChanges goes to another place while a request is open, and back: the
// store of the old place is kept for it, and given back after it.
func TestPlaceThatChanges(t *testing.T) {
	dir, openStores := t.TempDir(), openStores(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	config := func(name string) map[string]string {
		return map[string]string{"module": "embedded", "file": filepath.Join(dir, name)}
	}
	a := configured(t, config("a.db"))
	c, s := a.signIn(t, "alice", "")
	release := make(chan struct{})
	defer close(release)
	ended := a.serveStream(t, newGate(t, a, gate.Options{}), c, release)
	b := configured(t, config("b.db"))
	storetest.NoError(t, a.Cleanup())
	deferred.Closes.Expire()
	if n := openStores(); n != 2 {
		t.Fatalf("%d stores are open while a request of the old one is, want 2", n)
	}
	again := configured(t, config("a.db")) // the file is locked: this takes on the open one
	storetest.NoError(t, b.Cleanup())
	deferred.Closes.Expire()
	if n := openStores(); n != 1 {
		t.Errorf("%d stores are open after going back, want 1", n)
	}
	other := configured(t, config("b.db"))
	storetest.NoError(t, again.Cleanup())
	deferred.Closes.Expire()
	if _, err := a.Revoke(t.Context(), s); err != nil { // a request of the old configuration
		t.Fatal(err)
	}
	wantEnded(t, ended, streams.ErrSessionEnded)
	storetest.WaitFor(t, "the old store is given back", func() bool { return openStores() == 1 && streams.Places.Count() == 1 })
	storetest.NoError(t, other.Cleanup())
	deferred.Closes.Flush()
	if stores, places := openStores(), streams.Places.Count(); stores != 0 || places != 0 {
		t.Errorf("%d stores and %d places are left", stores, places)
	}
}

// TestReloadsLeaveNothing reloads many times, with and without a request that
// lasts, and with settings that change and that do not.
func TestReloadsLeaveNothing(t *testing.T) {
	server, openStores := redistest.Start(t), openStores(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, test := range map[string]struct{ changes, long bool }{
		"the same": {false, false}, "the same, a request open": {false, true},
		"other settings": {true, false}, "other settings, a request open": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			config := func(i int) map[string]string {
				c := map[string]string{"module": "redis", "address": server.Addr(), "timeout": "10s", "dial_timeout": "500ms"}
				if test.changes {
					c["dial_timeout"] = (500*time.Millisecond + time.Duration(i)).String()
				}
				return c
			}
			running := configured(t, config(0))
			c, s := running.signIn(t, "alice", "")
			release := make(chan struct{})
			defer close(release)
			var ended <-chan error
			if test.long {
				ended = running.serveStream(t, newGate(t, running, gate.Options{}), c, release)
			}
			for i := range 20 {
				next := configured(t, config(i+1))
				storetest.NoError(t, running.Cleanup())
				deferred.Closes.Expire()
				running = next
			}
			if stores, places := openStores(), streams.Places.Count(); stores != 1 || places != 1 {
				t.Errorf("%d stores and %d places are open after 20 reloads, want one of each", stores, places)
			}
			if n := deferred.Closes.Waiting(); n > 1 {
				t.Errorf("%d things wait to be given back, want at most the one store", n)
			}
			if test.long {
				revokeElsewhere(t, RedisStore{Address: server.Addr()}, s)
				wantEnded(t, ended, streams.ErrSessionEnded)
			}
			storetest.NoError(t, running.Cleanup())
			deferred.Closes.Flush()
			if stores, places := openStores(), streams.Places.Count(); stores != 0 || places != 0 {
				t.Errorf("%d stores and %d places are left", stores, places)
			}
		})
	}
}

// TestRequestThatOutlivesItsStore has an unregistered request of a configuration
// whose place is gone for a minute: it gets the response of an outage.
func TestRequestThatOutlivesItsStore(t *testing.T) {
	server := redistest.Start(t)
	for name, config := range map[string]map[string]string{
		"embedded": {"module": "embedded", "file": filepath.Join(t.TempDir(), "sessions.db")},
		"redis":    {"module": "redis", "address": server.Addr()},
	} {
		t.Run(name, func(t *testing.T) {
			a := configured(t, config)
			c, s := a.signIn(t, "alice", "")
			// It was let in by a matcher, and comes to the gate when all is closed.
			late := newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Accept: application/json")
			if res, err := a.Authenticate(late); err != nil || res.Session == nil {
				t.Fatalf("%v, %v", res, err)
			}
			closeStore := func() {
				storetest.NoError(t, a.Cleanup())
				deferred.Closes.Expire()
				if _, open := manager.Stores.References(a.storeModule.PoolKey()); open {
					t.Fatal("the store is still open")
				}
			}
			gate := newGate(t, a, gate.Options{Optional: true, IssueOnHeader: "X-Sign-In"})
			// An anonymous request: it is not registered, and the app signs a person
			// in when all is closed.
			w := serve(t, gate, newRequest(t, http.MethodGet, "/", "Accept: application/json"), func(w http.ResponseWriter, _ *http.Request) error {
				closeStore()
				w.Header().Set("X-Sign-In", `{"identity":"bob"}`)
				w.WriteHeader(http.StatusOK)
				return nil
			})
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Set-Cookie") != "" || w.Header().Get("Retry-After") == "" {
				t.Errorf("a sign-in by the app: %d %v", w.Code, w.Header())
			}
			w = serve(t, gate, newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Accept: application/json"), nil)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("the gate: %d %v", w.Code, w.Header())
			}
			if w = serve(t, gate, late, nil); w.Code != http.StatusServiceUnavailable {
				t.Errorf("a request that nobody would cut: %d", w.Code)
			}
			if _, err := a.Revoke(t.Context(), s); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("a logout: %v, want ErrUnavailable", err)
			}
		})
	}
}

// TestExitClosesWhatIsKept ends the process while a request of a place that is
// gone is open.
func TestExitClosesWhatIsKept(t *testing.T) {
	openStores := openStores(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	a := configured(t, map[string]string{"module": "embedded", "file": filepath.Join(t.TempDir(), "sessions.db")})
	c, _ := a.signIn(t, "alice", "")
	release := make(chan struct{})
	ended := a.serveStream(t, newGate(t, a, gate.Options{}), c, release)
	storetest.NoError(t, a.Cleanup())
	deferred.Closes.Expire()
	if n := openStores(); n != 1 {
		t.Fatalf("%d stores are open, want the one that is kept", n)
	}
	deferred.Closes.Flush()
	if n := openStores(); n != 0 {
		t.Errorf("%d stores are left", n)
	}
	close(release)
	wantEnded(t, ended, nil)
}
