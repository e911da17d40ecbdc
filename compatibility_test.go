package caddylogout

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

const (
	browserAccept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
	jsonAccept    = "Accept: application/json"
	siteURL       = "http://app.example"
)

// ask sends a request through the logout handler.
func (a *testApp) ask(t *testing.T, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return serve(t, &signout.Handler{Site: a.Site}, newRequest(t, method, siteURL+target, headers...), nil)
}

// askWithBody is ask with a body.
func (a *testApp) askWithBody(t *testing.T, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := newRequest(t, method, siteURL+target, headers...)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return serve(t, &signout.Handler{Site: a.Site}, r, nil)
}

// alive reports whether a credential is still worth something.
func (a *testApp) alive(t *testing.T, c session.Credential) bool {
	t.Helper()
	found, err := a.Lookup(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return found.Session != nil
}

// errorID returns the id of the error in an answer; the header has to agree.
func errorID(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Error web.Error `json:"error"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("status %d, and the body is not JSON: %q", w.Code, w.Body)
	}
	if header := w.Header().Get("Ory-Error-Id"); header != body.Error.ID || header == "" {
		t.Errorf("error id %q in the body, %q in the header", body.Error.ID, header)
	}
	if body.Error.Code != w.Code {
		t.Errorf("code %d in the body, status %d", body.Error.Code, w.Code)
	}
	return body.Error.ID
}

// clears reports whether an answer makes the browser forget the session cookie.
func clears(w *httptest.ResponseRecorder) bool {
	for _, line := range w.Header()["Set-Cookie"] {
		cookie, err := http.ParseSetCookie(line)
		if err == nil && cookie.Name == web.DefaultCookieName {
			return cookie.Value == "" && cookie.MaxAge < 0
		}
	}
	return false
}

func submitTarget(c session.Credential) string {
	return "/self-service/logout?token=" + session.LogoutToken(c)
}

// The tests whose names begin with TestDiffers show where logout differs from Ory
// Kratos on purpose. docs/ory-compatibility.md names each.

func TestDiffersTheVerifiedSessionEnds(t *testing.T) {
	a := newTestApp(t, nil)
	tests := map[string]func(mine, other session.Credential) []string{
		"another session in the cookie": func(mine, other session.Credential) []string {
			return []string{sessionCookieLine(other), "Authorization: Bearer " + mine.Secret()}
		},
		"another session as bearer": func(mine, other session.Credential) []string {
			return []string{sessionCookieLine(mine), "Authorization: Bearer " + other.Secret()}
		},
		"another session in the header": func(mine, other session.Credential) []string {
			return []string{sessionCookieLine(mine), "X-Session-Token: " + other.Secret()}
		},
		"wrong token in the header": func(mine, _ session.Credential) []string {
			return []string{sessionCookieLine(mine), "X-Session-Token: nope"}
		},
		"two cookies of one name": func(mine, other session.Credential) []string {
			return []string{"Cookie: " + web.DefaultCookieName + "=" + other.Secret() + "; " + web.DefaultCookieName + "=" + mine.Secret()}
		},
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			mine, _ := a.signIn(t, "alice", "")
			other, _ := a.signIn(t, "bob", "")
			w := a.ask(t, http.MethodGet, submitTarget(mine), append(headers(mine, other), jsonAccept)...)
			if w.Code != http.StatusNoContent || a.alive(t, mine) || !a.alive(t, other) {
				t.Errorf("status %d, mine lives %v, the other %v", w.Code, a.alive(t, mine), a.alive(t, other))
			}
		})
	}
}

func TestDiffersReturnURLIsCheckedFirst(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	for name, raw := range map[string]string{
		"forbidden": "https://evil.example/", "malformed": `https:\\evil.example`, "user info": siteURL + "@evil.example",
	} {
		t.Run(name, func(t *testing.T) {
			w := a.ask(t, http.MethodGet, submitTarget(c)+"&return_to="+url.QueryEscape(raw), jsonAccept, sessionCookieLine(c))
			if id := errorID(t, w); w.Code != http.StatusBadRequest || !strings.HasPrefix(id, "self_service_flow_return_to_") {
				t.Errorf("got %d %s", w.Code, id)
			}
			if !a.alive(t, c) || clears(w) {
				t.Error("the session was ended, or its cookie cleared")
			}
		})
	}
	w := a.ask(t, http.MethodGet, "/self-service/logout/browser?return_to=%2Fbye", jsonAccept, sessionCookieLine(c))
	var made struct {
		URL string `json:"logout_url"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	w = a.ask(t, http.MethodGet, strings.TrimPrefix(made.URL, siteURL), browserAccept, sessionCookieLine(c))
	if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != siteURL+"/bye" {
		t.Errorf("the return URL of the logout URL: got %d %q", w.Code, got)
	}
}

func TestDiffersReplay(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	for range 3 {
		w := a.ask(t, http.MethodGet, submitTarget(c), browserAccept, sessionCookieLine(c))
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != siteURL+"/" || !clears(w) {
			t.Fatalf("got %d %q, clears %v", w.Code, w.Header().Get("Location"), clears(w))
		}
		a.advance(4 * time.Minute)
	}
	w := a.ask(t, http.MethodGet, submitTarget(c), jsonAccept, sessionCookieLine(c))
	if id := errorID(t, w); w.Code != http.StatusUnauthorized || id != "session_inactive" || !clears(w) {
		t.Errorf("after the window: got %d %s, clears %v", w.Code, id, clears(w))
	}
}

func TestDiffersMethods(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	cookie := sessionCookieLine(c)
	tests := map[string]struct {
		method, target string
		headers        []string
		status         int
		allow          string
	}{
		"HEAD":                      {http.MethodHead, submitTarget(c), []string{cookie}, http.StatusOK, ""},
		"prefetch":                  {http.MethodGet, submitTarget(c), []string{cookie, "Sec-Purpose: prefetch"}, http.StatusForbidden, ""},
		"prerender":                 {http.MethodGet, submitTarget(c), []string{cookie, "Sec-Purpose: prefetch;prerender"}, http.StatusForbidden, ""},
		"early data":                {http.MethodGet, submitTarget(c), []string{cookie, "Early-Data: 1"}, http.StatusTooEarly, ""},
		"early data, api":           {http.MethodDelete, "/self-service/logout/api", []string{"X-Session-Token: " + c.Secret(), "Early-Data: 1"}, http.StatusTooEarly, ""},
		"early data, sessions":      {http.MethodDelete, "/sessions", []string{"X-Session-Token: " + c.Secret(), "Early-Data: 1"}, http.StatusTooEarly, ""},
		"PUT":                       {http.MethodPut, submitTarget(c), []string{cookie}, http.StatusMethodNotAllowed, "GET, HEAD, POST"},
		"GET of the API":            {http.MethodGet, "/self-service/logout/api", []string{cookie}, http.StatusMethodNotAllowed, "DELETE"},
		"POST of the sessions":      {http.MethodPost, "/sessions", []string{cookie}, http.StatusMethodNotAllowed, "DELETE, GET, HEAD"},
		"path that is not there":    {http.MethodGet, "/self-service/logout/nope", nil, http.StatusNotFound, ""},
		"slash at the end":          {http.MethodGet, "/self-service/logout/browser/", nil, http.StatusNotFound, ""},
		"path of the app":           {http.MethodGet, "/self-service/registration", nil, http.StatusTeapot, ""},
		"path of the app, sessions": {http.MethodGet, "/sessionsx", nil, http.StatusTeapot, ""},
		"errors, path not there":    {http.MethodGet, "/self-service/errors/x", nil, http.StatusNotFound, ""},
		"early data, POST":          {http.MethodPost, submitTarget(c), []string{cookie, "Early-Data: 1"}, http.StatusTooEarly, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := a.ask(t, test.method, test.target, test.headers...)
			if w.Code != test.status || w.Header().Get("Allow") != test.allow {
				t.Errorf("got %d, Allow %q", w.Code, w.Header().Get("Allow"))
			}
			if w.Code >= 400 && w.Code != http.StatusTeapot {
				errorID(t, w)
			}
			if !a.alive(t, c) {
				t.Fatal("the session was ended")
			}
		})
	}
	t.Run("TLS that is not through", func(t *testing.T) {
		r := newRequest(t, http.MethodGet, siteURL+submitTarget(c), cookie)
		r.TLS = new(tls.ConnectionState)
		if w := serve(t, &signout.Handler{Site: a.Site}, r, nil); w.Code != http.StatusTooEarly || !a.alive(t, c) {
			t.Errorf("got %d", w.Code)
		}
	})
	t.Run("POST", func(t *testing.T) {
		w := a.askWithBody(t, http.MethodPost, "/self-service/logout", "token="+session.LogoutToken(c)+"&return_to=%2Fbye",
			cookie, browserAccept, "Content-Type: application/x-www-form-urlencoded")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != siteURL+"/bye" || a.alive(t, c) {
			t.Errorf("got %d %q", w.Code, w.Header().Get("Location"))
		}
	})
}

