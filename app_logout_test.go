package caddylogout

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// newLogout makes the handler as Provision would.
func newLogout(t *testing.T, a *testApp, options signout.AppLogout) *signout.Handler {
	t.Helper()
	l, err := signout.New(signout.Options{AppLogout: options}, a.Site)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	return l
}

// legacy is an app with a session of its own and a logout of its own. It clears
// its cookie, sets another one anew, and tries ours.
type legacy struct {
	calls []string
	alive func() bool // whether our session lives when the app gets the request
	seen  []bool
}

func (l *legacy) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	body, _ := io.ReadAll(r.Body)
	l.calls = append(l.calls, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	if l.alive != nil {
		l.seen = append(l.seen, l.alive())
	}
	h := w.Header()
	h.Add("Set-Cookie", "sid=; Path=/legacy; Max-Age=0")
	h.Add("Set-Cookie", "sid=anonymous; Path=/")
	h.Add("Set-Cookie", web.DefaultCookieName+"=evil; Path=/")
	h.Add("Set-Cookie", "theme=dark")
	h.Set("X-App", "yes")
	h.Set("Location", "/app/bye")
	w.WriteHeader(http.StatusFound)
	_, err := io.WriteString(w, "bye")
	return err
}

var _ caddyhttp.Handler = (*legacy)(nil)

