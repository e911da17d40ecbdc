package caddylogout

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

// On HTTPS the browser's secret is in a __Host- cookie, which no sibling host can
// set: we ignore what it sets under the plain name.
func TestTossedBrowserCookie(t *testing.T) {
	a := newTestApp(t, func(a *App) { a.BaseURL = "https://app.example" })
	tossed, own := strings.Repeat("a", web.BrowserSecretLength), strings.Repeat("b", web.BrowserSecretLength)
	plain := a.BrowserCookieName(false) + "=" + tossed
	r := newRequest(t, http.MethodGet, "https://app.example/", "Cookie: "+plain)
	if got := a.PresentBrowserCookie(r); got != "" {
		t.Errorf("the tossed cookie counts: %q", got)
	}
	r = newRequest(t, http.MethodGet, "https://app.example/", "Cookie: "+plain+"; "+a.BrowserCookieName(true)+"="+own)
	if got := a.PresentBrowserCookie(r); got != own {
		t.Errorf("got %q, want the browser's own", got)
	}
}

// A client can make up a host: base_url decides whether the logout URL holds it, and
// the URL works on no other host.
func TestMadeUpHost(t *testing.T) {
	for name, test := range map[string]struct {
		base, host, forwarded string
		wantURL               string
		returnTo              string
		allowed               bool
	}{
		"base_url, other host":            {"https://app.example", "evil.example", "", "https://app.example/", "https://evil.example/x", false},
		"base_url, own return URL":        {"https://app.example", "evil.example", "", "https://app.example/", "https://app.example/x", true},
		"no base_url, the host that asks": {"", "app.example", "", "http://app.example/", "http://app.example/x", true},
		"no base_url, X-Forwarded-Host":   {"", "app.example", "evil.example", "http://app.example/", "http://evil.example/x", false},
		"no base_url, another host":       {"", "app.example", "", "http://app.example/", "http://evil.example/x", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, func(a *App) { a.BaseURL = test.base })
			c, _ := a.signIn(t, "alice", "")
			headers := []string{sessionCookieLine(c), "Accept: application/json"}
			if test.forwarded != "" {
				headers = append(headers, "X-Forwarded-Host: "+test.forwarded)
			}
			w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, "http://"+test.host+"/self-service/logout/browser", headers...), nil)
			if !strings.Contains(w.Body.String(), `"logout_url":"`+test.wantURL) {
				t.Errorf("got %s", w.Body)
			}
			w = serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet,
				"http://"+test.host+"/self-service/logout/browser?return_to="+test.returnTo, headers...), nil)
			if allowed := w.Code == http.StatusOK; allowed != test.allowed {
				t.Errorf("return_to %s: %d %s", test.returnTo, w.Code, w.Body)
			}
		})
	}
}
