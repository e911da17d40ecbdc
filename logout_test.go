package caddylogout

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// submitLine is the target of a request that follows the logout URL of c.
func submitLine(c session.Credential, more ...string) string {
	return siteURL + submitTarget(c) + strings.Join(more, "")
}

// The session of the token ends, whatever else the request carries.
func TestSubmitEndsTheVerifiedSession(t *testing.T) {
	a := newTestApp(t, nil)
	cookie := func(c session.Credential) string { return sessionCookieLine(c) }
	bearer := func(c session.Credential) string { return "Authorization: Bearer " + c.Secret() }
	header := func(c session.Credential) string { return "X-Session-Token: " + c.Secret() }
	places := map[string]func(session.Credential) string{"cookie": cookie, "bearer": bearer, "header": header}
	for ownName, own := range places {
		for otherName, other := range places {
			if ownName == otherName && ownName != "cookie" {
				continue // a header has one place
			}
			t.Run("token of the "+ownName+", other session as "+otherName, func(t *testing.T) {
				mine, _ := a.signIn(t, "alice", "")
				others, _ := a.signIn(t, "bob", "")
				r := newRequest(t, http.MethodGet, submitLine(mine), "Accept: application/json", other(others), own(mine))
				w := serve(t, &signout.Handler{Site: a.Site}, r, nil)
				if w.Code != http.StatusNoContent {
					t.Fatalf("got %d %q", w.Code, w.Body)
				}
				if a.alive(t, mine) || !a.alive(t, others) {
					t.Errorf("mine live %v, other live %v", a.alive(t, mine), a.alive(t, others))
				}
				// A cookie that is still good is left alone.
				cleared := w.Header()["Set-Cookie"] != nil
				if want := ownName == "cookie" && otherName != "cookie"; cleared != want {
					t.Errorf("cookie cleared %v, want %v", cleared, want)
				}
			})
		}
	}
}

func TestSubmitRefuses(t *testing.T) {
	tests := map[string]struct {
		target  func(mine, others session.Credential) string
		headers func(mine, others session.Credential) []string
		status  int
		id      string
		cleared bool
	}{
		"token of another session": {
			func(_, others session.Credential) string { return submitLine(others) }, withCookie, http.StatusForbidden, "logout_token_mismatch", false,
		},
		"no token": {
			func(_, _ session.Credential) string { return "/self-service/logout" }, withCookie, http.StatusBadRequest, "logout_token_missing", false,
		},
		"the credential as token": {
			func(mine, _ session.Credential) string { return "/self-service/logout?token=" + mine.Secret() }, withCookie, http.StatusForbidden, "logout_token_mismatch", false,
		},
		"no credential": {
			func(mine, _ session.Credential) string { return submitLine(mine) }, func(_, _ session.Credential) []string { return nil }, http.StatusUnauthorized, "session_inactive", false,
		},
		"garbage cookie": {
			func(mine, _ session.Credential) string { return submitLine(mine) },
			func(_, _ session.Credential) []string {
				return []string{"Cookie: " + web.DefaultCookieName + "=garbage"}
			},
			http.StatusUnauthorized, "session_inactive", true,
		},
		"return URL of a stranger": {
			func(mine, _ session.Credential) string {
				return submitLine(mine, "&return_to=https%3A%2F%2Fevil.example")
			}, withCookie,
			http.StatusBadRequest, "self_service_flow_return_to_forbidden", false,
		},
		"return URL with a backslash": {
			func(mine, _ session.Credential) string { return submitLine(mine, `&return_to=%2F%5Cevil.example`) }, withCookie,
			http.StatusBadRequest, "self_service_flow_return_to_invalid", false,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			mine, _ := a.signIn(t, "alice", "")
			others, _ := a.signIn(t, "bob", "")
			headers := append(test.headers(mine, others), "Accept: application/json")
			w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, test.target(mine, others), headers...), nil)
			if w.Code != test.status || errorID(t, w) != test.id {
				t.Errorf("got %d %q", w.Code, w.Body)
			}
			if cleared := w.Header()["Set-Cookie"] != nil; cleared != test.cleared {
				t.Errorf("cookie cleared %v, want %v", cleared, test.cleared)
			}
			if !a.alive(t, mine) || !a.alive(t, others) {
				t.Error("a session was ended")
			}
		})
	}
}

