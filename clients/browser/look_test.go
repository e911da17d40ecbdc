// This file looks at every page: in two sizes and two colour schemes, with and
// without JavaScript, with axe-core, and by keyboard alone.

package browser_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	_ "image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// looks are how each page is looked at.
var looks = []struct {
	name          string
	width, height int64
	colours       string
}{
	{"desktop", 1024, 720, "light"},
	{"dark", 1024, 720, "dark"},
	{"phone", 360, 740, "light"},
	{"phone-dark", 360, 740, "dark"},
}

// axe is axe-core, which checks a page against WCAG. It is installed by npm ci.
var axe = sync.OnceValues(func() (string, error) {
	source, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	return string(source), err
})

// violation is what axe-core finds wrong.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

// keep keeps a picture for the documents, if CADDY_LOGOUT_SCREENSHOTS names a
// folder for them.
func (b browser) keep(name string, picture []byte) {
	b.t.Helper()
	folder := os.Getenv("CADDY_LOGOUT_SCREENSHOTS")
	if folder == "" || b.plain {
		return
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o600); err != nil {
		b.t.Error(err)
	}
}

// check looks at the page that is shown, in every way, and returns how it looks.
func (b browser) check(name, title string) map[string][]byte {
	b.t.Helper()
	if got := b.tryEval("document.title"); got != title {
		b.t.Errorf("%s: the title is %q, want %q", name, got, title)
	}
	pictures := make(map[string][]byte)
	grounds := make(map[string]string)
	if !b.plain {
		b.load()
	}
	for _, look := range looks {
		b.size(look.width, look.height, 1, look.colours)
		b.fits()
		grounds[look.colours] = b.tryEval(`getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector("h1")).color`)
		if b.plain {
			continue // axe-core is JavaScript, and finds what it found with it
		}
		raw := b.run(`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
			.then(found => JSON.stringify({passes: found.passes.length, violations: found.violations, undecided: found.incomplete}))`)
		var found struct {
			Passes                int
			Violations, Undecided []violation
		}
		if err := json.Unmarshal([]byte(raw), &found); err != nil || found.Passes < 10 {
			b.t.Fatalf("%s-%s: axe-core did not run: %v: %s", name, look.name, err, raw)
		}
		for _, v := range append(found.Violations, found.Undecided...) {
			b.t.Errorf("%s-%s: %s: %s: %+v", name, look.name, v.ID, v.Help, v.Nodes)
		}
		picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			b.t.Fatalf("%s-%s: %v", name, look.name, err)
		}
		size, _, err := image.DecodeConfig(bytes.NewReader(picture))
		if err != nil || int64(size.Width) != look.width || int64(size.Height) != look.height {
			b.t.Errorf("%s-%s: a picture of %dx%d, %v", name, look.name, size.Width, size.Height, err)
		}
		pictures[look.name] = picture
	}
	if grounds["light"] == grounds["dark"] {
		b.t.Errorf("%s: it looks the same in the dark: %s", name, grounds["dark"])
	}
	b.size(1024, 720, 1, "light", "forced-colors: active", "prefers-reduced-motion: reduce")
	bare := b.tryEval(`"bare: " + [...document.querySelectorAll(".button")].filter(e => {
		const style = getComputedStyle(e)
		return style.borderTopStyle != "solid" || style.borderTopColor == "rgba(0, 0, 0, 0)" || style.transitionDuration != "0s"
	}).map(e => e.outerHTML).join()`)
	if bare != "bare: " {
		b.t.Errorf("%s: without an edge in forced colours, or moving: %s", name, bare)
	}
	b.size(1024, 720, 1, "light")
	return pictures
}

// show checks a page, and keeps how it looks for the documents.
func (b browser) show(name, title string) map[string][]byte {
	b.t.Helper()
	pictures := b.check(name, title)
	for _, look := range []string{"desktop", "dark", "phone"} {
		b.keep(name+"-"+look, pictures[look])
	}
	return pictures
}

// load brings axe-core into the page.
func (b browser) load() {
	b.t.Helper()
	source, err := axe()
	if err != nil {
		b.t.Fatalf("%v: try npm ci in clients/browser", err)
	}
	if b.tryEval(source+`;typeof axe.run`) != "function" {
		b.t.Fatal("axe-core is not in the page")
	}
}

