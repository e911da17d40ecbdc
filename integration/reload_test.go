package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestReloadUnderLoad has Caddy load a changed configuration ten times while
// people sign in, use the app and sign out: no request may be answered wrongly,
// and no session may be lost.
//
// A reload of Caddy closes connections that nothing was read from yet, with any
// configuration (it opens a second listener on the port and closes the first).
// Clients send again what got no answer; so does this one.
func TestReloadUnderLoad(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		load := startLoad(t, s, signIn(t, s))
		for i := range 10 {
			// A change in the app's part and in the site's, so that all of it is
			// provisioned anew.
			site := fmt.Sprintf("header /app/* X-Generation %d", i)
			before := load.passed.Load()
			s.Reload(strings.Replace(caddyfile(store, site), "sessions {", fmt.Sprintf("sessions {\n\t\tlifespan %dh", i+1), 1))
			eventually(t, "requests after the reload", func() bool { return load.passed.Load() > before+50 })
		}
		tokens, failures := load.stop()
		for _, f := range failures {
			t.Error(f)
		}
		t.Logf("%d requests, %d of them sent again, %d sign-ins", load.passed.Load(), load.again.Load(), len(tokens))
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

// TestReloadKeepsRequestsInFlight reloads while the app is busy with a request
// that the gate let through: it gets its answer, and what it does then still
// finds its session.
func TestReloadKeepsRequestsInFlight(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		arrived, release := make(chan struct{}), make(chan struct{})
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-release
			w.Header().Set("X-Sign-In", `{"identity":"bob"}`)
			fmt.Fprintf(w, "user %s", r.Header.Get("X-User-Id"))
		}))
		t.Cleanup(app.Close)
		proxy := "route /slow {\n\t\tsession_auth {\n\t\t\tissue_on_header X-Sign-In\n\t\t}\n\t\treverse_proxy " + app.URL + "\n\t}"
		s := startWith(t, store, proxy)
		token := signIn(t, s)

		answered := make(chan answer, 1)
		go func() {
			a, err := tryCall(t, "GET", s.URL("/slow"), "", "X-Session-Token: "+token)
			if err != nil {
				a.body = err.Error()
			}
			answered <- a
		}()
		select {
		case <-arrived:
		case a := <-answered:
			t.Fatalf("answered before the app was asked: %d %s", a.status, a.body)
		}
		for i := range 3 {
			s.Reload(strings.Replace(caddyfile(store, proxy), "sessions {", fmt.Sprintf("sessions {\n\t\tlifespan %dh", i+1), 1))
		}
		close(release)
		a := <-answered
		if a.status != 200 || a.body != "user "+account {
			t.Errorf("status %d, body %q", a.status, a.body)
		}
		// The store was open to the old configuration, too: it made a session.
		if cookies := cookieHeader(a); whoami(t, s, "Cookie: "+cookies) != 200 {
			t.Errorf("no session was made: %v", a.header)
		}
	})
}

// TestFailedReloadKeepsTheOldConfiguration loads a configuration that fails
// late: what was running goes on, with its store open.
func TestFailedReloadKeepsTheOldConfiguration(t *testing.T) {
	t.Parallel()
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
	t        *testing.T
	s        *caddyServer
	passed   atomic.Int64 // requests that were answered as they should
	again    atomic.Int64 // requests that had to be sent again
	done     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	tokens   []string // sessions that must be alive
	failures []string
}

func startLoad(t *testing.T, s *caddyServer, token string) *load {
	l := &load{t: t, s: s, done: make(chan struct{}), tokens: []string{token}}
	gate := func() {
		if a, ok := l.call(200, "GET", "/app/page", "", acceptJSON, "Cookie: "+cookieName+"="+token); ok && a.body != "user "+account {
			l.fail("gate: body %q", a.body)
		}
	}
	for _, work := range []func(){gate, gate, func() { l.visit(true) }, func() { l.visit(false) }} {
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

// visit signs in, and out again unless the visitor stays.
func (l *load) visit(stay bool) {
	a, ok := l.call(200, "GET", "/self-service/login/api", "", acceptJSON)
	var flow loginFlow
	if !ok || json.Unmarshal([]byte(a.body), &flow) != nil {
		return
	}
	a, ok = l.call(200, "POST", strings.TrimPrefix(flow.UI.Action, l.s.URL("")), loginBody(""), acceptJSON, sendsJSON)
	var got struct {
		SessionToken string `json:"session_token"`
	}
	if !ok || json.Unmarshal([]byte(a.body), &got) != nil {
		return
	}
	token := got.SessionToken
	l.call(200, "GET", "/sessions/whoami", "", acceptJSON, "X-Session-Token: "+token)
	if stay {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tokens = append(l.tokens, token)
		return
	}
	l.call(204, "DELETE", "/self-service/logout/api", `{"session_token":"`+token+`"}`, sendsJSON)
	l.call(401, "GET", "/sessions/whoami", "", acceptJSON, "X-Session-Token: "+token)
}

// call sends a request until it is answered, and checks how.
func (l *load) call(want int, method, path, body string, header ...string) (answer, bool) {
	var a answer
	var err error
	for range 5 {
		if a, err = tryCall(l.t, method, l.s.URL(path), body, header...); err == nil {
			break
		}
		l.again.Add(1)
	}
	if err != nil || a.status != want {
		l.fail("%s %s: status %d, want %d: %v %s", method, path, a.status, want, err, a.body)
		return a, false
	}
	l.passed.Add(1)
	return a, true
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) < 20 {
		l.failures = append(l.failures, fmt.Sprintf(format, args...))
	}
}

// stop ends the crowd and returns the sessions it leaves, and what failed.
func (l *load) stop() (tokens, failures []string) {
	close(l.done)
	l.wg.Wait()
	return l.tokens, l.failures
}