func withCookie(mine, _ session.Credential) []string { return []string{sessionCookieLine(mine)} }

// A double click, a second tab or another node gets the first response again, for ten
// minutes.
func TestSubmitTwice(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	follow := func(accept string) *httptest.ResponseRecorder {
		return serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(c, "&return_to=%2Fbye"), sessionCookieLine(c), "Accept: "+accept), nil)
	}
	for i, pause := range []time.Duration{0, time.Second, manager.ReplayWindow - 2*time.Second} {
		a.advance(pause)
		w := follow("text/html")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "http://app.example/bye" || w.Header()["Set-Cookie"] == nil {
			t.Errorf("time %d: got %d %q", i, w.Code, w.Header())
		}
		if w := follow("application/json"); w.Code != http.StatusNoContent {
			t.Errorf("time %d, JSON: got %d", i, w.Code)
		}
	}
	a.advance(time.Second)
	if w := follow("application/json"); w.Code != http.StatusUnauthorized || w.Header()["Set-Cookie"] == nil {
		t.Errorf("after ten minutes: got %d %q", w.Code, w.Header())
	}
}

func TestSubmitDuringAnOutage(t *testing.T) {
	for _, accept := range []string{"application/json", "text/html"} {
		a := newTestApp(t, nil)
		c, _ := a.signIn(t, "alice", "")
		bringBack := a.takeStoreAway()
		w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c), "Accept: "+accept), nil)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header()["Set-Cookie"] != nil {
			t.Errorf("%s: got %d %q", accept, w.Code, w.Header())
		}
		bringBack()
		if !a.alive(t, c) {
			t.Error("the session was ended by an outage")
		}
	}
}

// HEAD requests and prefetches log no one out.
func TestNothingSpeculativeChangesAnything(t *testing.T) {
	tests := map[string]struct {
		method string
		header string
		status int
	}{
		"HEAD":                 {http.MethodHead, "Accept: text/html", http.StatusOK},
		"prefetch":             {http.MethodGet, "Sec-Purpose: prefetch", http.StatusForbidden},
		"prerender":            {http.MethodGet, "Sec-Purpose: prefetch;prerender", http.StatusForbidden},
		"old prefetch":         {http.MethodGet, "Purpose: prefetch", http.StatusForbidden},
		"Firefox's prefetch":   {http.MethodGet, "X-Moz: prefetch", http.StatusForbidden},
		"early data by proxy":  {http.MethodGet, "Early-Data: 1", http.StatusTooEarly},
		"PUT":                  {http.MethodPut, "Accept: text/html", http.StatusMethodNotAllowed},
		"DELETE":               {http.MethodDelete, "Accept: text/html", http.StatusMethodNotAllowed},
		"OPTIONS":              {http.MethodOptions, "Accept: text/html", http.StatusMethodNotAllowed},
		"POST and speculative": {http.MethodPost, "Sec-Purpose: prefetch", http.StatusForbidden},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, test.method, submitLine(c), sessionCookieLine(c), test.header), nil)
			if w.Code != test.status || w.Header()["Set-Cookie"] != nil || w.Header().Get("Location") != "" {
				t.Errorf("got %d %q", w.Code, w.Header())
			}
			if test.status == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
			if !a.alive(t, c) {
				t.Error("the session was ended")
			}
		})
	}
}

// An attacker on the network can replay early data (RFC 8470).
func TestEarlyDataIsTooEarly(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	requests := map[string]*http.Request{
		"submit":       newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c)),
		"API logout":   newRequest(t, http.MethodDelete, "/self-service/logout/api", "Authorization: Bearer "+c.Secret()),
		"end sessions": newRequest(t, http.MethodDelete, "/sessions?all=true", "Authorization: Bearer "+c.Secret()),
	}
	for name, r := range requests {
		t.Run(name, func(t *testing.T) {
			r.TLS = &tls.ConnectionState{HandshakeComplete: false}
			if w := serve(t, &signout.Handler{Site: a.Site}, r, nil); w.Code != http.StatusTooEarly || !a.alive(t, c) {
				t.Errorf("got %d, live %v", w.Code, a.alive(t, c))
			}
		})
	}
}

