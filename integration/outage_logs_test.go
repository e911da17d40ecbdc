package integration_test

import (
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// TestOutageIsToldOnce has people sign out, of the app and of us, and make errors,
// again and again: while Redis refuses writes, and when it is gone. The log says what
// is wrong, and not once for each of them; and the app has not failed.
func TestOutageIsToldOnce(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := start(t, serverOptions{
		caddyfile: `{
	default_bind 127.0.0.1
	sessions {
		` + patientRedis(redis) + `
		idle_timeout 1h
		near_cache off
	}
}
http://:{$PORT} {
	logout /logout
	login {
		accounts {$DIR}/accounts.txt
	}
	session_auth
	respond "the app"
}
`,
		files: map[string]string{"accounts.txt": accountsFile()},
	})
	browser := signInBrowser(t, s)
	const rounds = 20
	round := func() {
		t.Helper()
		for range rounds {
			for _, accept := range []string{acceptJSON, acceptBrowser} {
				a := call(t, "POST", s.URL("/logout"), "", accept, "Cookie: "+browser, "Sec-Fetch-Site: same-origin")
				if a.status != 503 || a.header.Values("Set-Cookie") != nil {
					t.Fatalf("a logout in an outage: %d, %q", a.status, a.header.Values("Set-Cookie"))
				}
			}
			// An error that the store is to keep for the browser.
			call(t, "GET", s.URL("/self-service/logout"), "", acceptBrowser, "Cookie: "+browser)
		}
	}
	redis.CLI(t, "CONFIG", "SET", "min-replicas-to-write", "1")
	round()
	redis.Stop(t)
	round()

	lines := make(map[string]int)
	for line := range strings.Lines(s.Logs()) {
		if strings.Contains(line, `"logger":"sessions.audit"`) {
			continue // each logout that was not done is in it
		}
		for _, message := range []string{"session store unavailable", "keeping an error for a browser failed", "app's own logout failed", "redis is unavailable"} {
			if strings.Contains(line, `"msg":"`+message) {
				lines[message]++
			}
		}
	}
	t.Logf("%d requests: %v", 2*3*rounds, lines)
	for message, most := range map[string]int{
		"session store unavailable": 3, "redis is unavailable": 3, "app's own logout failed": 0, "keeping an error for a browser failed": 0,
	} {
		if lines[message] > most {
			t.Errorf("%q: %d times, want at most %d", message, lines[message], most)
		}
	}
	if lines["session store unavailable"] == 0 {
		t.Error("nobody says that the store takes no writes")
	}
}
