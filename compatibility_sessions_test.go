package caddylogout

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

const sendsJSON = "Content-Type: application/json"

// The tests whose names begin with TestDiffers show where the sessions API, logout by
// token and the error page differ on purpose from Ory Kratos.
// docs/ory-compatibility.md names each.

func TestDiffersLogoutByToken(t *testing.T) {
	const target = "/self-service/logout/api"
	a := newTestApp(t, nil)
	t.Run("as bearer, without a body", func(t *testing.T) {
		c, _ := a.signIn(t, "alice", "")
		for range 2 { // the second is answered as the first
			if w := a.ask(t, http.MethodDelete, target, "Authorization: Bearer "+c.Secret()); w.Code != http.StatusNoContent || a.alive(t, c) {
				t.Errorf("got %d, lives %v", w.Code, a.alive(t, c))
			}
		}
	})
	t.Run("a cookie is no token", func(t *testing.T) {
		c, _ := a.signIn(t, "alice", "")
		w := a.ask(t, http.MethodDelete, target, sessionCookieLine(c))
		if id := errorID(t, w); w.Code != http.StatusBadRequest || id != "request_body_missing" || !a.alive(t, c) {
			t.Errorf("got %d %s", w.Code, id)
		}
	})
	t.Run("the body decides", func(t *testing.T) {
		mine, _ := a.signIn(t, "alice", "")
		other, _ := a.signIn(t, "alice", "")
		w := a.askWithBody(t, http.MethodDelete, target, `{"session_token":"`+mine.Secret()+`"}`, sendsJSON, "X-Session-Token: "+other.Secret())
		if w.Code != http.StatusNoContent || a.alive(t, mine) || !a.alive(t, other) {
			t.Errorf("got %d", w.Code)
		}
	})
	t.Run("expired", func(t *testing.T) {
		c, _ := a.signIn(t, "alice", "")
		a.advance(defaultLifespan + time.Second)
		w := a.askWithBody(t, http.MethodDelete, target, `{"session_token":"`+c.Secret()+`"}`, sendsJSON)
		if id := errorID(t, w); w.Code != http.StatusForbidden || id != "session_token_invalid" {
			t.Errorf("got %d %s", w.Code, id)
		}
	})
	t.Run("large body", func(t *testing.T) {
		w := a.askWithBody(t, http.MethodDelete, target, `{"session_token":"`+strings.Repeat("x", 6<<20)+`"}`, sendsJSON)
		if id := errorID(t, w); w.Code != http.StatusRequestEntityTooLarge || id != "request_body_too_large" {
			t.Errorf("got %d %s", w.Code, id)
		}
	})
}

// listed is what the list of sessions says.
type listed struct {
	ID      string `json:"id"`
	Current bool   `json:"current"`
}

func listOf(t *testing.T, w *httptest.ResponseRecorder) []listed {
	t.Helper()
	var list []listed
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != http.StatusOK {
		t.Fatalf("got %d %q", w.Code, w.Body)
	}
	return list
}

func TestDiffersAllSessions(t *testing.T) {
	a := newTestApp(t, nil)
	mine, own := a.signIn(t, "alice", "")
	a.advance(time.Second)
	other, otherSession := a.signIn(t, "alice", "")
	stranger, _ := a.signIn(t, "bob", "")
	header := "X-Session-Token: " + mine.Secret()

	if list := listOf(t, a.ask(t, http.MethodGet, "/sessions", header)); !slices.Equal(list, []listed{{ID: otherSession.ID}}) {
		t.Errorf("the others: got %v", list)
	}
	want := []listed{{ID: otherSession.ID}, {ID: own.ID, Current: true}}
	if list := listOf(t, a.ask(t, http.MethodGet, "/sessions?all=true", header)); !slices.Equal(list, want) {
		t.Errorf("all: got %v", list)
	}
	count := func(w *httptest.ResponseRecorder) string { return strings.TrimSpace(w.Body.String()) }
	if w := a.ask(t, http.MethodDelete, "/sessions", header); count(w) != `{"count":1}` || a.alive(t, other) || !a.alive(t, mine) {
		t.Errorf("the others: got %d %s", w.Code, w.Body)
	}
	// The original counts what ended long ago, too.
	if w := a.ask(t, http.MethodDelete, "/sessions", header); count(w) != `{"count":0}` {
		t.Errorf("again: got %d %s", w.Code, w.Body)
	}
	if w := a.ask(t, http.MethodDelete, "/sessions?all=true", sessionCookieLine(mine)); count(w) != `{"count":1}` || a.alive(t, mine) || !clears(w) {
		t.Errorf("all: got %d %s", w.Code, w.Body)
	}
	if !a.alive(t, stranger) {
		t.Error("another person's session was ended")
	}
}