func TestSubmitByPost(t *testing.T) {
	for name, target := range map[string]string{"token in the query": "query", "token in the form": "form"} {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			r := newRequest(t, http.MethodPost, submitLine(c), sessionCookieLine(c), "Accept: text/html")
			if target == "form" {
				r = newRequest(t, http.MethodPost, "http://app.example/self-service/logout", sessionCookieLine(c), "Accept: text/html",
					"Content-Type: application/x-www-form-urlencoded")
				form := url.Values{"token": {session.LogoutToken(c)}, "return_to": {"/bye"}}
				r.Body = io.NopCloser(strings.NewReader(form.Encode()))
			}
			if w := serve(t, &signout.Handler{Site: a.Site}, r, nil); w.Code != http.StatusSeeOther || a.alive(t, c) {
				t.Errorf("got %d, live %v", w.Code, a.alive(t, c))
			}
		})
	}
}

// A change by cookie has to come from a page of this host.
func TestDeleteBySomebodyElsesPage(t *testing.T) {
	tests := map[string]struct {
		headers []string
		bearer  bool
		refused bool
	}{
		"same origin":                  {[]string{"Sec-Fetch-Site: same-origin", "Origin: http://app.example"}, false, false},
		"typed":                        {[]string{"Sec-Fetch-Site: none"}, false, false},
		"script":                       {nil, false, false},
		"cross-site":                   {[]string{"Sec-Fetch-Site: cross-site"}, false, true},
		"sibling host":                 {[]string{"Sec-Fetch-Site: same-site"}, false, true},
		"old browser, own origin":      {[]string{"Origin: http://app.example"}, false, false},
		"old browser, other origin":    {[]string{"Origin: http://evil.example"}, false, true},
		"old browser, other port":      {[]string{"Origin: http://app.example:81"}, false, true},
		"sandboxed":                    {[]string{"Origin: null"}, false, true},
		"only a Referer, of elsewhere": {[]string{"Referer: http://evil.example/app.example"}, false, true},
		"cross-site with a token":      {[]string{"Sec-Fetch-Site: cross-site"}, true, false},
	}
	for name, test := range tests {
		for _, all := range []string{"", "?all=true"} {
			t.Run(name+all, func(t *testing.T) {
				a := newTestApp(t, nil)
				c, _ := a.signIn(t, "alice", "")
				other, _ := a.signIn(t, "alice", "")
				proof := sessionCookieLine(c)
				if test.bearer {
					proof = "Authorization: Bearer " + c.Secret()
				}
				w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodDelete, "http://app.example/sessions"+all, append(test.headers, proof)...), nil)
				if refused := w.Code == http.StatusForbidden; refused != test.refused || a.alive(t, other) != test.refused {
					t.Errorf("DELETE /sessions: got %d %q, other session live %v", w.Code, w.Body, a.alive(t, other))
				}
				if all != "" {
					return
				}
				again, _ := a.signIn(t, "alice", "")
				w = serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodDelete,
					"http://app.example/sessions/"+session.KeyOf(again.Secret()).ID(), append(test.headers, proof)...), nil)
				if refused := w.Code == http.StatusForbidden; refused != test.refused || a.alive(t, again) != test.refused {
					t.Errorf("DELETE /sessions/{id}: got %d %q", w.Code, w.Body)
				}
			})
		}
	}
}

func TestEndSessionsCountsWhatEnded(t *testing.T) {
	a := newTestApp(t, nil)
	own, _ := a.signIn(t, "alice", "")
	one, _ := a.signIn(t, "alice", "")
	_, gone := a.signIn(t, "alice", "")
	if _, err := a.Revoke(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	bob, _ := a.signIn(t, "bob", "")
	end := func(query string) (int, *httptest.ResponseRecorder) {
		t.Helper()
		w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodDelete, "/sessions"+query, sessionCookieLine(own)), nil)
		var body struct{ Count int }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
			t.Fatalf("got %d %q", w.Code, w.Body)
		}
		return body.Count, w
	}
	if count, w := end(""); count != 1 || w.Header()["Set-Cookie"] != nil {
		t.Errorf("others: count %d, %q", count, w.Header())
	}
	if a.alive(t, one) || !a.alive(t, own) {
		t.Error("the wrong session was ended")
	}
	if count, w := end("?all=true"); count != 1 || w.Header()["Set-Cookie"] == nil {
		t.Errorf("all: count %d, %q", count, w.Header())
	}
	if a.alive(t, own) || !a.alive(t, bob) {
		t.Error("own session is live, or bob's is not")
	}
}

