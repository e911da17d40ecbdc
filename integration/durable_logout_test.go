package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// The logout is noted before it is acknowledged: this node refuses the session at
// once, also after kill -9, and Redis gets it when it is back.
func TestDurableLogoutSurvivesKill(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := startWith(t, redisStore(redis)+"\n\t\tdurable_logout {\n\t\t\tjournal {$DIR}/pending.db\n\t\t}")
	browser, token := signInBrowser(t, s), signIn(t, s)
	kept := signIn(t, s)
	logout := createLogout(t, s, browser, "")
	submit := s.URL("/self-service/logout?token=" + logout.Token)

	redis.Pause(t)
	for range 2 {
		a := call(t, http.MethodGet, submit, "", acceptBrowser, "Cookie: "+browser)
		if a.status != http.StatusAccepted || !strings.Contains(a.body, "being signed out") || a.header.Get("Location") != "" {
			t.Fatalf("browser: %d %q", a.status, a.body)
		}
	}
	if a := call(t, http.MethodDelete, s.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusAccepted {
		t.Fatalf("API: %d %q", a.status, a.body)
	}
	wantPending(t, s, "2")
	refused := func() {
		t.Helper()
		if got := whoami(t, s, "Cookie: "+browser); got != http.StatusUnauthorized {
			t.Errorf("the browser's session: %d", got)
		}
		if got := whoami(t, s, "X-Session-Token: "+token); got != http.StatusUnauthorized {
			t.Errorf("the API client's session: %d", got)
		}
		if got := whoami(t, s, "X-Session-Token: "+kept); got != http.StatusServiceUnavailable {
			t.Errorf("a session that nobody ended: %d", got)
		}
	}
	refused()
	s.Kill9()
	s.Restart()
	refused()
	wantPending(t, s, "2")

	redis.Resume(t)
	eventually(t, "the journal is replayed", func() bool { return pendingLogouts(t, s) == "0" })
	if keys := redis.CLI(t, "--raw", "KEYS", "caddy-logout:session:*"); len(strings.Fields(keys)) != 1 {
		t.Errorf("sessions in Redis: %q, want the one that nobody ended", keys)
	}
	eventually(t, "the other session is found again", func() bool { return whoami(t, s, "X-Session-Token: "+kept) == http.StatusOK })
	if a := call(t, http.MethodGet, submit, "", acceptBrowser, "Cookie: "+browser); a.status != http.StatusSeeOther {
		t.Errorf("the same click after the replay: %d", a.status)
	}
}

func pendingLogouts(t *testing.T, s *caddyServer) string {
	t.Helper()
	for line := range strings.Lines(call(t, http.MethodGet, s.AdminURL("/metrics"), "").body) {
		if value, ok := strings.CutPrefix(line, "caddy_sessions_pending_logouts "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "no such metric"
}

func wantPending(t *testing.T, s *caddyServer, want string) {
	t.Helper()
	if got := pendingLogouts(t, s); got != want {
		t.Errorf("%s pending logouts, want %s", got, want)
	}
}
