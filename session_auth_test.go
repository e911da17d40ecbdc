package caddylogout

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// newGate makes a gate as Provision would.
func newGate(t *testing.T, a *testApp, options gate.Options) *gate.Handler {
	t.Helper()
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	return gate.New(options, a.Site, zap.NewNop())
}

// passed is the request that the app behind a gate got; nil if the gate answered
// itself.
type passed struct {
	header http.Header
}

func (p *passed) next(w http.ResponseWriter, r *http.Request) error {
	p.header = maps.Clone(r.Header)
	w.WriteHeader(http.StatusOK)
	return nil
}

func TestGateRefuses(t *testing.T) {
	browser := []string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode: navigate"}
	tests := map[string]struct {
		gate     gate.Options
		method   string
		headers  []string
		status   int
		location string
		media    string
	}{
		"browser with a login URL": {
			gate.Options{LoginURL: "/login"},
			http.MethodGet, browser, http.StatusSeeOther,
			"/login?return_to=http%3A%2F%2Fapp.example%2Fin%3Fa%3Db", "text/html",
		},
		"browser, login URL with a query": {
			gate.Options{LoginURL: "https://id.example/login?tenant=x"},
			http.MethodGet, browser, http.StatusSeeOther,
			"https://id.example/login?return_to=http%3A%2F%2Fapp.example%2Fin%3Fa%3Db&tenant=x", "text/html",
		},
		"browser, form of an unsafe method": {
			gate.Options{LoginURL: "/login"}, http.MethodPost, browser, http.StatusSeeOther, "/login", "",
		},
		"browser without a login URL": {gate.Options{}, http.MethodGet, browser, http.StatusUnauthorized, "", "text/html"},
		"JSON client":                 {gate.Options{LoginURL: "/login"}, http.MethodGet, []string{"Accept: application/json"}, http.StatusUnauthorized, "", "application/json"},
		"fetch":                       {gate.Options{LoginURL: "/login"}, http.MethodGet, []string{"Accept: */*", "Sec-Fetch-Mode: cors"}, http.StatusUnauthorized, "", "application/json"},
		"image":                       {gate.Options{LoginURL: "/login"}, http.MethodGet, []string{"Accept: image/png", "Sec-Fetch-Mode: no-cors"}, http.StatusUnauthorized, "", "application/json"},
		"WebSocket":                   {gate.Options{LoginURL: "/login"}, http.MethodGet, []string{"Sec-Fetch-Mode: websocket"}, http.StatusUnauthorized, "", "application/json"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			var p passed
			w := serve(t, newGate(t, a, test.gate), newRequest(t, test.method, "http://app.example/in?a=b", test.headers...), p.next)
			if p.header != nil {
				t.Fatal("the request got through")
			}
			if w.Code != test.status || w.Header().Get("Location") != test.location || !strings.HasPrefix(w.Header().Get("Content-Type"), test.media) {
				t.Errorf("got %d %q %q", w.Code, w.Header().Get("Location"), w.Header().Get("Content-Type"))
			}
			if !strings.Contains(w.Header().Get("Cache-Control"), "no-store") {
				t.Error("the answer may be cached")
			}
		})
	}
}

func TestGateTellsTheApp(t *testing.T) {
	a := newTestApp(t, nil)
	c, s := a.signIn(t, "alice", `{"email":"alice@example.com","name":{"first":"Alice"},"groups":["a","b"],"n":1.50}`)
	gate := newGate(t, a, gate.Options{Headers: map[string]string{
		"X-User-Id": "{http.auth.user.id}", "X-Email": "{http.auth.user.email}", "X-First": "{http.auth.user.name.first}",
		"X-Groups": "{http.auth.user.groups}", "X-N": "{http.auth.user.n}", "X-Session": "{session.id}",
		"X-Logout-Url": "{session.logout_url}", "X-None": "{http.auth.user.none}", "X-Bad": "{bad}",
	}})
	var p passed
	r := newRequest(t, http.MethodGet, "http://app.example/", sessionCookieLine(c))
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("bad", "x\r\nSet-Cookie: y")
	serve(t, gate, r, p.next)
	want := http.Header{
		"X-User-Id": {"alice"}, "X-Email": {"alice@example.com"}, "X-First": {"Alice"}, "X-Groups": {`["a","b"]`}, "X-N": {"1.50"},
		"X-Session": {s.ID}, "X-Logout-Url": {"http://app.example/self-service/logout?token=" + session.LogoutToken(c)},
	}
	for name, values := range want {
		if !slices.Equal(p.header[name], values) {
			t.Errorf("%s: %q, want %q", name, p.header[name], values)
		}
	}
	for _, name := range []string{"X-None", "X-Bad", "Cookie"} {
		if values, ok := p.header[name]; ok {
			t.Errorf("%s: %q, want nothing", name, values)
		}
	}
}