func TestListSessions(t *testing.T) {
	a := newTestApp(t, nil)
	own, ownSession := a.signIn(t, "alice", "")
	var others []string
	for range 3 {
		a.advance(time.Second)
		_, s := a.signIn(t, "alice", "")
		others = append([]string{s.ID}, others...)
	}
	_, _ = a.signIn(t, "bob", "")
	list := func(query string) ([]web.Session, http.Header) {
		t.Helper()
		w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, "http://app.example/sessions"+query, sessionCookieLine(own)), nil)
		var body []web.Session
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
			t.Fatalf("got %d %q", w.Code, w.Body)
		}
		return body, w.Header()
	}
	ids := func(list []web.Session) (ids []string) {
		for _, s := range list {
			ids = append(ids, s.ID)
			if s.Current != (s.ID == ownSession.ID) {
				t.Errorf("%s marked as current: %v", s.ID, s.Current)
			}
		}
		return ids
	}
	got, header := list("")
	if !slices.Equal(ids(got), others) || header.Get("X-Total-Count") != "3" || !strings.Contains(header.Get("Link"), `rel="first"`) {
		t.Errorf("others: %v, %v", ids(got), header)
	}
	if got, _ = list("?all=true"); !slices.Equal(ids(got), append(slices.Clone(others), ownSession.ID)) {
		t.Errorf("all: %v", ids(got))
	}
	first, header := list("?page_size=2")
	if !slices.Equal(ids(first), others[:2]) {
		t.Errorf("first page: %v", ids(first))
	}
	// The next page is where the Link header says.
	_, after, _ := strings.Cut(header.Get("Link"), `rel="first",<http://app.example/sessions`)
	next, _, ok := strings.Cut(after, `>; rel="next"`)
	if !ok {
		t.Fatalf("Link: %s", header.Get("Link"))
	}
	if second, _ := list(next); !slices.Equal(ids(second), others[2:]) {
		t.Errorf("second page: %v", ids(second))
	}
	if older, _ := list("?per_page=1&page=1"); !slices.Equal(ids(older), others[1:2]) {
		t.Errorf("per_page and page: %v", ids(older))
	}
	if none, _ := list("?page_size=2&page=7"); len(none) != 0 {
		t.Errorf("behind the end: %v", ids(none))
	}
	for _, query := range []string{"?page_size=0", "?page_size=x", "?page_token=x", "?page=-1"} {
		w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, "/sessions"+query, sessionCookieLine(own)), nil)
		if w.Code != http.StatusBadRequest || errorID(t, w) != "page_invalid" {
			t.Errorf("%s: got %d %q", query, w.Code, w.Body)
		}
	}
}

