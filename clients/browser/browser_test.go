// This file walks through sign-in, logout and the list of sessions in headless
// Chromium, against a running Caddy that the environment names, and lets other
// sites try what they can.

package browser_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
)

// TestBackShowsNothing signs out and presses back. The first row shows that a browser
// does keep the page, unless a header forbids it. Chromium keeps a page whole in its
// back/forward cache even with no-store, until a cookie changes that scripts cannot
// read: that is what the signed-out page loads its picture for.
func TestBackShowsNothing(t *testing.T) {
	for _, test := range []struct {
		name, path string
		kept       bool
	}{
		{"without no_store", "/kept/page", true},
		{"with no_store", "/app/page", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := open(t, fromEnv(t, "CADDY_LOGOUT_URL"))
			b.signIn(test.path)
			credential := b.credential()
			if got := b.whoami(credential); got != http.StatusOK {
				t.Fatalf("whoami before: %d", got)
			}
			b.click("#sign-out")
			b.sees("You are signed out")
			if got := b.whoami(credential); got != http.StatusUnauthorized {
				t.Errorf("whoami with the old cookie: %d", got)
			}
			b.tryEval("history.back(), 'back'")
			p := b.until("another page", func(p page) bool { return !strings.Contains(p.Text, "You are signed out") && p.Text != "" })
			if kept := strings.Contains(p.Text, "private page of"); kept != test.kept {
				t.Errorf("the app's page is seen: %v, want %v; at %s:\n%s", kept, test.kept, p.URL, p.Text)
			}
			if !test.kept && !strings.Contains(p.URL, "/self-service/login") {
				t.Errorf("back leads to %s", p.URL)
			}
			if b.credential() != "" {
				t.Error("the browser still has a session cookie")
			}
		})
	}
}

// TestOneBrowserEndsTheOther uses the page of one's sessions, without
// JavaScript and on a phone.
func TestOneBrowserEndsTheOther(t *testing.T) {
	t.Parallel()
	b := open(t, fromEnv(t, "CADDY_LOGOUT_URL"))
	b.name = fromEnv(t, "CADDY_LOGOUT_OTHER_ACCOUNT") // no other test is to be signed out
	other := b.another()
	b.size(360, 640, 1, "light")
	b.scripts(false)
	b.signIn("/app/page")
	other.signIn("/app/page")

	b.visit("/account/sessions")
	p := b.sees("This device")
	if strings.Count(p.Text, "Chrome on Linux") < 2 {
		t.Fatalf("want both browsers in the list:\n%s", p.Text)
	}
	b.fits()
	b.click("button[value=others]")
	b.until("the page with one row", func(p page) bool { return strings.Count(p.Text, "Chrome on Linux") == 1 })
	if other.signedIn() {
		t.Error("the other browser is still signed in")
	}
	if !b.signedIn() {
		t.Error("this browser was signed out, too")
	}

	other.signIn("/app/page")
	credential := other.credential()
	b.visit("/account/sessions")
	b.sees("This device")
	b.click("button[value=all]")
	b.sees("You are signed out")
	if b.signedIn() || other.signedIn() {
		t.Error("everywhere was not everywhere")
	}
	if got := b.whoami(credential); got != http.StatusUnauthorized {
		t.Errorf("the other browser's old cookie: %d", got)
	}
}