func TestDiffersPages(t *testing.T) {
	a := newTestApp(t, nil)
	mine, _ := a.signIn(t, "alice", "")
	for range 5 {
		a.advance(time.Second)
		a.signIn(t, "alice", "")
	}
	header := "X-Session-Token: " + mine.Secret()
	var seen []listed
	target := "/sessions?page_size=2"
	for page := 0; target != ""; page++ {
		if page > 3 {
			t.Fatal("the pages do not end")
		}
		w := a.ask(t, http.MethodGet, target, header)
		seen = append(seen, listOf(t, w)...)
		if got := w.Header().Get("X-Total-Count"); got != "5" {
			t.Errorf("total %q", got)
		}
		target = ""
		for link := range strings.SplitSeq(w.Header().Get("Link"), ",") {
			if address, ok := strings.CutSuffix(link, `>; rel="next"`); ok {
				target = strings.TrimPrefix(address, "<"+siteURL)
			}
		}
	}
	if len(seen) != 5 || len(slices.Compact(slices.Clone(seen))) != 5 {
		t.Errorf("got %d sessions on all pages", len(seen))
	}
	for _, query := range []string{"page_size=0", "page_size=x", "page=-1", "page_token=nope"} {
		if w := a.ask(t, http.MethodGet, "/sessions?"+query, header); w.Code != http.StatusBadRequest || errorID(t, w) != "page_invalid" {
			t.Errorf("%s: got %d", query, w.Code)
		}
	}
}

func TestDiffersCrossSiteDelete(t *testing.T) {
	a := newTestApp(t, nil)
	mine, _ := a.signIn(t, "alice", "")
	_, other := a.signIn(t, "alice", "")
	cookie := sessionCookieLine(mine)
	tests := map[string]struct {
		headers []string
		status  int
	}{
		"other origin":             {[]string{cookie, "Origin: https://evil.example"}, http.StatusForbidden},
		"no origin that is one":    {[]string{cookie, "Origin: null"}, http.StatusForbidden},
		"another site":             {[]string{cookie, "Sec-Fetch-Site: cross-site"}, http.StatusForbidden},
		"sibling":                  {[]string{cookie, "Sec-Fetch-Site: same-site"}, http.StatusForbidden},
		"own origin":               {[]string{cookie, "Origin: " + siteURL}, http.StatusNoContent},
		"not a browser":            {[]string{cookie}, http.StatusNoContent},
		"other origin, and bearer": {[]string{"Authorization: Bearer " + mine.Secret(), "Origin: https://evil.example"}, http.StatusNoContent},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := a.ask(t, http.MethodDelete, "/sessions/"+other.ID, test.headers...)
			if w.Code != test.status {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			if w.Code == http.StatusForbidden && errorID(t, w) != "security_csrf_violation" {
				t.Errorf("got %s", w.Body)
			}
		})
	}
}

func TestDiffersErrorPage(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	if w := a.ask(t, http.MethodGet, "/self-service/logout/browser", jsonAccept, sessionCookieLine(c)); w.Header().Get("Set-Cookie") != "" {
		t.Errorf("a cookie that nothing needs: %v", w.Header()["Set-Cookie"])
	}
	w := a.ask(t, http.MethodGet, "/self-service/logout?token=ory_lo_nope", browserAccept, sessionCookieLine(c))
	location := w.Header().Get("Location")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(location, web.ErrorsPath+"?id=") {
		t.Fatalf("got %d %q", w.Code, location)
	}
	cookie, err := http.ParseSetCookie(w.Header().Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	browser := "Cookie: " + cookie.Name + "=" + cookie.Value

	read := a.ask(t, http.MethodGet, location, jsonAccept, browser)
	var kept struct {
		Error web.Error `json:"error"`
	}
	if err := json.Unmarshal(read.Body.Bytes(), &kept); err != nil || kept.Error.ID != "logout_token_mismatch" {
		t.Errorf("the browser itself: got %d %s", read.Code, read.Body)
	}
	page := a.ask(t, http.MethodGet, location, browserAccept, browser)
	if page.Code != http.StatusForbidden || !strings.Contains(page.Body.String(), "logout_token_mismatch") ||
		!strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") {
		t.Errorf("the page: got %d %s", page.Code, page.Body)
	}
	for name, headers := range map[string][]string{
		"no cookie":       {jsonAccept},
		"another browser": {jsonAccept, "Cookie: " + cookie.Name + "=" + strings.Repeat("0", len(cookie.Value))},
	} {
		if w := a.ask(t, http.MethodGet, location, headers...); w.Code != http.StatusNotFound || errorID(t, w) != "not_found" {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	a.advance(web.ErrorLifetime + time.Second)
	if w := a.ask(t, http.MethodGet, location, jsonAccept, browser); w.Code != http.StatusNotFound {
		t.Errorf("later: got %d", w.Code)
	}
}

func TestDiffersErrorUI(t *testing.T) {
	a := newTestApp(t, func(app *App) { app.ErrorUI = "https://www.example/oops?lang=en" })
	w := a.ask(t, http.MethodGet, "/self-service/logout", browserAccept)
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil || u.Host != "www.example" || u.Path != "/oops" || u.Query().Get("lang") != "en" || u.Query().Get("id") == "" {
		t.Errorf("got %d %q", w.Code, w.Header().Get("Location"))
	}
}