func TestDiffersHeadersOfEveryAnswer(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	tests := map[string]*httptest.ResponseRecorder{
		"200":      a.ask(t, http.MethodGet, "/sessions/whoami", sessionCookieLine(c)),
		"create":   a.ask(t, http.MethodGet, "/self-service/logout/browser", sessionCookieLine(c)),
		"401":      a.ask(t, http.MethodGet, "/sessions/whoami"),
		"403":      a.askWithBody(t, http.MethodDelete, "/self-service/logout/api", "{}", "Content-Type: application/json"),
		"405":      a.ask(t, http.MethodPut, "/sessions", jsonAccept),
		"page":     a.ask(t, http.MethodGet, "/self-service/errors?id=stub:500", browserAccept),
		"redirect": a.ask(t, http.MethodGet, submitTarget(c), browserAccept, sessionCookieLine(c)),
		"204":      a.ask(t, http.MethodGet, submitTarget(c), jsonAccept, sessionCookieLine(c)),
	}
	for name, w := range tests {
		t.Run(name, func(t *testing.T) {
			h := w.Header()
			if !strings.Contains(h.Get("Cache-Control"), "no-store") || h.Get("Referrer-Policy") != "no-referrer" ||
				h.Get("Vary") != "Accept, Cookie" || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("status %d, headers %v", w.Code, h)
			}
			if challenge := h.Get("WWW-Authenticate"); (w.Code == http.StatusUnauthorized) != (challenge == "Bearer") {
				t.Errorf("status %d, WWW-Authenticate %q", w.Code, challenge)
			}
		})
	}
}