// The app gets our headers only, in whatever spelling a client sends its own.
func TestGateDeletesWhatOnlyItMaySet(t *testing.T) {
	spoofs := []string{"X-User-Id", "X_User_Id", "X.User.Id", "X-User_id", "x-user-id", "X_USER_ID", "X.User-Id"}
	for _, who := range []string{"anonymous", "signed in"} {
		for _, spoof := range spoofs {
			for _, connection := range []string{"", "X-User-Id, close", "keep-alive, x_user_id, cookie"} {
				t.Run(who+" "+spoof+" "+connection, func(t *testing.T) {
					a := newTestApp(t, nil)
					r := newRequest(t, http.MethodGet, "/")
					r.Header[spoof] = []string{"root", "admin"}
					if connection != "" {
						r.Header.Set("Connection", connection)
					}
					want := []string(nil)
					if who == "signed in" {
						c, _ := a.signIn(t, "alice", "")
						r.Header.Set("X-Session-Token", c.Secret())
						want = []string{"alice"}
					}
					var p passed
					serve(t, newGate(t, a, gate.Options{Optional: true}), r, p.next)
					if got := p.header["X-User-Id"]; !slices.Equal(got, want) {
						t.Errorf("X-User-Id: %q, want %q", got, want)
					}
					for name := range p.header {
						if folded := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name)); folded == "x-user-id" && name != "X-User-Id" {
							t.Errorf("%s got through", name)
						}
					}
					if got := strings.ToLower(p.header.Get("Connection")); strings.Contains(got, "user") || strings.Contains(got, "cookie") {
						t.Errorf("Connection: %q", got)
					}
				})
			}
		}
	}
}

func TestGateStripsCredentials(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	off := false
	tests := map[string]struct {
		gate    gate.Options
		headers []string
		want    http.Header
	}{
		"cookie among others": {
			gate.Options{},
			[]string{`Cookie: a="b c";  ` + web.DefaultCookieName + "=" + c.Secret() + `; d=e;f`},
			http.Header{"Cookie": {`a="b c"; d=e;f`}},
		},
		"all cookies of the name": {
			gate.Options{},
			[]string{sessionCookieLine(c), "Cookie: " + web.DefaultCookieName + "=x; a=1"},
			http.Header{"Cookie": {"a=1"}},
		},
		"session token":         {gate.Options{}, []string{"X-Session-Token: " + c.Secret()}, http.Header{}},
		"bearer":                {gate.Options{}, []string{"Authorization: Bearer " + c.Secret()}, http.Header{}},
		"bearer of the app":     {gate.Options{}, []string{sessionCookieLine(c), "Authorization: Bearer eyJ"}, http.Header{"Authorization": {"Bearer eyJ"}}},
		"dead bearer of ours":   {gate.Options{Optional: true}, []string{"Authorization: Bearer ory_st_gone"}, http.Header{}},
		"basic auth of the app": {gate.Options{}, []string{sessionCookieLine(c), "Authorization: Basic eA=="}, http.Header{"Authorization": {"Basic eA=="}}},
		"off": {
			gate.Options{StripCredentials: &off},
			[]string{sessionCookieLine(c), "Authorization: Bearer " + c.Secret()},
			http.Header{"Cookie": {web.DefaultCookieName + "=" + c.Secret()}, "Authorization": {"Bearer " + c.Secret()}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p passed
			serve(t, newGate(t, a, test.gate), newRequest(t, http.MethodGet, "/", test.headers...), p.next)
			for _, header := range []string{"Cookie", "Authorization", "X-Session-Token"} {
				if !slices.Equal(p.header[header], test.want[header]) {
					t.Errorf("%s: %q, want %q", header, p.header[header], test.want[header])
				}
			}
		})
	}
}

func TestGateDuringAnOutage(t *testing.T) {
	for _, optional := range []bool{false, true} {
		for _, accept := range []string{"application/json", "text/html"} {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			a.takeStoreAway()
			var p passed
			w := serve(t, newGate(t, a, gate.Options{Optional: optional, LoginURL: "/login"}),
				newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Accept: "+accept), p.next)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || p.header != nil {
				t.Errorf("optional %v, %s: got %d, Retry-After %q, passed %v", optional, accept, w.Code, w.Header().Get("Retry-After"), p.header != nil)
			}
			if cookies := w.Header()["Set-Cookie"]; cookies != nil {
				t.Errorf("optional %v, %s: an outage touched cookies: %q", optional, accept, cookies)
			}
		}
	}
}