// The requests of browsers and other clients, and their outcome.
func TestAppLogoutWhoseWish(t *testing.T) {
	const html = "Accept: text/html"
	tests := map[string]struct {
		method  string
		headers []string
		out     bool // logged out
		status  int
	}{
		"link on a page of the app":        {"GET", []string{html, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: document"}, true, 303},
		"typed":                            {"GET", []string{html, "Sec-Fetch-Site: none", "Sec-Fetch-Dest: document"}, true, 303},
		"form of the app":                  {"POST", []string{html, "Sec-Fetch-Site: same-origin", "Origin: http://app.example"}, true, 303},
		"script of the app":                {"POST", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, true, 204},
		"script of the app, DELETE":        {"DELETE", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, true, 204},
		"older browser, link":              {"GET", []string{html, "Referer: http://app.example/inbox"}, true, 303},
		"older browser, form":              {"POST", []string{html, "Origin: http://app.example"}, true, 303},
		"no browser, POST":                 {"POST", []string{html}, true, 303},
		"no browser, GET":                  {"GET", []string{html}, false, 200},
		"link on another site":             {"GET", []string{html, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: document"}, false, 200},
		"link on a sibling":                {"GET", []string{html, "Sec-Fetch-Site: same-site", "Sec-Fetch-Dest: document"}, false, 200},
		"form on another site":             {"POST", []string{html, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false, 200},
		"form in a sandbox":                {"POST", []string{html, "Origin: null"}, false, 200},
		"older browser, link elsewhere":    {"GET", []string{html, "Referer: http://evil.example/"}, false, 200},
		"older browser, same host, no TLS": {"GET", []string{html, "Referer: https://app.example/"}, false, 200},
		"two answers to where from":        {"GET", []string{html, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, false, 200},
		"script elsewhere":                 {"POST", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, false, 403},
		"JSON client, GET":                 {"GET", []string{"Accept: application/json"}, false, 403},
		"image elsewhere":                  {"GET", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors"}, false, 403},
		"image on a page of the app":       {"GET", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors"}, false, 403},
		"frame on a page of the app":       {"GET", []string{html, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: iframe"}, false, 403},
		"style sheet":                      {"GET", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: style"}, false, 403},
		"prefetch":                         {"GET", []string{html, "Sec-Fetch-Site: same-origin", "Sec-Purpose: prefetch"}, false, 403},
		"prerender":                        {"GET", []string{html, "Sec-Fetch-Site: same-origin", "Sec-Purpose: prefetch;prerender"}, false, 403},
		"older prefetch":                   {"GET", []string{html, "Referer: http://app.example/", "X-Moz: prefetch"}, false, 403},
		"HEAD":                             {"HEAD", []string{html, "Sec-Fetch-Site: same-origin"}, false, 200},
		"early data":                       {"POST", []string{html, "Sec-Fetch-Site: same-origin", "Early-Data: 1"}, false, 425},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			app := &legacy{alive: func() bool { return a.alive(t, c) }}
			l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}})
			r := newRequest(t, test.method, "http://app.example/logout", append(test.headers, sessionCookieLine(c))...)
			w := serve(t, l, r, app.ServeHTTP)
			if w.Code != test.status || a.alive(t, c) == test.out {
				t.Errorf("got %d %q, alive %v", w.Code, w.Body, a.alive(t, c))
			}
			if clears(w) != test.out {
				t.Errorf("cookies %q", w.Header()["Set-Cookie"])
			}
			if !test.out {
				if len(app.calls) > 0 || w.Header()["Set-Cookie"] != nil {
					t.Errorf("the app was asked: %q, cookies %q", app.calls, w.Header()["Set-Cookie"])
				}
				return
			}
			if len(app.calls) != 1 || !app.seen[0] {
				t.Errorf("the app got %q, with our session live %v: want it once, and first", app.calls, app.seen)
			}
			if w.Header().Get("X-App") != "" || strings.Contains(w.Body.String(), "bye") {
				t.Error("the app's answer got through")
			}
			if got := strings.Join(w.Header()["Set-Cookie"], "\n"); strings.Contains(got, "evil") || !strings.Contains(got, "theme=dark") {
				t.Errorf("cookies %q", got)
			}
		})
	}
}

// Without the option the app's logout ends the app's session and leaves ours.
func TestAppLogoutOff(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	app := new(legacy)
	r := newRequest(t, http.MethodGet, "http://app.example/logout", "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
	w := serve(t, newLogout(t, a, signout.AppLogout{}), r, app.ServeHTTP)
	if w.Code != http.StatusFound || len(app.calls) != 1 || !a.alive(t, c) {
		t.Errorf("got %d, calls %q, alive %v", w.Code, app.calls, a.alive(t, c))
	}
}

func TestAppLogoutPaths(t *testing.T) {
	options := signout.AppLogout{
		Paths: []string{"/logout", "/account/signout*"},
		Query: []signout.LogoutQuery{{Path: "/index.php", Values: map[string]string{"action": "logout", "nonce": "*"}}},
	}
	for target, want := range map[string]bool{
		"/logout": true, "/logout?x=y": true, "//logout": true, "/x/../logout": true, "/./logout": true, "/%6cogout": true,
		"/x%2f..%2flogout": true, "/x/%2e%2e/logout": true, "/account/signout": true, "/account/signout/now": true, "/account/signouts": true,
		"/Logout": false, "/logout/": false, "/logout/.": true, "/x/logout": false, "/logout;x": false, "/logouts": false,
		"//x//..//logout": true, "/logout%2f": false, "/%2flogout": true, "/LOGOUT": false, "/account/Signout": false,
		`/x\..\logout`: false, "/x/..%5clogout": false, "/logout%5c": false, "/logout%3bx": false, "/;x/logout": false, "/logout%20": false,
		"/logout%00": false, "/account": false, "/": false, "/%256cogout": false,
		"/index.php?action=logout&nonce=1": true, "/index.php?nonce=&action=logout": true, "/index.php?action=x&action=logout&nonce=1": true,
		"/index.php?%61ction=logout&nonce=1": true, "/index.php?action=logout": false, "/index.php?action=Logout&nonce=1": false,
		"/index.php": false, "/other.php?action=logout&nonce=1": false,
	} {
		t.Run(target, func(t *testing.T) {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			r := newRequest(t, http.MethodGet, "http://app.example"+target, "Accept: text/html", "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
			original := *r.URL
			r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/rewritten", "", "" // by another handler
			request := *r
			request.URL = &original
			r = r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, request))
			app := new(legacy)
			serve(t, newLogout(t, a, options), r, app.ServeHTTP)
			if a.alive(t, c) == want {
				t.Errorf("logged out %v, want %v", !want, want)
			}
			if len(app.calls) != 1 || app.calls[0] != "GET /rewritten " {
				t.Errorf("the app got %q", app.calls)
			}
		})
	}
}

func TestAppLogoutSelfService(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout", "/self-service/*"}})
	w := serve(t, l, newRequest(t, http.MethodGet, "http://app.example/self-service/logout/browser", sessionCookieLine(c), "Accept: application/json"), nil)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), session.LogoutToken(c)) {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestAppLogoutKeepResponse(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}, KeepResponse: true, StripCookies: []signout.StripCookies{{Names: []string{"sid"}}}})
	deadWhenSent := false
	r := newRequest(t, http.MethodGet, "http://app.example/logout", "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
	w := serve(t, l, r, func(w http.ResponseWriter, r *http.Request) error {
		err := new(legacy).ServeHTTP(w, r)
		deadWhenSent = !a.alive(t, c)
		return err
	})
	if w.Code != http.StatusFound || w.Body.String() != "bye" || w.Header().Get("Location") != "/app/bye" || w.Header().Get("X-App") != "yes" {
		t.Errorf("got %d %q %q", w.Code, w.Body, w.Header())
	}
	if !deadWhenSent || !clears(w) {
		t.Errorf("ended before the answer went out: %v; cookies %q", deadWhenSent, w.Header()["Set-Cookie"])
	}
	got := strings.Join(w.Header()["Set-Cookie"], "\n")
	for _, never := range []string{"evil", "anonymous"} {
		if strings.Contains(got, never) {
			t.Errorf("cookies %q", got)
		}
	}
	if !strings.Contains(got, "sid=; Path=/legacy") || !strings.Contains(got, "theme=dark") {
		t.Errorf("what the app deletes, or sets besides, is missing: %q", got)
	}
	// An app that writes nothing has answered 200.
	c, _ = a.signIn(t, "alice", "")
	r = newRequest(t, http.MethodGet, "http://app.example/logout", "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
	w = serve(t, l, r, func(http.ResponseWriter, *http.Request) error { return nil })
	if w.Code != http.StatusOK || a.alive(t, c) || !clears(w) {
		t.Errorf("got %d, alive %v", w.Code, a.alive(t, c))
	}
}

// Our logout is done whatever the app does.
func TestAppLogoutAppFails(t *testing.T) {
	apps := map[string]caddyhttp.HandlerFunc{
		"error": func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(502, errors.New("away")) },
		"status": func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusInternalServerError)
			return nil
		},
		"panic": func(http.ResponseWriter, *http.Request) error { panic("oh") },
		"broken body": func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		},
		"too slow": func(_ http.ResponseWriter, r *http.Request) error {
			<-r.Context().Done()
			return r.Context().Err()
		},
		"hijack": func(w http.ResponseWriter, _ *http.Request) error {
			_, _, err := http.NewResponseController(w).Hijack()
			return err
		},
	}
	for name, app := range apps {
		for _, keep := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", kept"}[keep], func(t *testing.T) {
				a := newTestApp(t, nil)
				c, _ := a.signIn(t, "alice", "")
				l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}, AppTimeout: caddy.Duration(20 * time.Millisecond), KeepResponse: keep})
				w := httptest.NewRecorder()
				r := newRequest(t, http.MethodGet, "http://app.example/logout", "Accept: text/html", "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
				func() {
					defer func() {
						if recovered := recover(); recovered != nil && (!keep || name != "broken body") {
							t.Errorf("panic: %v", recovered)
						}
					}()
					if err := l.ServeHTTP(w, r, app); err != nil {
						t.Error(err)
					}
				}()
				want := http.StatusSeeOther
				switch {
				case keep && name == "status":
					want = http.StatusInternalServerError
				case keep && name == "broken body":
					want = http.StatusOK
				}
				if w.Code != want || a.alive(t, c) || !clears(w) {
					t.Errorf("got %d, alive %v, cookies %q", w.Code, a.alive(t, c), w.Header()["Set-Cookie"])
				}
			})
		}
	}
}

// A person who clicks and closes the window meant it.
func TestAppLogoutClientGone(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	r := newRequest(t, http.MethodGet, "http://app.example/logout", "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
	ctx, cancel := context.WithCancel(r.Context())
	serve(t, newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}}), r.WithContext(ctx), func(_ http.ResponseWriter, r *http.Request) error {
		cancel()
		return r.Context().Err()
	})
	if a.alive(t, c) {
		t.Error("the session lives on")
	}
}

func TestAppLogoutOutage(t *testing.T) {
	for _, test := range []struct {
		name             string
		keep, journal    bool
		accept           string
		status           int
		cleared, pending bool
	}{
		{"browser", false, false, "text/html", 503, false, false},
		{"browser, kept", true, false, "text/html", 503, false, false},
		{"JSON", false, false, "application/json", 503, false, false},
		{"journal", false, true, "text/html", 202, true, true},
		{"journal, kept", true, true, "text/html", 202, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newTestApp(t, nil)
			if test.journal {
				a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
			}
			c, _ := a.signIn(t, "alice", "")
			bringBack := a.takeStoreAway()
			app := new(legacy)
			l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}, KeepResponse: test.keep})
			r := newRequest(t, http.MethodGet, "http://app.example/logout", "Accept: "+test.accept, "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
			w := serve(t, l, r, app.ServeHTTP)
			if w.Code != test.status || clears(w) != test.cleared || strings.Contains(w.Body.String(), "bye") {
				t.Errorf("got %d %q, cookies %q", w.Code, w.Body, w.Header()["Set-Cookie"])
			}
			if !test.cleared && w.Header()["Set-Cookie"] != nil {
				t.Errorf("cookies were touched: %q", w.Header()["Set-Cookie"])
			}
			if len(app.calls) != 1 {
				t.Errorf("the app was asked %d times", len(app.calls))
			}
			if got := a.IsPending(session.KeyOf(c.Secret())); got != test.pending {
				t.Errorf("pending %v", got)
			}
			bringBack()
		})
	}
}

func TestAppLogoutReturn(t *testing.T) {
	tests := map[string]struct{ returnURL, query, want string }{
		"default":               {"", "", "http://app.example/welcome"},
		"asked for":             {"", "?return_to=%2Fbye", "http://app.example/bye"},
		"asked for, elsewhere":  {"", "?return_to=https%3A%2F%2Fevil.example", "http://app.example/welcome"},
		"configured":            {"/goodbye", "?return_to=%2Fbye", "http://app.example/goodbye"},
		"configured, elsewhere": {"https://www.example.com/", "", "https://www.example.com/"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, func(a *App) { a.DefaultReturnURL = "/welcome" })
			l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}, ReturnURL: test.returnURL})
			c, _ := a.signIn(t, "alice", "")
			r := newRequest(t, http.MethodGet, "http://app.example/logout"+test.query, "Accept: text/html", "Sec-Fetch-Site: none", sessionCookieLine(c))
			if got := serve(t, l, r, new(legacy).ServeHTTP).Header().Get("Location"); got != test.want {
				t.Errorf("sent to %q", got)
			}
		})
	}
}

// Every session of the request ends: a cookie that a sibling host has set must not be
// the only one to go.
func TestAppLogoutTossedCookie(t *testing.T) {
	a := newTestApp(t, nil)
	mine, _ := a.signIn(t, "alice", "")
	tossed, _ := a.signIn(t, "mallory", "")
	r := newRequest(t, http.MethodGet, "http://app.example/logout", "Sec-Fetch-Site: none",
		"Cookie: "+web.DefaultCookieName+"="+tossed.Secret()+"; "+web.DefaultCookieName+"="+mine.Secret()+"; "+web.DefaultCookieName+"=garbage")
	w := serve(t, newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}}), r, new(legacy).ServeHTTP)
	if a.alive(t, mine) || a.alive(t, tossed) || !clears(w) {
		t.Errorf("mine lives %v, the tossed one %v", a.alive(t, mine), a.alive(t, tossed))
	}
}

// A client without a session of ours may have one of the app's: the gate lets the
// logout through, but no path or header beyond that.
func TestAppLogoutWithoutSession(t *testing.T) {
	tests := map[string]struct {
		target string
		header string
		passes bool
	}{
		"as configured":     {"/logout", "X-A: b", true},
		"with a query":      {"/logout?a=b", "X-A: b", true},
		"dot segments":      {"/admin/../logout", "X-A: b", false},
		"encoded":           {"/%6cogout", "X-A: b", false},
		"below an asterisk": {"/signout/..;/admin", "X-A: b", false},
		"by query":          {"/index.php?action=logout", "X-A: b", false},
		"another path":      {"/logout", "X-Original-URL: /admin", true},
		"another method":    {"/logout", "X_HTTP_Method.Override: PUT", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			gate := newGate(t, a, gate.Options{})
			var p passed
			next := func(w http.ResponseWriter, r *http.Request) error {
				return gate.ServeHTTP(w, r, caddyhttp.HandlerFunc(p.next))
			}
			l := newLogout(t, a, signout.AppLogout{
				Paths: []string{"/logout", "/signout*"}, Query: []signout.LogoutQuery{{Path: "/index.php", Values: map[string]string{"action": "logout"}}},
				StripCookies: []signout.StripCookies{{Names: []string{"sid"}}},
			})
			r := newRequest(t, http.MethodGet, "http://app.example"+test.target, "Accept: text/html", "Sec-Fetch-Site: none", test.header, "Cookie: sid=1; "+web.DefaultCookieName+"=dead")
			w := serve(t, l, r, next)
			if w.Code != http.StatusSeeOther || !clears(w) || !strings.Contains(strings.Join(w.Header()["Set-Cookie"], "\n"), "sid=;") {
				t.Errorf("got %d, cookies %q", w.Code, w.Header()["Set-Cookie"])
			}
			if (p.header != nil) != test.passes {
				t.Fatalf("the app was reached: %v", p.header != nil)
			}
			if test.passes && (p.header.Get("Cookie") != "sid=1" || len(p.header) > 3) {
				t.Errorf("the app got %q", p.header)
			}
			// The gate refuses all other paths.
			p.header = nil
			serve(t, gate, newRequest(t, http.MethodGet, "http://app.example/logout", "Accept: text/html"), p.next)
			if p.header != nil {
				t.Error("the gate is open without a logout")
			}
		})
	}
}

// The page that asks first, and what its button does.
func TestAppLogoutConfirm(t *testing.T) {
	tests := map[string]struct {
		method, target, action, forwarded string
		signedIn                          bool
	}{
		"link":             {"GET", "/logout?x=1", "/logout?x=1", "GET /logout?x=1 ", true},
		"form":             {"POST", "/logout", "/logout", "POST /logout ", true},
		"two slashes":      {"GET", "//logout", "/logout", "GET /logout ", true},
		"without sessions": {"GET", "/logout", "/logout", "GET /logout ", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}})
			c, cookie := session.Credential{}, "Cookie: a=b"
			if test.signedIn {
				c, _ = a.signIn(t, "alice", "")
				cookie = sessionCookieLine(c)
			}
			app := new(legacy)
			r := newRequest(t, test.method, "http://app.example"+test.target, "Accept: text/html", "Sec-Fetch-Site: cross-site", cookie)
			w := serve(t, l, r, app.ServeHTTP)
			page := &loginAnswer{body: w.Body.String()}
			action, fields := page.form(t)
			if w.Code != http.StatusOK || action != test.action || len(app.calls) != 0 {
				t.Fatalf("got %d, form to %q, app %q", w.Code, action, app.calls)
			}
			if !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") || w.Header().Get("X-Frame-Options") != "DENY" {
				t.Error("the page can be framed")
			}
			if test.signedIn != (fields.Get("logout_token") == session.LogoutToken(c)) {
				t.Errorf("fields %q", fields)
			}
			fields.Set("logout_method", test.method) // the button's value
			send := func(fields url.Values, headers ...string) *httptest.ResponseRecorder {
				body := fields.Encode()
				r := newRequest(t, http.MethodPost, "http://app.example"+action, append(headers, "Accept: text/html", "Content-Type: application/x-www-form-urlencoded", cookie)...)
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				return serve(t, l, r, app.ServeHTTP)
			}
			// The button of a page on another site.
			forged := url.Values{"logout_method": {"GET"}, "logout_token": {"ory_lo_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}
			if w := send(forged, "Origin: https://evil.example"); w.Code != http.StatusOK || len(app.calls) > 0 {
				t.Errorf("forged: got %d", w.Code)
			}
			headers := []string{"Origin: http://app.example"}
			if test.signedIn {
				headers = []string{"Origin: null"} // the token alone is enough
			}
			if w := send(fields, headers...); w.Code != http.StatusSeeOther || !slices.Equal(app.calls, []string{test.forwarded}) {
				t.Errorf("got %d, app %q", w.Code, app.calls)
			}
			if test.signedIn && a.alive(t, c) {
				t.Error("the session lives on")
			}
		})
	}
}

// A form of the app reaches the app as it was.
func TestAppLogoutBodyPasses(t *testing.T) {
	for _, body := range []string{"_csrf=1&logout_token=x", strings.Repeat("a", signout.MaxConfirmation), strings.Repeat("a", signout.MaxConfirmation+1), "%zz"} {
		a := newTestApp(t, nil)
		app := new(legacy)
		r := newRequest(t, http.MethodPost, "http://app.example/logout", "Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		serve(t, newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}}), r, app.ServeHTTP)
		if !slices.Equal(app.calls, []string{"POST /logout " + body}) {
			t.Errorf("the app got %q", app.calls)
		}
	}
}

// JSON clients learn the right request, and it works.
func TestAppLogoutJSONRefusal(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}})
	w := serve(t, l, newRequest(t, http.MethodGet, "http://app.example/logout", "Accept: application/json", sessionCookieLine(c)), nil)
	var answer struct {
		Error struct {
			ID      string            `json:"id"`
			Details map[string]string `json:"details"`
		} `json:"error"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Error.ID != "security_csrf_violation" {
		t.Fatalf("got %d %q", w.Code, w.Body)
	}
	w = serve(t, l, newRequest(t, http.MethodGet, answer.Error.Details["logout_url"], "Accept: application/json", sessionCookieLine(c)), nil)
	if w.Code != http.StatusNoContent || a.alive(t, c) {
		t.Errorf("got %d, alive %v", w.Code, a.alive(t, c))
	}
}

func TestAppFirstOff(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	off := false
	app := new(legacy)
	r := newRequest(t, http.MethodGet, "http://app.example/logout", "Accept: text/html", "Sec-Fetch-Site: none", sessionCookieLine(c))
	w := serve(t, newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}, AppFirst: &off}), r, app.ServeHTTP)
	if w.Code != http.StatusSeeOther || len(app.calls) != 0 || a.alive(t, c) || !clears(w) {
		t.Errorf("got %d, app %q, alive %v", w.Code, app.calls, a.alive(t, c))
	}
}
