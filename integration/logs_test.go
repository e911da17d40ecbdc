package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exampleFilter is the filter of the access log that the quickstart example
// recommends.
func exampleFilter(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "caddyfile-examples", "quickstart.Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(b), "\tlog {\n")
	filter, _, closed := strings.Cut(after, "\n\t}\n")
	if !found || !closed || !strings.Contains(filter, "format filter") {
		t.Fatal("the example has no filtered log any more")
	}
	return filter
}

// TestNoSecretInTheLogs signs in and out in every way, and fails, and then
// looks for every secret of it in all that Caddy wrote.
func TestNoSecretInTheLogs(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store, "log {\n\t\toutput file {$DIR}/access.log\n"+exampleFilter(t)+"\n\t}")
		secrets := map[string]string{"password": password}
		add := func(what, value string) {
			t.Helper()
			if len(value) < 8 {
				t.Fatalf("%s is %q: too short to look for", what, value)
			}
			secrets[what] = value
		}

		flow, cookies := startLogin(t, s, "browser")
		add("CSRF token", flow.csrfToken())
		add("CSRF cookie", valueOf(t, cookies, "csrf_token"))
		wrong := strings.Replace(loginBody(flow.csrfToken()), password, "not-the-"+password, 1)
		call(t, "POST", flow.UI.Action, wrong, acceptJSON, sendsJSON, "Cookie: "+cookies)

		browser := signInBrowser(t, s)
		add("session cookie", valueOf(t, browser, cookieName))
		add("CSRF cookie after sign-in", valueOf(t, browser, "csrf_token"))
		call(t, "GET", s.URL("/app/page"), "", acceptBrowser, "Cookie: "+browser)
		logout := createLogout(t, s, browser, "?return_to="+bye)
		add("logout token", logout.Token)
		call(t, "GET", s.URL("/self-service/logout?token="+logout.Token+"x"), "", acceptBrowser, "Cookie: "+browser)
		call(t, "GET", logout.URL, "", acceptBrowser, "Cookie: "+browser)
		call(t, "GET", logout.URL, "", acceptBrowser, "Cookie: "+browser)

		app := signIn(t, s)
		add("session token", app)
		whoami(t, s, "X-Session-Token: "+app)
		whoami(t, s, "Authorization: Bearer "+app)
		call(t, "DELETE", s.URL("/self-service/logout/api"), `{"session_token":"`+app+`"}`, acceptJSON, sendsJSON)
		call(t, "DELETE", s.URL("/self-service/logout/api"), `{"session_token":"`+app, acceptJSON, sendsJSON)

		admin := call(t, "POST", s.AdminURL("/sessions"), `{"identity":"alice"}`, sendsJSON, "Origin: "+s.AdminURL(""))
		var issued struct {
			SessionToken string `json:"session_token"`
		}
		decode(t, admin.body, &issued)
		add("issued token", issued.SessionToken)
		whoami(t, s, "X-Session-Token: "+issued.SessionToken)

		s.stop() // what it writes last counts, too
		access, err := os.ReadFile(filepath.Join(s.dir, "access.log"))
		if err != nil {
			t.Fatal(err)
		}
		written := map[string]string{"the access log": string(access), "the log": s.Logs()}
		if n := strings.Count(written["the access log"], "/self-service/logout?"); n < 3 {
			t.Errorf("the access log tells of %d logouts, want 3: it cannot show what it does not hold", n)
		}
		if !strings.Contains(written["the log"], `"event":"session_revoked"`) {
			t.Error("the log does not tell of the logout")
		}
		for where, text := range written {
			for what, secret := range secrets {
				if i := strings.Index(text, secret); i >= 0 {
					t.Errorf("%s is in %s: …%s…", what, where, text[max(0, i-160):min(len(text), i+20)])
				}
			}
		}
	})
}

// valueOf returns the value of the first cookie whose name starts with name.
func valueOf(t *testing.T, cookies, name string) string {
	t.Helper()
	for c := range strings.SplitSeq(cookies, "; ") {
		if k, v, _ := strings.Cut(c, "="); strings.HasPrefix(k, name) {
			return v
		}
	}
	t.Fatalf("no cookie %s in %q", name, cookies)
	return ""
}