func TestGateClearsADeadCookie(t *testing.T) {
	a := newTestApp(t, nil)
	for _, gate := range []gate.Options{{}, {Optional: true}, {LoginURL: "/login"}} {
		w := serve(t, newGate(t, a, gate), newRequest(t, http.MethodGet, "/", "Cookie: "+web.DefaultCookieName+"=gone", "Accept: text/html"), nil)
		want := web.DefaultCookieName + "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; SameSite=Lax"
		if got := w.Header()["Set-Cookie"]; !slices.Equal(got, []string{want}) {
			t.Errorf("%+v: Set-Cookie %q", gate, got)
		}
	}
}

func TestIssueOnHeader(t *testing.T) {
	tests := map[string]struct {
		values   []string
		status   int
		identity string // of the session that was made
	}{
		"no header":          {nil, http.StatusOK, ""},
		"identity":           {[]string{`{"identity":"bob"}`}, http.StatusOK, "bob"},
		"with all":           {[]string{`{"identity":"bob","traits":{"a":1},"lifespan":"1h"}`}, http.StatusOK, "bob"},
		"not JSON":           {[]string{`bob`}, http.StatusBadGateway, ""},
		"two identities":     {[]string{`{"identity":"bob","identity":"eve"}`}, http.StatusBadGateway, ""},
		"in two spellings":   {[]string{`{"identity":"bob","Identity":"eve"}`}, http.StatusBadGateway, ""},
		"an unknown field":   {[]string{`{"identity":"bob","admin":true}`}, http.StatusBadGateway, ""},
		"an array":           {[]string{`["bob"]`}, http.StatusBadGateway, ""},
		"no identity":        {[]string{`{}`}, http.StatusBadGateway, ""},
		"twice":              {[]string{`{"identity":"bob"}`, `{"identity":"eve"}`}, http.StatusBadGateway, ""},
		"lifespan is broken": {[]string{`{"identity":"bob","lifespan":"soon"}`}, http.StatusBadGateway, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			old, oldSession := a.signIn(t, "alice", "")
			next := func(w http.ResponseWriter, _ *http.Request) error {
				for _, value := range test.values {
					w.Header().Add("X-Signed-In", value)
				}
				_, err := w.Write([]byte("welcome"))
				return err
			}
			w := serve(t, newGate(t, a, gate.Options{IssueOnHeader: "X-Signed-In", Optional: true}),
				newRequest(t, http.MethodPost, "/login", sessionCookieLine(old), "Accept: application/json"), next)
			if w.Code != test.status || w.Header()["X-Signed-In"] != nil {
				t.Errorf("got %d, header %q", w.Code, w.Header()["X-Signed-In"])
			}
			if welcomed := w.Body.String() == "welcome"; welcomed != (test.status == http.StatusOK) {
				t.Errorf("body %q", w.Body)
			}
			cookies := w.Result().Cookies()
			if test.identity == "" {
				if len(cookies) != 0 {
					t.Errorf("cookies %v", cookies)
				}
				return
			}
			if len(cookies) != 1 || cookies[0].Name != web.DefaultCookieName || !cookies[0].HttpOnly {
				t.Fatalf("cookies %v", cookies)
			}
			found, err := a.Lookup(t.Context(), session.NewCredential(cookies[0].Value, session.FromHeader))
			if err != nil || found.Session == nil || found.Session.Identity != test.identity {
				t.Errorf("session %+v, %v", found.Session, err)
			}
			if found, _ := a.LookupKey(t.Context(), oldSession.Key); found.Session != nil {
				t.Error("the session that the browser had before is live")
			}
		})
	}
}

func TestIssueOnHeaderDuringAnOutage(t *testing.T) {
	a := newTestApp(t, nil)
	next := func(w http.ResponseWriter, _ *http.Request) error {
		a.takeStoreAway()
		w.Header().Set("X-Signed-In", `{"identity":"bob"}`)
		_, err := w.Write([]byte("welcome"))
		return err
	}
	w := serve(t, newGate(t, a, gate.Options{IssueOnHeader: "X-Signed-In", Optional: true}),
		newRequest(t, http.MethodPost, "/login", "Accept: application/json"), next)
	if w.Code != http.StatusServiceUnavailable || w.Header()["Set-Cookie"] != nil || strings.Contains(w.Body.String(), "welcome") {
		t.Errorf("got %d %q, cookies %q", w.Code, w.Body, w.Header()["Set-Cookie"])
	}
}

