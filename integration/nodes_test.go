package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// TestTwoNodes signs in on one node and out on the other. The one that has answered a
// logout refuses from then on; the other one as soon as Redis has notified it, and
// from then on too.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	store := patientRedis(redistest.Start(t))
	one, two := startWith(t, store), startWith(t, store)
	browser, app := signInBrowser(t, one), signIn(t, one)
	for _, node := range []*caddyServer{one, two} {
		if got := whoami(t, node, "Cookie: "+browser); got != 200 {
			t.Fatalf("whoami: %d", got)
		}
	}

	logout := createLogout(t, one, browser, "")
	path := strings.TrimPrefix(logout.URL, one.URL(""))
	if again := createLogout(t, two, browser, ""); again.Token != logout.Token {
		t.Error("two nodes make two logout tokens of one session")
	}
	for i, node := range []*caddyServer{two, one, two} {
		a := call(t, "GET", node.URL(path), "", acceptBrowser, "Cookie: "+browser)
		if a.status != 303 || a.header.Get("Location") != appURL+"/login" {
			t.Errorf("logout %d: %d to %q", i+1, a.status, a.header.Get("Location"))
		}
		for _, other := range []*caddyServer{node, one, two} {
			if i == 0 && other == one {
				eventually(t, "the other node has heard of the logout", func() bool { return whoami(t, one, "Cookie: "+browser) == 401 })
			}
			if got := whoami(t, other, "Cookie: "+browser); got != 401 {
				t.Errorf("whoami after logout %d: %d", i+1, got)
			}
			if a := call(t, "GET", other.URL("/app/page"), "", acceptJSON, "Cookie: "+browser); a.status != 401 {
				t.Errorf("the gate after logout %d: %d", i+1, a.status)
			}
		}
	}
	if got := whoami(t, two, "X-Session-Token: "+app); got != 200 {
		t.Errorf("another session of the same person: %d", got)
	}
}

// TestSecondTabOnTwoNodes follows one logout URL in two tabs of a browser: the
// second one has no cookie any more.
func TestSecondTabOnTwoNodes(t *testing.T) {
	t.Parallel()
	store := patientRedis(redistest.Start(t))
	one, two := startWith(t, store), startWith(t, store)
	browser := signInBrowser(t, one)
	logout := createLogout(t, one, browser, "")
	path := strings.TrimPrefix(logout.URL, one.URL(""))
	for _, node := range []*caddyServer{one, two} {
		if a := call(t, "GET", node.URL(path), "", acceptJSON); a.status != 401 {
			t.Errorf("a session that lives, without its cookie: %d", a.status)
		}
	}
	first := call(t, "GET", two.URL(path), "", acceptBrowser, "Cookie: "+browser)
	if first.status != 303 || first.header.Get("Set-Cookie") == "" {
		t.Fatalf("first tab: %d %q", first.status, first.header)
	}
	for i, node := range []*caddyServer{two, one, two, one} {
		// The other node learns of it a moment later.
		var second answer
		eventually(t, "the second tab is answered as the first", func() bool {
			second = call(t, "GET", node.URL(path), "", acceptBrowser)
			return second.status == 303 && second.header.Get("Location") == first.header.Get("Location")
		})
		if second.header.Get("Set-Cookie") != "" {
			t.Errorf("second tab, time %d: %q", i, second.header)
		}
		if a := call(t, "GET", node.URL(path), "", acceptJSON); a.status != 204 {
			t.Errorf("second tab, a script, time %d: %d", i, a.status)
		}
	}
}

// TestWriteBack writes a session back into Redis after its end, as a program does
// that had it in hand: after a mere deletion it lives again, after a logout not.
func TestWriteBack(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	one, two := startWith(t, patientRedis(redis)), startWith(t, patientRedis(redis))
	header := "X-Session-Token: " + signIn(t, one)
	key := strings.TrimSpace(redis.CLI(t, "--raw", "KEYS", "caddy-logout:session:*"))
	value := strings.TrimSpace(redis.CLI(t, "--raw", "GET", key))
	is := func(when string, want int) {
		t.Helper()
		for _, node := range []*caddyServer{one, two} {
			eventually(t, when, func() bool { return whoami(t, node, header) == want })
		}
	}
	is("signed in", http.StatusOK)
	redis.CLI(t, "DEL", key)
	is("deleted", http.StatusUnauthorized)
	redis.CLI(t, "SET", key, value, "EX", "3600")
	is("deleted and written back", http.StatusOK)

	if a := call(t, http.MethodDelete, two.URL("/self-service/logout/api"), "", header); a.status != http.StatusNoContent {
		t.Fatalf("logout: %d", a.status)
	}
	is("logged out", http.StatusUnauthorized)
	for range 3 {
		redis.CLI(t, "SET", key, value, "EX", "3600")
		for _, node := range []*caddyServer{one, two} {
			if got := whoami(t, node, header); got != http.StatusUnauthorized {
				t.Errorf("logged out and written back: %d", got)
			}
		}
	}
}
