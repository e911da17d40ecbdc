package integration_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newApp starts an app that answers with the header lines that reached it.
func newApp(t *testing.T) string {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/app-login" {
			w.Header().Set("X-Signed-In", `{"identity":"dave","traits":{"email":"dave@example.test"}}`)
			w.Header().Set("Location", "/app/")
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		for name, values := range r.Header {
			for _, value := range values {
				_, _ = fmt.Fprintf(w, "%s: %s\n", name, value)
			}
		}
	}))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

// raw sends a request byte by byte as it stands and returns the answer.
func raw(t *testing.T, s *caddyServer, lines ...string) (status int, body string) {
	t.Helper()
	conn := dial(t, s.port)
	defer conn.Close()
	if _, err := fmt.Fprint(conn, strings.Join(lines, "\r\n")+"\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// No spelling of our headers gets to the app, and of the credential nothing;
// every other byte does.
func TestWhatTheAppSees(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore, "handle /open/* {\n session_auth {\n optional\n }\n reverse_proxy "+newApp(t)+"\n }")
	token := signIn(t, s)
	spoofed := []string{
		"GET /open/ HTTP/1.1", "Host: app.example",
		"X-User-Id: root", "x-user-id: root", "X_User_Id: root", "X.User.Id: root", "X-User_Id: root",
		"X-Logout-Url: http://evil.example", "X_Logout_Url: http://evil.example",
		`Cookie: a="b; c";  ory_kratos_session=` + token + `;d=e`, "Cookie: ory_kratos_session=x; f",
		"Connection: X-User-Id, X-Logout-Url, cookie",
		"X-Other: 1",
	}
	for who, credential := range map[string]string{"signed in": token, "anonymous": "gone"} {
		t.Run(who, func(t *testing.T) {
			lines := strings.Split(strings.ReplaceAll(strings.Join(spoofed, "\n"), token, credential), "\n")
			status, got := raw(t, s, lines...)
			if status != 200 {
				t.Fatalf("status %d", status)
			}
			for _, bad := range []string{"root", "evil.example", credential, "ory_kratos_session"} {
				if strings.Contains(got, bad) {
					t.Errorf("%s reached the app:\n%s", bad, got)
				}
			}
			want := []string{`Cookie: a="b; c";d=e`, "Cookie: f", "X-Other: 1"}
			if who == "signed in" {
				want = append(want, "X-User-Id: wire@example.test", "X-Logout-Url: http://app.example/self-service/logout?token=ory_lo_")
			} else if strings.Contains(got, "X-User-Id") || strings.Contains(got, "X-Logout-Url") {
				t.Errorf("the app was told about nobody:\n%s", got)
			}
			for _, line := range want {
				if !strings.Contains(got, line) {
					t.Errorf("%s did not reach the app:\n%s", line, got)
				}
			}
		})
	}
}

// The app's own sign-in page makes the session.
func TestAppSignsIn(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store, "handle /app-login {\n session_auth {\n optional\n issue_on_header X-Signed-In\n }\n reverse_proxy "+newApp(t)+"\n }")
		a := call(t, "POST", s.URL("/app-login"), "user=dave")
		cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
		if a.status != 303 || a.header.Get("X-Signed-In") != "" || !strings.HasPrefix(cookie, "ory_kratos_session=ory_st_") {
			t.Fatalf("answer %d %v", a.status, a.header)
		}
		if a := call(t, "GET", s.URL("/app/"), "", "Cookie: "+cookie); a.status != 200 || a.body != "user dave" {
			t.Errorf("with the cookie: %d %q", a.status, a.body)
		}
	})
}

// The matcher and the expression choose by session, and an outage chooses nothing.
func TestSessionMatchers(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore,
		"@known session", "@named session nobody "+account, "@cel expression session('"+account+"')", "@never expression session('nobody')",
		"header @known X-Known 1", "header @named X-Named 1", "header @cel X-Cel 1", "header @never X-Never 1")
	token := signIn(t, s)
	a := call(t, "GET", s.URL("/"), "", "X-Session-Token: "+token)
	if a.header.Get("X-Known") != "1" || a.header.Get("X-Named") != "1" || a.header.Get("X-Cel") != "1" || a.header.Get("X-Never") != "" {
		t.Errorf("signed in: %v", a.header)
	}
	a = call(t, "GET", s.URL("/"), "")
	if a.header.Get("X-Known") != "" || a.header.Get("X-Named") != "" || a.header.Get("X-Cel") != "" {
		t.Errorf("anonymous: %v", a.header)
	}
}
