package integration_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
)

// TestAttackTerminal signs in with a browser whose name is made of what terminals
// obey, and runs every command that shows it: nothing of that may come out as it is,
// and as JSON the name stays what it was.
func TestAttackTerminal(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	const hostile = "Firefox/1 \u009b2J\u009d0;owned\u009c \u202egnp.exe\u2066 \u2028\ufeff \u0085end"
	a := call(t, "GET", s.URL("/self-service/login/api"), "", acceptJSON)
	var flow loginFlow
	decode(t, a.body, &flow)
	a = call(t, "POST", flow.UI.Action, loginBody(""), acceptJSON, sendsJSON, "User-Agent: "+hostile)
	if a.status != 200 {
		t.Fatalf("sign in: %d %s", a.status, a.body)
	}
	var signedIn struct {
		Session struct {
			ID string `json:"id"`
		} `json:"session"`
	}
	decode(t, a.body, &signedIn)
	id := signedIn.Session.ID
	who := []string{"--address", "{admin}", "--identity", account}
	with := func(args ...string) []string { return append(args, who...) }
	tries, through := 0, 0
	run := func(code int, args ...string) ran {
		t.Helper()
		got := s.wantRan(code, "", args...)
		tries++
		obeyed := func(r rune) bool {
			return r != '\n' && unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) || strings.ContainsRune("\u2028\ufeff", r)
		}
		// Caddy's own log lines have tabs in them; they show nothing of a client's.
		if i := strings.IndexFunc(strings.ReplaceAll(got.out+got.errors, "\t", ""), obeyed); i >= 0 {
			through++
			t.Errorf("caddy sessions %q prints it raw:\n%q", args, got.out+got.errors)
		}
		return got
	}
	run(exitOK, with("list")...)
	run(exitOK, with("show", id)...)
	shown := []string{run(exitOK, with("show", id, "--json")...).out}
	var list struct {
		Sessions []json.RawMessage `json:"sessions"`
	}
	decode(t, run(exitOK, with("list", "--json")...).out, &list)
	for _, session := range list.Sessions {
		shown = append(shown, string(session))
	}
	for _, text := range shown {
		var session struct {
			Devices []struct {
				UserAgent string `json:"user_agent"`
			} `json:"devices"`
		}
		if decode(t, text, &session); len(session.Devices) != 1 || session.Devices[0].UserAgent != hostile {
			t.Errorf("as JSON the name is %+v, want %q", session.Devices, hostile)
		}
	}
	run(exitRefused, with("show", "\u009bid")...)
	run(exitRefused, with("revoke", "\u009bid")...)
	run(exitOK, "list", "--address", "{admin}", "--identity", "\u009bnobody")
	run(exitFailed, "issue", "--address", "{admin}", "--identity", "\u009bnobody")
	run(exitOK, "issue", "--address", "{admin}", "--identity", "bob", "--json")
	run(exitFailed, "check", "--request", "GET http://localhost/\u009b", "--config", s.configFile())
	run(exitFailed, "check", "--json", "--request", "GET http://localhost/\u009b", "--config", s.configFile())
	run(exitOK, with("revoke", id)...)
	attacktest.Report(t, "what terminals obey, in what commands print", tries, through)
}
