package integration_test

import (
	"strings"
	"testing"
	"time"
)

// TestKillKeepsWhatWasAcknowledged kills Caddy as a power cut would, right
// after it has answered, and looks at what is left.
func TestKillKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		var alive, ended []string
		for range 3 {
			alive = append(alive, signIn(t, s))
			ended = append(ended, signIn(t, s))
		}
		browser := signInBrowser(t, s)
		logout := createLogout(t, s, browser, "")
		for _, token := range ended {
			a := call(t, "DELETE", s.URL("/self-service/logout/api"), `{"session_token":"`+token+`"}`, sendsJSON)
			if a.status != 204 {
				t.Fatalf("logout: %d: %s", a.status, a.body)
			}
		}
		if a := call(t, "GET", logout.URL, "", acceptJSON, "Cookie: "+browser); a.status != 204 {
			t.Fatalf("logout: %d: %s", a.status, a.body)
		}
		last := signIn(t, s)
		s.Kill9()
		s.Restart()

		for i, token := range append(alive, last) {
			if got := whoami(t, s, "X-Session-Token: "+token); got != 200 {
				t.Errorf("session %d was lost: %d", i, got)
			}
		}
		for i, token := range ended {
			if got := whoami(t, s, "X-Session-Token: "+token); got != 401 {
				t.Errorf("revoked session %d came back: %d", i, got)
			}
		}
		if got := whoami(t, s, "Cookie: "+browser); got != 401 {
			t.Errorf("the browser's session came back: %d", got)
		}
		// The tombstone is kept, too: a second click is answered like the first.
		if a := call(t, "GET", logout.URL, "", acceptJSON, "Cookie: "+browser); a.status != 204 {
			t.Errorf("the same logout again: %d: %s", a.status, a.body)
		}
	})
}

// TestSecondProcessOnOneFile starts a Caddy on the file of another: it has to
// say so, soon, and leave the first one alone.
func TestSecondProcessOnOneFile(t *testing.T) {
	t.Parallel()
	first := startWith(t, embeddedStore)
	token := signIn(t, first)

	second := prepare(t, serverOptions{
		caddyfile: caddyfile("store embedded " + first.dir + "/sessions.db"),
		files:     map[string]string{"accounts.txt": accountsFile()},
	})
	second.launch()
	select {
	case <-second.exited:
	case <-time.After(startTimeout):
		t.Fatal("the second Caddy waits for the file, and says nothing")
	}
	if second.cmd.ProcessState.ExitCode() == 0 {
		t.Error("the second Caddy ended without an error")
	}
	if !strings.Contains(second.Logs(), "sessions.db: another process has this file open") {
		t.Errorf("want an error that names the file and the reason:\n%s", second.Logs())
	}
	if got := whoami(t, first, "X-Session-Token: "+token); got != 200 {
		t.Errorf("the first Caddy: %d", got)
	}
}
