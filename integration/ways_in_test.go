package integration_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestSessionFixation signs in with a session cookie that an attacker planted:
// one that was made up, and the live one of another person.
func TestSessionFixation(t *testing.T) {
	t.Parallel()
	s := startWith(t, "store embedded {$DIR}/sessions.db")
	madeUp := "ory_st_" + strings.Repeat("a", 32)
	for name, planted := range map[string]string{"made up": madeUp, "somebody's": signIn(t, s)} {
		t.Run(name, func(t *testing.T) {
			flow, cookies := startLogin(t, s, "browser")
			a := call(t, "POST", flow.UI.Action, loginBody(flow.csrfToken()), acceptJSON, sendsJSON,
				"Cookie: "+cookies+"; "+cookieName+"="+planted)
			after := cookieHeader(a)
			if !strings.Contains(after, cookieName+"=ory_st_") {
				t.Fatalf("sign in: %d %s", a.status, a.body)
			}
			if strings.Contains(after, planted) {
				t.Error("the planted credential became the session's")
			}
			if got := whoami(t, s, "X-Session-Token: "+planted); got != http.StatusUnauthorized {
				t.Errorf("whoami with the planted credential: %d", got)
			}
			if got := whoami(t, s, "Cookie: "+after); got != http.StatusOK {
				t.Errorf("whoami after signing in: %d", got)
			}
		})
	}
}

// rawStatus sends a request line as it stands, which no client library would,
// and returns the status of the answer.
func rawStatus(t *testing.T, port, target string, header ...string) int {
	t.Helper()
	conn := dial(t, port)
	defer conn.Close()
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: 127.0.0.1:" + port, "Connection: close", "Accept: application/json"}, header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// TestPathTricks asks for the gated page by other spellings of its path. The one
// site names what is gated, the other what is not: docs/security.md says which
// to write, and why.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "reached "+r.RequestURI)
	}))
	t.Cleanup(app.Close)
	other := freePort(t)
	s := start(t, serverOptions{caddyfile: `{
	default_bind 127.0.0.1
	sessions {
		store embedded {$DIR}/sessions.db
	}
}
http://:{$PORT} {
	logout
	@private path /app /app/*
	session_auth @private
	reverse_proxy {$APP}
}
http://:{$OTHER_PORT} {
	@private not path /public /public/*
	session_auth @private
	reverse_proxy {$APP}
}
`, env: []string{"OTHER_PORT=" + other, "APP=" + app.Listener.Addr().String()}})
	const gated, reached = http.StatusUnauthorized, http.StatusOK
	for _, test := range []struct {
		target                 string
		gateNamed, gateAllElse int
	}{
		{"/app/page", gated, gated},
		{"/app", gated, gated},
		{"/app/", gated, gated},
		{"//app/page", gated, gated},
		{"/app//page", gated, gated},
		{"/./app/page", gated, gated},
		{"/%2e/app/page", gated, gated},
		{"/x/../app/page", gated, gated},
		{"/x/%2e%2e/app/page", gated, gated},
		{"/x/..%2fapp/page", gated, gated},
		{"/%61pp/page", gated, gated},
		{"/app%2fpage", gated, gated},
		{"/%2fapp/page", gated, gated},
		{"/app/./page", gated, gated},
		{"/app/%2e%2e/app/page", gated, gated},
		{"/app/page/", gated, gated},
		{"/app/;x/page", gated, gated},
		{"/app/%5cpage", gated, gated},
		{"/APP/page", gated, gated},
		{"/App/Page", gated, gated},
		{"/app/page?x=/public/", gated, gated},
		{"/public/../app/page", gated, gated},
		{"/public/%2e%2e/app/page", gated, gated},
		{"/public/..%2Fapp/page", gated, gated},
		{"http://127.0.0.1/app/page", gated, gated},

		// Some apps cut path parameters, or take \ for /, and read /app/page
		// here. Who gates all but what is public is safe from the first three.
		{"/app;x=y/page", reached, gated},
		{"/;x/app/page", reached, gated},
		{`/x\..\app/page`, reached, gated},
		{"/app%3bx=y/page", reached, gated},
		{"/app%5cpage", reached, gated},
		{"/app.", reached, gated},
		{"/%2561pp/page", reached, gated}, // decoded twice
		// Here only the app can help: do not let it serve such paths.
		{"/public/..;/app/page", reached, reached},
		{`/public/..\app/page`, reached, reached},
		{"/public/..%5capp/page", reached, reached},
		{"/public/%252e%252e/app/page", reached, reached},
		{"/public", reached, reached},
		{"/public/page", reached, reached},
	} {
		if got := rawStatus(t, s.port, test.target); got != test.gateNamed {
			t.Errorf("gate on /app/*: %s: %d, want %d", test.target, got, test.gateNamed)
		}
		if got := rawStatus(t, other, test.target); got != test.gateAllElse {
			t.Errorf("gate on all but /public/*: %s: %d, want %d", test.target, got, test.gateAllElse)
		}
	}
	// Our own paths are found by the same spellings, and by no others.
	for target, want := range map[string]int{
		"/sessions/whoami": 401, "//sessions/whoami": 401, "/x/../sessions/whoami": 401, "/sessions/%77hoami": 401,
		"/Sessions/whoami": 200, "/sessions/whoami;x": 405, "/sessions;x/whoami": 200,
	} {
		if got := rawStatus(t, s.port, target); got != want {
			t.Errorf("%s: %d, want %d", target, got, want)
		}
	}
}