// run evaluates a promise of a string.
func (b browser) run(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("evaluate: %v", err)
	}
	return value
}

// TestEveryPage walks through all pages, as they look to somebody with and
// without JavaScript. The pictures are those of the first.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, account string
		plain         bool
	}{
		{"with JavaScript", "CADDY_LOGOUT_THIRD_ACCOUNT", false},    // each an account of its own: only these
		{"without JavaScript", "CADDY_LOGOUT_FOURTH_ACCOUNT", true}, // sessions are in the pictures
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := open(t, fromEnv(t, "CADDY_LOGOUT_URL"))
			b.name, b.plain = fromEnv(t, test.account), test.plain
			b.scripts(!test.plain)
			host := strings.TrimPrefix(b.base, "http://")

			b.visit("/members/")
			b.sees("for people who are signed in")
			b.show("unauthorized", "You are not signed in")

			b.visit("/app/page")
			b.sees("Password")
			login := b.show("login", "Sign in · "+host)
			b.fillIn(b.name, "wrong")
			b.click("button[type=submit]")
			b.sees("is wrong")
			b.isDescribed("#password", "The name or the password is wrong")
			b.show("login-refused", "Error: Sign in · "+host)
			b.fillIn(" ", " ") // a browser does not send the form with nothing in it
			b.click("button[type=submit]")
			b.sees("Please enter your name")
			b.isDescribed("#identifier", "Please enter your name")
			b.check("login-empty", "Error: Sign in · "+host)

			b.visit("/self-service/logout?token=wrong")
			b.sees("session_inactive")
			b.show("error", "You are not signed in")

			b.signIn("/app/page")
			other := b.another()
			call(other, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{
				UserAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
			})
			other.signIn("/app/page")
			b.visit("/account/sessions")
			b.sees("Safari on iPhone")
			sessions := b.show("sessions", "Where you are signed in")

			b.visit(otherSite(t, `<a id="go" href="`+b.base+`/leave">go</a>`))
			b.click("#go")
			b.sees("Do you want to sign out?")
			b.show("confirm", "Sign out?")
			b.click("button")
			b.sees("You are signed out")
			if b.credential() != "" {
				t.Error("the cookie is still there")
			}
			signedOut := b.show("signed-out", "Signed out")

			b.base = fromEnv(t, "CADDY_LOGOUT_URL_AWAY")
			b.bring("ory_st_" + strings.Repeat("a", 32)) // the store cannot look it up
			b.visit("/app/page")
			b.sees("session_store_unavailable")
			b.check("away", "Temporarily unavailable")
			b.bring(fromEnv(t, "CADDY_LOGOUT_AWAY_CREDENTIAL"))
			b.visit(fromEnv(t, "CADDY_LOGOUT_AWAY_LOGOUT"))
			b.sees("You are being signed out")
			b.show("pending", "Signing out")

			b.base = fromEnv(t, "CADDY_LOGOUT_URL_DEMO")
			b.visit("/")
			b.sees("Password")
			b.fillIn("demo", "demo-password")
			b.click("button[type=submit]")
			b.sees("Hello, demo.")
			b.show("demo", "Demo app")

			if test.plain {
				return
			}
			b.keep("pages", b.sideBySide(login["phone"], sessions["phone-dark"], signedOut["phone"]))
		})
	}
}

// sideBySide makes one picture of several of phones.
func (b browser) sideBySide(pictures ...[]byte) []byte {
	b.t.Helper()
	var markup strings.Builder
	markup.WriteString(`<body style="margin:0;height:100vh;display:flex;gap:40px;align-items:center;justify-content:center;background:linear-gradient(135deg,#dfe7f6,#e8e3f4)">`)
	for _, picture := range pictures {
		markup.WriteString(`<img style="height:600px;border-radius:28px;border:8px solid #16202c;box-shadow:0 16px 40px rgb(22 32 44 / 25%)" alt="" src="data:image/png;base64,` +
			base64.StdEncoding.EncodeToString(picture) + `">`)
	}
	b.visit(otherSite(b.t, markup.String()))
	b.until("the pictures", func(page) bool {
		return b.tryEval(`String([...document.images].every(i => i.complete && i.naturalWidth > 0))`) == "true"
	})
	b.size(1100, 680, 1, "light")
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	return picture
}

