// This file starts headless Chromium and says in a few words what a person does
// with it.

package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

const (
	patience     = 60 * time.Second // on a busy machine
	pollInterval = 25 * time.Millisecond
)

func fromEnv(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: it says what to test against", name)
	}
	return value
}

// browser is a window with cookies of its own.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string // of the server under test
	name string // of the account
	// plain says that there is no JavaScript in this window.
	plain bool
}

// chromium starts the one process whose windows all tests share.
var chromium = sync.OnceValues(func() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w: try apt-get install chromium", err)
	}
	data, err := os.MkdirTemp("", "caddy-logout-chromium-")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // in containers, as root
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.UserDataDir(data),
	)
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	stopChromium = func() {
		_ = chromedp.Cancel(ctx) // waits for the process, whose files are then removed
		cancel()
		cancelAllocator()
		_ = os.RemoveAll(data)
	}
	_, err = chromedp.Run(ctx, chromedp.Navigate("about:blank"))
	return ctx, err
})

var stopChromium = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopChromium()
	os.Exit(code)
}

// open opens a window with nothing in it.
func open(t *testing.T, base string) browser {
	t.Helper()
	process, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(process, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := browser{t: t, ctx: ctx, base: base, name: fromEnv(t, "CADDY_LOGOUT_ACCOUNT")}
	// The first of all must not run under a deadline: it would be that of the
	// window, which lives on.
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("open a window: %v", err)
	}
	// Windows that are not in front have the keyboard, too.
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	return b
}

// another is a second browser: its cookies are its own.
func (b browser) another() browser {
	b.t.Helper()
	other := open(b.t, b.base)
	other.name = b.name
	return other
}

// do runs actions within reason.
func (b browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for _, action := range actions {
		if _, err := chromedp.Run(ctx, action); err != nil {
			b.t.Fatalf("%s: %v", what, err)
		}
	}
}

// call sends a command of the DevTools protocol.
func call[P, R any](b browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (R, error) {
		return cdp.Call(ctx, t, command, params)
	})
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// tryEval evaluates an expression in the page; pages that are just going answer
// nothing.
func (b browser) tryEval(expression string) string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		return ""
	}
	return value
}

// page is where the browser is and what a person reads there.
type page struct {
	URL   string `json:"url"`
	Text  string `json:"text"`
	Ready bool   `json:"ready"`
}

func (b browser) page() page {
	var p page
	raw := b.tryEval(`JSON.stringify({url: location.href, text: document.body ? document.body.innerText : "", ready: document.readyState == "complete"})`)
	_ = json.Unmarshal([]byte(raw), &p) // a page that is just going: not ready
	return p
}

// until waits for a page.
func (b browser) until(what string, ok func(page) bool) page {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		p := b.page()
		if p.Ready && ok(p) {
			return p
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not within %v; the browser is at %s and shows\n%s", what, patience, p.URL, p.Text)
		}
		<-time.After(pollInterval)
	}
}

func (b browser) sees(text string) page {
	b.t.Helper()
	return b.until("a page with "+text, func(p page) bool { return strings.Contains(p.Text, text) })
}

func (b browser) visit(address string) {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.base + address
	}
	b.do("visit "+address, chromedp.Navigate(address))
}

// click clicks with the mouse on what a CSS selector finds.
func (b browser) click(selector string) {
	b.t.Helper()
	b.do("click on "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// signIn signs in by the form that the gate leads to.
func (b browser) signIn(path string) {
	b.t.Helper()
	b.visit(path)
	b.sees("Sign in")
	b.do("fill in the form",
		chromedp.SendKeys(chromedp.CSS("#identifier"), b.name),
		chromedp.SendKeys(chromedp.CSS("#password"), fromEnv(b.t, "CADDY_LOGOUT_PASSWORD")))
	b.click("button[type=submit]")
	b.sees("private page of")
}

// signedIn asks for a page of the app, which the gate answers instead if there
// is no session.
func (b browser) signedIn() bool {
	b.t.Helper()
	b.visit("/app/page")
	p := b.until("the app or the form", func(p page) bool {
		return strings.Contains(p.Text, "private page of") || strings.Contains(p.Text, "Sign in")
	})
	return strings.Contains(p.Text, "private page of")
}

// credential is the session cookie, as the browser keeps it.
func (b browser) credential() string {
	b.t.Helper()
	for _, cookie := range call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{b.base + "/"}}).Cookies {
		if cookie.Name == "ory_kratos_session" {
			return cookie.Value
		}
	}
	return ""
}

// whoami asks the server what a credential is worth, past the browser.
func (b browser) whoami(credential string) int {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+"/sessions/whoami", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("X-Session-Token", credential)
	r.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// scripts turns JavaScript on or off, for pages; what this file evaluates still
// runs.
func (b browser) scripts(on bool) {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// size makes the window a phone or a desktop; more are media features such as
// "forced-colors: active".
func (b browser) size(width, height int64, scale float64, colours string, more ...string) {
	b.t.Helper()
	b.do("resize", chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}
	for _, feature := range more {
		name, value, _ := strings.Cut(feature, ": ")
		features = append(features, &emulation.MediaFeature{Name: name, Value: value})
	}
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
}

// fits reports what is too wide for the window, or too small for a thumb.
func (b browser) fits() {
	b.t.Helper()
	wide := b.tryEval(`document.documentElement.scrollWidth > innerWidth ? "wide" : "fits"`)
	if wide != "fits" {
		b.t.Errorf("%s: the page is wider than the window: %q", b.page().URL, wide)
	}
	small := b.tryEval(`"small: " + [...document.querySelectorAll("button, input:not([type=hidden]), a")]
		.filter(e => getComputedStyle(e).display != "inline") // links in a sentence are as high as the sentence
		.filter(e => e.getBoundingClientRect().height < 44 || e.getBoundingClientRect().width < 44).map(e => e.outerHTML).join()`)
	if small != "small: " {
		b.t.Errorf("%s: too small for a thumb: %s", b.page().URL, small)
	}
}

// otherSite serves one page on another site: 127.0.0.1, while the server under
// test is localhost.
func otherSite(t *testing.T, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!doctype html><title>other</title>" + body))
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil || u.Hostname() != "127.0.0.1" {
		t.Fatalf("the other site is at %s", server.URL)
	}
	return server.URL + "/"
}
