// This file reloads Caddy while it is busy.

package integration_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestReloadUnderLoad has Caddy load a changed configuration ten times while
// people sign in, use the app and sign out: no request may fail and no session
// may be lost.
//
// It goes through a Unix socket, which Caddy hands on from one configuration to
// the next. Of a TCP port it closes one listener and opens another, and Linux
// resets the connections that wait in the first (SO_REUSEPORT, with
// net.ipv4.tcp_migrate_req off): true, but not about sessions.
func TestReloadUnderLoad(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		s := prepare(t, serverOptions{files: map[string]string{"accounts.txt": accountsFile()}})
		onSocket := func(site ...string) string {
			return strings.Replace(caddyfile(store, site...), "{$PORT} {", "{$PORT} {\n\tbind unix/{$DIR}/s.sock", 1)
		}
		writeFile(t, s.configFile(), onSocket())
		sockets.Store("127.0.0.1:"+s.port, filepath.Join(s.dir, "s.sock"))
		s.run()
		load := startLoad(t, s, signIn(t, s))
		for i := range 10 {
			// A change in the app's part and in the site's, so that all of it is
			// provisioned anew.
			site := fmt.Sprintf("header /app/* X-Generation %d", i)
			s.Reload(strings.Replace(onSocket(site), "sessions {", fmt.Sprintf("sessions {\n\t\tlifespan %dh", i+1), 1))
		}
		before := load.passed.Load()
		eventually(t, "requests after the last reload", func() bool { return load.passed.Load() > before+20 })
		tokens, failures := load.stop()
		for _, f := range failures {
			t.Error(f)
		}
		t.Logf("%d requests, %d sign-ins", load.passed.Load(), len(tokens))
		if len(tokens) < 10 {
			t.Errorf("%d sign-ins: too few to show anything", len(tokens))
		}
		for i, token := range tokens {
			if got := whoami(t, s, "X-Session-Token: "+token); got != 200 {
				t.Errorf("session %d of %d was lost: %d", i+1, len(tokens), got)
			}
		}
		if a := call(t, "GET", s.URL("/app/x"), "", "X-Session-Token: "+tokens[0]); a.header.Get("X-Generation") != "9" {
			t.Errorf("the last configuration is not the one that runs: generation %q", a.header.Get("X-Generation"))
		}
	})
}

// TestFailedReloadKeepsTheOldConfiguration loads a configuration that fails
// late: what was running goes on, with its store open.
func TestFailedReloadKeepsTheOldConfiguration(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		token := signIn(t, s)
		for range 3 {
			err := s.tryReload(strings.Replace(caddyfile(store), "accounts.txt", "missing.txt", 1))
			if err == nil || !strings.Contains(err.Error(), "missing.txt") {
				t.Fatalf("want an error that names the file, got %v", err)
			}
			if got := whoami(t, s, "X-Session-Token: "+token); got != 200 {
				t.Fatalf("whoami: %d", got)
			}
		}
		if got := whoami(t, s, "X-Session-Token: "+signIn(t, s)); got != 200 {
			t.Errorf("whoami of a new session: %d", got)
		}
	})
}

// load is a crowd that uses the server until it is stopped.
type load struct {
	passed   atomic.Int64
	done     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	tokens   []string // sessions that must be alive
	failures []string
}

func startLoad(t *testing.T, s *caddyServer, token string) *load {
	l := &load{done: make(chan struct{}), tokens: []string{token}}
	check := func(want int, a answer, err error, what string) bool {
		if err == nil && a.status == want {
			l.passed.Add(1)
			return true
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.failures) < 20 {
			l.failures = append(l.failures, fmt.Sprintf("%s: status %d, want %d: %v %s", what, a.status, want, err, a.body))
		}
		return false
	}
	gate := func() {
		a, err := tryCall(t, "GET", s.URL("/app/page"), "", acceptJSON, "Cookie: "+cookieName+"="+token)
		if check(200, a, err, "gate") && !strings.HasPrefix(a.body, "user ") {
			check(0, a, fmt.Errorf("body %q", a.body), "gate")
		}
	}
	visit := func(stay bool) {
		fresh, err := trySignIn(t, s)
		if !check(200, answer{status: 200}, err, "sign in") {
			return
		}
		a, err := tryCall(t, "GET", s.URL("/sessions/whoami"), "", acceptJSON, "X-Session-Token: "+fresh)
		check(200, a, err, "whoami")
		if stay {
			l.mu.Lock()
			l.tokens = append(l.tokens, fresh)
			l.mu.Unlock()
			return
		}
		a, err = tryCall(t, "DELETE", s.URL("/self-service/logout/api"), `{"session_token":"`+fresh+`"}`, sendsJSON)
		check(204, a, err, "sign out")
		a, err = tryCall(t, "GET", s.URL("/sessions/whoami"), "", acceptJSON, "X-Session-Token: "+fresh)
		check(401, a, err, "whoami after sign-out")
	}
	for _, work := range []func(){gate, gate, func() { visit(true) }, func() { visit(false) }} {
		l.wg.Go(func() {
			for {
				select {
				case <-l.done:
					return
				default:
					work()
				}
			}
		})
	}
	return l
}

// stop ends the crowd and returns the sessions it leaves, and what failed.
func (l *load) stop() (tokens, failures []string) {
	close(l.done)
	l.wg.Wait()
	return l.tokens, l.failures
}