// The handlers take an address from a proxy only if Caddy trusts that proxy.
func TestBaseURL(t *testing.T) {
	forwarded := []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: public.example"}
	tests := map[string]struct {
		configured string
		trusted    bool
		headers    []string
		want       string
	}{
		"the request's":      {"", false, nil, "http://app.example"},
		"untrusted proxy":    {"", false, forwarded, "http://app.example"},
		"trusted proxy":      {"", true, forwarded, "https://public.example"},
		"hostile proto":      {"", true, []string{"X-Forwarded-Proto: javascript"}, "http://app.example"},
		"hostile host":       {"", true, []string{"X-Forwarded-Host: a@evil.example"}, "http://app.example"},
		"configured is kept": {"https://id.example", true, forwarded, "https://id.example"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, func(a *App) { a.BaseURL = test.configured })
			r := newRequest(t, http.MethodGet, "http://app.example/", test.headers...)
			trust(r, test.trusted)
			if got := a.Base(r); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestMatchSession(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	tests := map[string]struct {
		identities []string
		headers    []string
		want       bool
	}{
		"anybody":        {nil, []string{sessionCookieLine(c)}, true},
		"anonymous":      {nil, nil, false},
		"named":          {[]string{"bob", "alice"}, []string{sessionCookieLine(c)}, true},
		"somebody else":  {[]string{"bob"}, []string{sessionCookieLine(c)}, false},
		"name in header": {[]string{"alice"}, []string{"X-User-Id: alice"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := &MatchSession{Identities: test.identities, site: a.Site}
			if got, err := m.MatchWithError(newRequest(t, http.MethodGet, "/", test.headers...)); err != nil || got != test.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	a.takeStoreAway()
	if _, err := (&MatchSession{site: a.Site}).MatchWithError(newRequest(t, http.MethodGet, "/", sessionCookieLine(c))); err == nil {
		t.Error("an outage is a mismatch")
	}
}

func TestSessionProvider(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", `{"email":"alice@example.com"}`)
	p := &SessionProvider{site: a.Site}
	user, ok, err := p.Authenticate(httptest.NewRecorder(), newRequest(t, http.MethodGet, "/", sessionCookieLine(c)))
	if err != nil || !ok || user.ID != "alice" || user.Metadata["email"] != "alice@example.com" {
		t.Errorf("got %+v, %v, %v", user, ok, err)
	}
	w := httptest.NewRecorder()
	if _, ok, err := p.Authenticate(w, newRequest(t, http.MethodGet, "/", "Cookie: "+web.DefaultCookieName+"=gone")); err != nil || ok {
		t.Errorf("dead cookie: %v, %v", ok, err)
	}
	if w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("headers %v", w.Header())
	}
	a.takeStoreAway()
	if _, ok, err := p.Authenticate(httptest.NewRecorder(), newRequest(t, http.MethodGet, "/", sessionCookieLine(c))); err == nil || ok {
		t.Error("an outage lets in, or is no error")
	}
}

// Placeholders of one request do not outlive it.
func TestPlaceholdersAreUnknownToTheAnonymous(t *testing.T) {
	a := newTestApp(t, nil)
	r := newRequest(t, http.MethodGet, "/")
	serve(t, newGate(t, a, gate.Options{Optional: true}), r, nil)
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if got := repl.ReplaceAll("{http.auth.user.id}{session.id}{session.logout_url}", ""); got != "" {
		t.Errorf("got %q", got)
	}
}

// A trait cannot make one person another.
func TestProviderKeepsTheIdentity(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "mallory", `{"id":"admin"}`)
	user, ok, err := (&SessionProvider{site: a.Site}).Authenticate(httptest.NewRecorder(), newRequest(t, http.MethodGet, "/", sessionCookieLine(c)))
	if err != nil || !ok || user.ID != "mallory" || user.Metadata["id"] != "" {
		t.Errorf("got %+v, %v, %v", user, ok, err)
	}
	var p passed
	gate := newGate(t, a, gate.Options{Headers: map[string]string{"X-User-Id": "{http.auth.user.id}"}})
	serve(t, gate, newRequest(t, http.MethodGet, "/", sessionCookieLine(c)), p.next)
	if got := p.header.Get("X-User-Id"); got != "mallory" {
		t.Errorf("the app hears of %q", got)
	}
}

// Several sites share one sign-in: each visitor comes back to where they were.
func TestGateReturnsToTheSiteThatWasAsked(t *testing.T) {
	a := newTestApp(t, func(a *App) {
		a.BaseURL = "https://id.example.com"
		a.AllowedReturnURLs = []string{"http://shop.example.com"}
	})
	for host, want := range map[string]string{
		"shop.example.com": "http://shop.example.com/page",
		"evil.example.org": "https://id.example.com/page",
	} {
		r := newRequest(t, http.MethodGet, "http://"+host+"/page", "Accept: text/html")
		w := serve(t, newGate(t, a, gate.Options{LoginURL: "/login"}), r, nil)
		location, err := url.Parse(w.Header().Get("Location"))
		if err != nil || location.Query().Get("return_to") != want {
			t.Errorf("%s: Location %q, want %s", host, w.Header().Get("Location"), want)
		}
	}
}