func TestAPILogout(t *testing.T) {
	tests := map[string]struct {
		body    func(c session.Credential) string
		headers func(c session.Credential) []string
		status  int
		id      string
	}{
		"token in the body":      {tokenBody, jsonBody, http.StatusNoContent, ""},
		"bearer, no body":        {noBody, func(c session.Credential) []string { return []string{"Authorization: Bearer " + c.Secret()} }, http.StatusNoContent, ""},
		"session token, no body": {noBody, func(c session.Credential) []string { return []string{"X-Session-Token: " + c.Secret()} }, http.StatusNoContent, ""},
		"wrong header, good bearer": {noBody, func(c session.Credential) []string {
			return []string{"X-Session-Token: x", "Authorization: Bearer " + c.Secret()}
		}, http.StatusNoContent, ""},
		// A browser sends its cookie unasked, and this address has no logout token.
		"cookie alone":      {noBody, func(c session.Credential) []string { return []string{sessionCookieLine(c)} }, http.StatusBadRequest, "request_body_missing"},
		"unknown token":     {func(session.Credential) string { return `{"session_token":"ory_st_x"}` }, jsonBody, http.StatusForbidden, "session_token_invalid"},
		"no token":          {func(session.Credential) string { return `{}` }, jsonBody, http.StatusForbidden, "session_token_invalid"},
		"null":              {func(session.Credential) string { return `null` }, jsonBody, http.StatusForbidden, "session_token_invalid"},
		"a number":          {func(session.Credential) string { return `{"session_token":1}` }, jsonBody, http.StatusBadRequest, "request_body_invalid"},
		"cut off":           {func(session.Credential) string { return `{"session_token":` }, jsonBody, http.StatusBadRequest, "request_body_invalid"},
		"form":              {tokenBody, func(session.Credential) []string { return []string{"Content-Type: text/plain"} }, http.StatusBadRequest, "request_content_type_unsupported"},
		"larger than 64 KB": {func(session.Credential) string { return `{"x":"` + strings.Repeat("x", web.MaxBodyLength) + `"}` }, jsonBody, http.StatusRequestEntityTooLarge, "request_body_too_large"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			end := func() *httptest.ResponseRecorder {
				r := newRequest(t, http.MethodDelete, "/self-service/logout/api", test.headers(c)...)
				body := test.body(c)
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				return serve(t, &signout.Handler{Site: a.Site}, r, nil)
			}
			w := end()
			if w.Code != test.status {
				t.Fatalf("got %d %q", w.Code, w.Body)
			}
			if ended := test.status == http.StatusNoContent; a.alive(t, c) == ended {
				t.Errorf("live %v", !ended)
			}
			if test.id != "" {
				if got := errorID(t, w); got != test.id {
					t.Errorf("error %s, want %s", got, test.id)
				}
				return
			}
			if w := end(); w.Code != http.StatusNoContent {
				t.Errorf("again: got %d", w.Code)
			}
			a.advance(manager.ReplayWindow)
			if w := end(); w.Code != http.StatusForbidden {
				t.Errorf("after ten minutes: got %d", w.Code)
			}
		})
	}
}

func tokenBody(c session.Credential) string { return `{"session_token":"` + c.Secret() + `"}` }
func noBody(session.Credential) string      { return "" }
func jsonBody(session.Credential) []string  { return []string{"Content-Type: application/json"} }