func TestDiffersDeletionCookie(t *testing.T) {
	off := false
	a := newTestApp(t, func(app *App) {
		app.Cookie = web.Cookie{Domain: "app.example", Path: "/in", SameSite: "strict", Secure: &off}
	})
	c, _ := a.signIn(t, "alice", "")
	w := a.ask(t, http.MethodGet, submitTarget(c), browserAccept, sessionCookieLine(c))
	cookie, err := http.ParseSetCookie(w.Header().Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if cookie.Value != "" || cookie.MaxAge >= 0 || cookie.Domain != "app.example" || cookie.Path != "/in" ||
		cookie.SameSite != http.SameSiteStrictMode || cookie.Secure || !cookie.HttpOnly {
		t.Errorf("got %v", w.Header()["Set-Cookie"])
	}
	if strings.Contains(w.Header().Get("Set-Cookie"), c.Secret()) {
		t.Error("the revoked credential is in the answer")
	}
}

func TestDiffersDeadCookieIsCleared(t *testing.T) {
	a := newTestApp(t, nil)
	for name, target := range map[string]string{
		"whoami": "/sessions/whoami", "create": "/self-service/logout/browser", "list": "/sessions",
		"submit": "/self-service/logout?token=ory_lo_nope",
	} {
		t.Run(name, func(t *testing.T) {
			w := a.ask(t, http.MethodGet, target, jsonAccept, "Cookie: "+web.DefaultCookieName+"=nope")
			if w.Code != http.StatusUnauthorized || !clears(w) {
				t.Errorf("got %d, clears %v", w.Code, clears(w))
			}
		})
	}
	t.Run("not during an outage", func(t *testing.T) {
		away := newTestApp(t, nil)
		away.reopen(func(o *manager.Opened) { o.Store = awayStore{} })
		w := away.ask(t, http.MethodGet, "/sessions/whoami", jsonAccept, "Cookie: "+web.DefaultCookieName+"=nope")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Set-Cookie") != "" || w.Header().Get("Retry-After") == "" {
			t.Errorf("got %d %v", w.Code, w.Header())
		}
	})
}