// bring puts a credential into the cookie.
func (b browser) bring(credential string) {
	b.t.Helper()
	call(b, network.SetCookie, network.SetCookieParams{Name: "ory_kratos_session", Value: credential, URL: b.base + "/"})
}

func (b browser) fillIn(name, password string) {
	b.t.Helper()
	b.do("fill in the form",
		chromedp.SetValue(chromedp.CSS("#identifier"), name), chromedp.SetValue(chromedp.CSS("#password"), password))
}

// isDescribed checks that what is wrong with a field is tied to it.
func (b browser) isDescribed(field, want string) {
	b.t.Helper()
	got := b.tryEval(`(document.getElementById(document.querySelector("` + field + `").getAttribute("aria-describedby")) || {}).textContent || ""`)
	if !strings.Contains(got, want) {
		b.t.Errorf("%s is described by %q, want %q", field, got, want)
	}
}

// TestKeyboard signs in and out with the keyboard alone, and sees where it is.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	b := open(t, fromEnv(t, "CADDY_LOGOUT_URL"))
	b.name = fromEnv(t, "CADDY_LOGOUT_FIFTH_ACCOUNT")
	signIn := func() {
		t.Helper()
		b.visit("/app/page")
		b.sees("Password")
		b.focused("#identifier") // by itself
		b.do("type", chromedp.KeyEvent(b.name), chromedp.KeyEvent(kb.Tab))
		b.focused("#password")
		b.do("type", chromedp.KeyEvent("wrong"), chromedp.KeyEvent(kb.Enter))
		b.sees("is wrong")
		b.focused("#password") // the name is there already
		b.do("type", chromedp.KeyEvent(fromEnv(t, "CADDY_LOGOUT_PASSWORD")), chromedp.KeyEvent(kb.Tab))
		b.focused("button[type=submit]")
		b.do("press", chromedp.KeyEvent(kb.Enter))
		b.sees("private page of")
	}
	signIn()
	b.do("press", chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.sees("You are signed out")
	b.do("press", chromedp.KeyEvent(kb.Tab))
	b.focused("a.button")

	signIn()
	b.visit("/account/sessions")
	b.sees("This device")
	b.do("press", chromedp.KeyEvent(kb.Tab))
	b.focused("#end-0")
	b.do("press", chromedp.KeyEvent(kb.Tab))
	b.focused("button[value=all]")
	b.do("press", chromedp.KeyEvent(" "))
	b.sees("You are signed out")

	signIn()
	b.visit(otherSite(t, `<a id="go" href="`+b.base+`/leave">go</a>`))
	b.click("#go")
	b.sees("Do you want to sign out?")
	b.do("press", chromedp.KeyEvent(kb.Tab))
	b.focused("button")
	b.do("press", chromedp.KeyEvent(kb.Tab))
	b.focused("a.button")
	b.do("press", chromedp.KeyEvent(kb.Enter)) // stay
	b.until("a page of the site", func(p page) bool { return strings.HasPrefix(p.URL, b.base) && !strings.Contains(p.URL, "/leave") })
	if !b.signedIn() {
		t.Error("who wanted to stay is signed out")
	}
}

// focused waits until an element has the focus, and checks that this is seen.
func (b browser) focused(selector string) {
	b.t.Helper()
	quoted, _ := json.Marshal(selector)
	seen := ""
	b.until("the focus on "+selector, func(page) bool {
		seen = b.tryEval(fmt.Sprintf(`(() => {
			const e = document.activeElement
			if (!e.matches(%s)) return "elsewhere"
			const style = getComputedStyle(e)
			return style.outlineStyle + " " + parseFloat(style.outlineWidth) + "px"
		})()`, quoted))
		return seen != "elsewhere" && seen != ""
	})
	if seen != "solid 3px" {
		b.t.Errorf("the focus on %s is marked by %s", selector, seen)
	}
}