// Of the app's own paths nothing is taken; of ours nothing is let through.
func TestWhichPathsAreOurs(t *testing.T) {
	off := false
	tests := []struct {
		prefix      string
		sessionsAPI *bool
		path        string
		status      int // 418: the app got it
	}{
		{"", nil, "/", http.StatusTeapot},
		{"", nil, "/self-service", http.StatusTeapot},
		{"", nil, "/self-service/settings", http.StatusTeapot},
		{"", nil, "/self-service/logoutx", http.StatusTeapot},
		{"", nil, "/sessionsx", http.StatusTeapot},
		{"", nil, "/SESSIONS/whoami", http.StatusTeapot},
		{"", nil, "/app/self-service/logout", http.StatusTeapot},
		{"", nil, "/self-service/logout/nope", http.StatusNotFound},
		{"", nil, "/self-service/logout/", http.StatusNotFound},
		{"", nil, "/self-service/logout/browser/", http.StatusNotFound},
		{"", nil, "/self-service/errors/x", http.StatusNotFound},
		{"", nil, "/sessions/", http.StatusNotFound},
		{"", nil, "/sessions/a/b", http.StatusNotFound},
		{"", nil, "/sessions/whoami", http.StatusUnauthorized},
		{"", nil, "//sessions//whoami", http.StatusUnauthorized},
		{"", nil, "/x/../sessions/whoami", http.StatusUnauthorized},
		{"", nil, "/sessions", http.StatusUnauthorized},
		{"", &off, "/sessions/whoami", http.StatusUnauthorized},
		{"", &off, "/sessions", http.StatusTeapot},
		{"", &off, "/sessions/x", http.StatusTeapot},
		{"/.ory", nil, "/sessions/whoami", http.StatusTeapot},
		{"/.ory", nil, "/.ory/sessions/whoami", http.StatusUnauthorized},
		{"/.ory", nil, "/.oryx/sessions/whoami", http.StatusTeapot},
		{"/.ory", nil, "/.ory", http.StatusTeapot},
	}
	for _, test := range tests {
		t.Run(test.prefix+" "+test.path, func(t *testing.T) {
			a := newTestApp(t, func(a *App) { a.Prefix = test.prefix })
			w := serve(t, &signout.Handler{Site: a.Site, Options: signout.Options{SessionsAPI: test.sessionsAPI}},
				newRequest(t, http.MethodGet, "http://app.example"+test.path, "Accept: application/json"), nil)
			if w.Code != test.status {
				t.Errorf("got %d, want %d", w.Code, test.status)
			}
			if w.Code != http.StatusTeapot && w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

// A rewrite by another handler hides no logout.
func TestPathsAreTheOriginalOnes(t *testing.T) {
	a := newTestApp(t, nil)
	r := newRequest(t, http.MethodGet, "/sessions/whoami")
	r.URL = &url.URL{Path: "/index.php"}
	if w := serve(t, &signout.Handler{Site: a.Site}, r, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("got %d", w.Code)
	}
}

// An error page shows an error to the browser that caused it, for ten minutes.
func TestBrowserErrors(t *testing.T) {
	a := newTestApp(t, func(a *App) { a.ErrorUI = "https://app.example/oops?lang=en" })
	logout := &signout.Handler{Site: a.Site}
	w := serve(t, logout, newRequest(t, http.MethodGet, "http://app.example/self-service/logout/browser", "Accept: text/html"), nil)
	location, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusSeeOther || location.Path != "/oops" || location.Query().Get("lang") != "en" {
		t.Fatalf("got %d %v", w.Code, location)
	}
	cookie, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	read := func(headers ...string) *httptest.ResponseRecorder {
		return serve(t, logout, newRequest(t, http.MethodGet, "http://app.example/self-service/errors?id="+location.Query().Get("id"), headers...), nil)
	}
	w = read("Cookie: "+cookie, "Accept: application/json")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"session_inactive"`) {
		t.Errorf("its browser: got %d %q", w.Code, w.Body)
	}
	if w = read("Cookie: "+cookie, "Accept: text/html"); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "<html") {
		t.Errorf("its browser, as a page: got %d %q", w.Code, w.Body)
	}
	name, secret, _ := strings.Cut(cookie, "=")
	other := name + "=" + strings.Repeat("0", len(secret))
	if w = read("Cookie: "+other, "Accept: application/json"); w.Code != http.StatusNotFound {
		t.Errorf("another browser: got %d", w.Code)
	}
	if w = read("Accept: application/json"); w.Code != http.StatusNotFound {
		t.Errorf("no browser: got %d", w.Code)
	}
	a.advance(web.ErrorLifetime)
	if w = read("Cookie: "+cookie, "Accept: application/json"); w.Code != http.StatusNotFound {
		t.Errorf("after ten minutes: got %d", w.Code)
	}
}

// What the logout URL is made of comes from the checked return URL.
func TestCreateURL(t *testing.T) {
	a := newTestApp(t, func(a *App) {
		a.Prefix = "/.ory"
		a.AllowedReturnURLs = []string{"https://www.example.com/bye"}
	})
	c, _ := a.signIn(t, "alice", "")
	tests := map[string]string{
		"":                  "",
		"?return_to=%2Fbye": "return_to=http%3A%2F%2Fapp.example%2Fbye&",
		"?return_to=https://www.example.com/x/../bye/%2520": "return_to=https%3A%2F%2Fwww.example.com%2Fbye%2F%2520&",
	}
	for query, want := range tests {
		w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, "http://app.example/.ory/self-service/logout/browser"+query, sessionCookieLine(c)), nil)
		var body struct {
			URL   string `json:"logout_url"`
			Token string `json:"logout_token"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: got %d %q", query, w.Code, w.Body)
		}
		if want = "http://app.example/.ory/self-service/logout?" + want + "token=" + session.LogoutToken(c); body.URL != want || body.Token != session.LogoutToken(c) {
			t.Errorf("%s: got %q, want %q", query, body.URL, want)
		}
	}
}

func TestEveryAnswerIsPrivate(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	for _, path := range []string{
		"/self-service/logout/browser", "/self-service/logout", "/self-service/logout/api", "/self-service/logout/x",
		"/self-service/errors?id=x", "/sessions", "/sessions/whoami", "/sessions/x",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodPut} {
			for _, cookie := range []string{"X: y", sessionCookieLine(c)} {
				if method == http.MethodDelete && path == "/sessions" {
					continue
				}
				w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, method, path, cookie, "Accept: text/html"), nil)
				h := w.Header()
				if !strings.Contains(h.Get("Cache-Control"), "no-store") || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Vary") != "Accept, Cookie" {
					t.Errorf("%s %s: %d %q", method, path, w.Code, h)
				}
			}
		}
	}
}
