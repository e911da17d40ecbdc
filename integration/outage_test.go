package integration_test

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// TestOutage lets Redis freeze, then end: an outage is no logout.
func TestOutage(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	// Without the near cache, which serves what it knows for up to a second more.
	s := startWith(t, redisStore(redis)+"\n\t\tnear_cache off")
	browser := signInBrowser(t, s)
	logout := createLogout(t, s, browser, "")

	redis.Pause(t)
	assertAway(t, s, redis, browser, logout)
	redis.Resume(t)
	eventually(t, "the session is found again", func() bool { return whoami(t, s, "Cookie: "+browser) == 200 })

	redis.Stop(t)
	assertAway(t, s, redis, browser, logout)
	restartRedis(t, redis.Addr())
	// That server is empty: the session is not found, and the cookie is
	// cleared.
	eventually(t, "Redis is asked again", func() bool { return whoami(t, s, "Cookie: "+browser) == 401 })
	if got := whoami(t, s, "X-Session-Token: "+signIn(t, s)); got != 200 {
		t.Errorf("whoami after the restart: %d", got)
	}
}

// assertAway checks the response to every kind of request while the store is
// unavailable.
func assertAway(t *testing.T, s *caddyServer, redis *redistest.Server, browser string, logout logoutFlow) {
	t.Helper()
	// A session that is in the near cache is good until Redis has been silent for
	// too long to be trusted to have said everything.
	eventually(t, "the near cache to notice", func() bool { return whoami(t, s, "Cookie: "+browser) == 503 })
	flow := "/self-service/logout?token=" + logout.Token
	for _, test := range []struct{ name, method, path, accept, body string }{
		{"whoami", "GET", "/sessions/whoami", acceptJSON, ""},
		{"sessions", "GET", "/sessions", acceptJSON, ""},
		{"end the others", "DELETE", "/sessions", acceptJSON, ""},
		{"create", "GET", "/self-service/logout/browser", acceptJSON, ""},
		{"create, HTML", "GET", "/self-service/logout/browser", acceptBrowser, ""},
		{"submit", "GET", flow, acceptJSON, ""},
		{"submit, HTML", "GET", flow, acceptBrowser, ""},
		{"api", "DELETE", "/self-service/logout/api", acceptJSON, `{"session_token":"ory_st_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`},
		{"the gate", "GET", "/app/page", acceptJSON, ""},
		{"the gate, HTML", "GET", "/app/page", acceptBrowser, ""},
	} {
		header := []string{test.accept, "Cookie: " + browser}
		if test.body != "" {
			header = append(header, sendsJSON)
		}
		began := time.Now()
		a := call(t, test.method, s.URL(test.path), test.body, header...)
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: took %v", test.name, took)
		}
		if a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: status %d, Retry-After %q, want 503 and some", test.name, a.status, a.header.Get("Retry-After"))
		}
		if a.header.Values("Set-Cookie") != nil {
			t.Errorf("%s: an outage touches cookies: %q", test.name, a.header.Values("Set-Cookie"))
		}
		for _, inside := range []string{"redis", redis.Addr(), "dial", "timeout", "ory_st_"} {
			if strings.Contains(strings.ToLower(a.body), inside) {
				t.Errorf("%s: the body tells %q: %s", test.name, inside, a.body)
			}
		}
	}
	if a := call(t, "GET", s.URL("/"), "", acceptBrowser); a.status != 200 || a.body != "open to all" {
		t.Errorf("a path without a gate: %d %q", a.status, a.body)
	}
}

// restartRedis starts an empty server where one was.
func restartRedis(t *testing.T, addr string) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "redis-server", "--port", port, "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // killed with the context of the test
}