// TestOtherSitesCannotSignOut lets a page of another site try. The second server
// sends its cookie along everywhere (SameSite=None), so that it is not the
// browser alone that refuses.
func TestOtherSitesCannotSignOut(t *testing.T) {
	for name, env := range map[string]string{"lax": "CADDY_LOGOUT_URL", "none": "CADDY_LOGOUT_URL_NONE"} {
		t.Run("SameSite "+name, func(t *testing.T) {
			t.Parallel()
			base := fromEnv(t, env)
			b := open(t, base)
			b.signIn("/app/page")
			credential := b.credential()
			form := func(path, fields string) string {
				return `<form method="post" action="` + base + path + `">` + fields + `<button id="go">go</button></form>`
			}
			for _, attack := range []struct{ name, body string }{
				{"link", `<a id="go" href="` + base + `/self-service/logout">go</a>`},
				{"link with a made-up token", `<a id="go" href="` + base + `/self-service/logout?token=ory_lo_abcdefghijklmnopqrstuvwxyz234567">go</a>`},
				{"form", form("/self-service/logout", "")},
				{"form for the page of sessions", form("/account/sessions", `<input name="end" value="all"><input name="csrf_token" value="x">`)},
				{"image", `<img id="go" src="` + base + `/self-service/logout" onerror="document.title='done'">`},
				{"frame", `<iframe src="` + base + `/self-service/logout" onload="document.title='done'"></iframe>`},
				{"fetch of the logout URL", `<script>fetch("` + base + `/self-service/logout/browser", {credentials: "include"}).then(r => r.json()).then(j => fetch(j.logout_url, {credentials: "include"})).finally(() => document.title = "done")</script>`},
				{"DELETE of all sessions", `<script>fetch("` + base + `/sessions?all=true", {method: "DELETE", credentials: "include"}).finally(() => document.title = "done")</script>`},
				{"POST without CORS", `<script>fetch("` + base + `/account/sessions", {method: "POST", mode: "no-cors", credentials: "include", body: new URLSearchParams({end: "all"})}).finally(() => document.title = "done")</script>`},
			} {
				b.visit(otherSite(t, attack.body))
				if strings.Contains(attack.body, `id="go"`) && !strings.Contains(attack.body, "<img") {
					b.click("#go")
					b.until("an answer to the "+attack.name, func(p page) bool { return strings.HasPrefix(p.URL, base) })
				} else {
					b.until("the end of the "+attack.name, func(page) bool { return b.tryEval("document.title") == "done" })
				}
				if got := b.whoami(credential); got != http.StatusOK {
					t.Fatalf("%s of another site: the session is gone (%d)", attack.name, got)
				}
				if b.credential() != credential {
					t.Fatalf("%s of another site: the cookie is gone", attack.name)
				}
			}
			if !b.signedIn() {
				t.Error("the browser was signed out")
			}
		})
	}
}

// TestOtherSitesCannotSignIn lets another site sign the browser in to an account
// of its own: it has a flow, its token and the right password.
func TestOtherSitesCannotSignIn(t *testing.T) {
	t.Parallel()
	base := fromEnv(t, "CADDY_LOGOUT_URL")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/self-service/login/browser", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	res, err := (&http.Client{Jar: jar}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var flow struct {
		UI struct {
			Action string
			Nodes  []struct {
				Attributes struct {
					Name  string
					Value any
				}
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&flow); err != nil {
		t.Fatal(err)
	}
	fields := ""
	for name, value := range map[string]string{
		"method": "password", "identifier": fromEnv(t, "CADDY_LOGOUT_ACCOUNT"), "password": fromEnv(t, "CADDY_LOGOUT_PASSWORD"),
	} {
		fields += `<input name="` + name + `" value="` + html.EscapeString(value) + `">`
	}
	for _, node := range flow.UI.Nodes {
		if value, ok := node.Attributes.Value.(string); ok && node.Attributes.Name == "csrf_token" {
			fields += `<input name="csrf_token" value="` + html.EscapeString(value) + `">`
		}
	}
	b := open(t, base)
	b.visit(otherSite(t, `<form method="post" action="`+html.EscapeString(flow.UI.Action)+`">`+fields+`<button id="go">go</button></form>`))
	b.click("#go")
	p := b.until("an answer", func(p page) bool { return strings.HasPrefix(p.URL, base) })
	if !strings.Contains(p.Text, "security_csrf_violation") {
		t.Errorf("the answer is\n%s", p.Text)
	}
	if b.credential() != "" || b.signedIn() {
		t.Error("the browser was signed in")
	}
}

// TestPagesCannotBeFramed puts our pages into a frame of the very same origin,
// where a script can look whether they are there.
func TestPagesCannotBeFramed(t *testing.T) {
	t.Parallel()
	b := open(t, fromEnv(t, "CADDY_LOGOUT_URL"))
	b.signIn("/app/page")
	framed := func(path string) string {
		t.Helper()
		b.visit("/public")
		b.sees("open to all")
		quoted, err := json.Marshal(b.base + path)
		if err != nil {
			t.Fatal(err)
		}
		b.tryEval(`(() => {
			const frame = document.createElement("iframe")
			frame.onload = () => { document.title = frame.contentDocument ? "framed: " + frame.contentDocument.body.innerText : "refused" }
			frame.src = ` + string(quoted) + `
			document.body.append(frame)
			return ""
		})()`)
		title := ""
		b.until("the frame of "+path, func(page) bool {
			title = b.tryEval("document.title")
			return title == "refused" || strings.HasPrefix(title, "framed: ")
		})
		return title
	}
	if got := framed("/public"); got != "framed: open to all" {
		t.Fatalf("a page that may be framed: %q", got)
	}
	for _, path := range []string{
		"/account/sessions", "/self-service/logout?token=wrong", "/self-service/login/browser?refresh=true",
		"/self-service/errors?id=00000000-0000-4000-8000-000000000000",
	} {
		if got := framed(path); got != "refused" {
			t.Errorf("%s: %q", path, got)
		}
	}
	if !b.signedIn() {
		t.Error("the browser was signed out")
	}
}
