package caddylogout

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

const donePage = siteURL + web.DonePath

// goesThere are the headers of a browser that opens a page.
var goesThere = []string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate"}

func TestSignedOutPage(t *testing.T) {
	a := newTestApp(t, func(a *App) { a.DefaultReturnURL = web.DonePath })
	h := &signout.Handler{Site: a.Site}
	c, _ := a.signIn(t, "alice", "")

	w := serve(t, h, newRequest(t, http.MethodGet, donePage, append(goesThere, sessionCookieLine(c))...), nil)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("signed in: got %d %q", w.Code, w.Header())
	}
	w = serve(t, h, newRequest(t, http.MethodGet, donePage, goesThere...), nil)
	body := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("signed out: got %d %q", w.Code, w.Header())
	}
	for _, want := range []string{"<h1>You are signed out</h1>", `href="/"`, `<img class="unseen" src="` + web.DonePath + `"`} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %s in\n%s", want, body)
		}
	}
	a.advance(defaultLifespan)
	w = serve(t, h, newRequest(t, http.MethodGet, donePage, append(goesThere, sessionCookieLine(c))...), nil)
	if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("with a dead cookie: got %d %q", w.Code, w.Header())
	}
}

// TestSignedOutPageSaysNothingUntrue opens the page during an outage, when it must
// not say that the person is signed out.
func TestSignedOutPageSaysNothingUntrue(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	a.takeStoreAway()
	w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, donePage, append(goesThere, sessionCookieLine(c))...), nil)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Set-Cookie") != "" || strings.Contains(w.Body.String(), "You are signed out") {
		t.Errorf("got %d %q\n%s", w.Code, w.Header(), w.Body)
	}
}

// TestPictureOrPage distinguishes requests for the image of a signed-out page from
// navigations to the page.
func TestPictureOrPage(t *testing.T) {
	a := newTestApp(t, func(a *App) { a.Prefix = "/.ory" })
	for name, test := range map[string]struct {
		method  string
		headers []string
		page    bool
	}{
		"a browser":                        {http.MethodGet, goesThere, true},
		"its HEAD":                         {http.MethodHead, goesThere, true},
		"one without fetch metadata":       {http.MethodGet, []string{"Accept: text/html,*/*;q=0.8"}, true},
		"a picture":                        {http.MethodGet, []string{"Accept: image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Dest: image"}, false},
		"one from a sloppy script":         {http.MethodGet, []string{"Accept: text/html", "Sec-Fetch-Dest: empty"}, false},
		"a frame":                          {http.MethodGet, []string{"Accept: text/html", "Sec-Fetch-Dest: iframe"}, false},
		"a picture without fetch metadata": {http.MethodGet, []string{"Accept: image/png,*/*;q=0.5"}, false},
		"curl":                             {http.MethodGet, []string{"Accept: */*"}, false},
		"a prefetch":                       {http.MethodGet, append([]string{"Sec-Purpose: prefetch"}, goesThere...), false},
		"a form":                           {http.MethodPost, goesThere, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, test.method, siteURL+"/.ory"+web.DonePath, test.headers...), nil)
			if want := map[bool]int{true: http.StatusOK, false: http.StatusNoContent}[test.page]; w.Code != want {
				t.Errorf("got %d, want %d", w.Code, want)
			}
			if done := strings.Contains(w.Header().Get("Set-Cookie"), signout.DoneCookie+"=1"); done == test.page {
				t.Errorf("the cookie of the picture: %v", done)
			}
			if test.method == http.MethodGet && test.page && !strings.Contains(w.Body.String(), `src="/.ory`+web.DonePath) {
				t.Errorf("the page shows no picture:\n%s", w.Body)
			}
		})
	}
}

// TestHomeIsNotGoodbye checks that no page of ours leads to the signed-out page,
// which would be wrong, and that a logout does.
func TestHomeIsNotGoodbye(t *testing.T) {
	for returnURL, want := range map[string]string{
		"": "/", "/welcome": siteURL + "/welcome", web.DonePath: "/", web.DonePath + "?x": "/", "https://other.example" + web.DonePath: "/",
	} {
		a := newTestApp(t, func(a *App) { a.DefaultReturnURL = returnURL })
		r := newRequest(t, http.MethodGet, siteURL+"/x")
		if got := a.HomeURL(r); got != want && got != siteURL+want {
			t.Errorf("%q: home is %q, want %q", returnURL, got, want)
		}
		if got := a.DefaultLocation(r); !strings.HasSuffix(got, returnURL) {
			t.Errorf("%q: a logout leads to %q", returnURL, got)
		}
	}
}

// TestOwnPagesAreShown replaces a page and texts of an app.
func TestOwnPagesAreShown(t *testing.T) {
	folder := t.TempDir()
	page := `{{define "title"}}mine{{end}}{{define "main"}}<h1>Ciao</h1><a href="{{.Home}}">{{text "signed_out.button"}}</a>{{end}}`
	storetest.NoError(t, os.WriteFile(filepath.Join(folder, "signed_out.html"), []byte(page), 0o600))
	t.Setenv("PAGES_DIR", folder)
	a := newTestApp(t, func(a *App) {
		a.Pages = Pages{Folder: "{env.PAGES_DIR}", Language: "it", Texts: map[string]string{
			"signed_out.button": "Entra", "error.session_inactive": "Sessione scaduta.", "device.browser": "{browser} su {system}",
			"time.now": "adesso", "sessions.signed_in": "entrato {ago}",
		}}
	})
	w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, donePage, goesThere...), nil)
	for _, want := range []string{`<html lang="it">`, "<h1>Ciao</h1>", ">Entra</a>"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("there is no %s in\n%s", want, w.Body)
		}
	}
	c, _, err := a.Issue(t.Context(), manager.NewSession{Identity: "alice", Device: session.Device{UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}})
	storetest.NoError(t, err)
	w = serve(t, pageHandler(a), pageRequest(t, c, nil), nil)
	for _, want := range []string{"Firefox su Linux", ">entrato adesso<"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("there is no %s in\n%s", want, w.Body)
		}
	}
	// The JSON for clients is not for people, and stays as it is.
	w = serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, siteURL+"/sessions/whoami", "Accept: application/json"), nil)
	if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "scaduta") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
