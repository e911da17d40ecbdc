package caddylogout

import (
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

// expired is what every deletion says besides name, domain and path.
const expired = "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly"

func TestStripCookies(t *testing.T) {
	const secure, partitioned = "; Secure", "; Secure; SameSite=None; Partitioned"
	tests := map[string]struct {
		strip  signout.StripCookies
		base   string
		cookie string
		want   []string
	}{
		"plain, HTTP": {signout.StripCookies{Names: []string{"sid"}}, "http://app.example", "", []string{"sid=; Path=/" + expired}},
		"plain, HTTPS": {signout.StripCookies{Names: []string{"sid"}}, "https://app.example", "sid=1", []string{
			"sid=; Path=/" + expired + secure, "sid=; Path=/" + expired + partitioned,
		}},
		"domains and paths": {
			signout.StripCookies{Names: []string{"sid"}, Domains: []string{"app.example", "example"}, Paths: []string{"/a", "/"}}, "http://app.example", "", []string{
				"sid=; Path=/" + expired, "sid=; Path=/a" + expired,
				"sid=; Path=/; Domain=app.example" + expired, "sid=; Path=/a; Domain=app.example" + expired,
				"sid=; Path=/; Domain=example" + expired, "sid=; Path=/a; Domain=example" + expired,
			},
		},
		"__Host-": {
			signout.StripCookies{Names: []string{"__Host-sid"}, Domains: []string{"app.example"}, Paths: []string{"/a"}}, "http://app.example", "", []string{
				"__Host-sid=; Path=/" + expired + secure, "__Host-sid=; Path=/" + expired + partitioned,
			},
		},
		"__Secure-": {
			signout.StripCookies{Names: []string{"__secure-sid"}, Domains: []string{"app.example"}}, "http://app.example", "", []string{
				"__secure-sid=; Path=/" + expired + secure, "__secure-sid=; Path=/" + expired + partitioned,
				"__secure-sid=; Path=/; Domain=app.example" + expired + secure, "__secure-sid=; Path=/; Domain=app.example" + expired + partitioned,
			},
		},
		"chunks and relatives": {
			signout.StripCookies{Names: []string{"sid"}}, "http://app.example", "sid_0=a; sid.12=b; sid-3=c; sidC1=d; sid_=e; sid_x=f; sid_1234=g; side=h; Sid_0=i; __Secure-sid.1=j", []string{
				"sid=; Path=/" + expired, "sid_0=; Path=/" + expired, "sid.12=; Path=/" + expired, "sid-3=; Path=/" + expired, "sidC1=; Path=/" + expired,
				"__Secure-sid.1=; Path=/" + expired + secure, "__Secure-sid.1=; Path=/" + expired + partitioned,
			},
		},
		"glob": {
			signout.StripCookies{Names: []string{"wp_*_in"}}, "http://app.example", `wp_logged_in=1; wp_logged_in=2; wp_in=3; wp__in=4; WP_x_in=5; =wp_x_in; wp_"_in=6; wp_[x]_in=7`, []string{
				"wp_logged_in=; Path=/" + expired, "wp__in=; Path=/" + expired, "wp_[x]_in=; Path=/" + expired,
			},
		},
		"glob without such cookies": {signout.StripCookies{Names: []string{"wp_*"}}, "http://app.example", "a=b", nil},
		"everything but ours": {
			signout.StripCookies{Names: []string{"*"}}, "http://app.example", "a=1; " + web.DefaultCookieName + "=x; csrf_token_2ad2f6a1e5e0e1f5=2; BROWSER=y", []string{
				"a=; Path=/" + expired, "csrf_token_2ad2f6a1e5e0e1f5=; Path=/" + expired,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			l := newLogout(t, a, signout.AppLogout{StripCookies: []signout.StripCookies{test.strip}})
			r := newRequest(t, http.MethodGet, test.base+"/", "Cookie: "+strings.ReplaceAll(test.cookie, "BROWSER", a.BrowserCookieName(false)))
			h := make(http.Header)
			l.DeleteStripped(h, r)
			if !slices.Equal(h["Set-Cookie"], test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(h["Set-Cookie"], "\n"), strings.Join(test.want, "\n"))
			}
			for _, line := range h["Set-Cookie"] {
				if cookie, err := http.ParseSetCookie(line); err == nil && (cookie.Value != "" || cookie.MaxAge >= 0 || cookie.Expires.Year() != 1970) {
					t.Errorf("%s deletes nothing", line)
				}
			}
		})
	}
}

func TestStripCookiesBounded(t *testing.T) {
	a := newTestApp(t, nil)
	l := newLogout(t, a, signout.AppLogout{StripCookies: []signout.StripCookies{{Names: []string{"sid"}}, {Names: []string{"x*"}}}})
	var cookies []string
	for i := range 100 {
		cookies = append(cookies, "sid_"+strconv.Itoa(i)+"=1", "x"+strconv.Itoa(i)+"=1")
	}
	h := make(http.Header)
	l.DeleteStripped(h, newRequest(t, http.MethodGet, "http://app.example/", "Cookie: "+strings.Join(cookies, "; ")))
	if got := len(h["Set-Cookie"]); got != signout.MaxStripped+1 {
		t.Errorf("%d lines", got)
	}
}

// What an app sets in its answer to a logout: deletions pass, new cookies that a
// logout ends do not.
func TestSetsStripped(t *testing.T) {
	l := &signout.AppLogout{StripCookies: []signout.StripCookies{{Names: []string{"sid"}}, {Names: []string{"wp_*"}}}}
	for line, want := range map[string]bool{
		"sid=1": true, "sid=": true, " sid =1; Path=/": true, "sid_0=1": true, "wp_x=1; Max-Age=10": true, "__Host-sid=1; Secure": true, "=sid=1": true,
		"sid=1; Expires=Fri, 01 Jan 2100 00:00:00 GMT": true, "sid=1; Max-Age=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT": true,
		"sid=; Max-Age=0": false, "sid=x; Max-Age=-1; Domain=app.example": false, "sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT": false,
		"side=1": false, "theme=sid": false, "theme": false, "": false,
	} {
		if got := l.SetsStripped(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// Every way out deletes the app's cookies, and has the browser forget on HTTPS.
func TestForgetInEveryFlow(t *testing.T) {
	options := signout.AppLogout{
		Paths: []string{"/logout"}, StripCookies: []signout.StripCookies{{Names: []string{"sid"}}}, ClearSiteData: []string{"cache", "storage"},
		LogoutOn: []signout.LogoutOn{{Location: []string{"/app/bye"}}},
	}
	flows := map[string]struct {
		method, target string
		status         int
	}{
		"logout URL":      {"GET", "SUBMIT", 204},
		"app's own":       {"GET", "/logout", 204},
		"everywhere":      {"DELETE", "/sessions?all=true", 200},
		"by the response": {"POST", "/anywhere", 302},
	}
	for name, flow := range flows {
		for _, scheme := range []string{"http", "https"} {
			for _, on := range []bool{false, true} {
				t.Run(name+", "+scheme+", "+strconv.FormatBool(on), func(t *testing.T) {
					a := newTestApp(t, nil)
					c, _ := a.signIn(t, "alice", "")
					l := newLogout(t, a, signout.AppLogout{Paths: options.Paths, LogoutOn: options.LogoutOn})
					if on {
						l = newLogout(t, a, options)
					}
					target := scheme + "://app.example" + strings.ReplaceAll(flow.target, "SUBMIT", submitTarget(c))
					r := newRequest(t, flow.method, target, "Accept: application/json", "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
					w := serve(t, l, r, func(w http.ResponseWriter, _ *http.Request) error {
						w.Header().Set("Location", "/app/bye")
						w.WriteHeader(http.StatusFound)
						return nil
					})
					if w.Code != flow.status || a.alive(t, c) || !clears(w) {
						t.Errorf("got %d, alive %v, cookies %q", w.Code, a.alive(t, c), w.Header()["Set-Cookie"])
					}
					if got := strings.Contains(strings.Join(w.Header()["Set-Cookie"], "\n"), "sid=; Path=/; Expires"); got != on {
						t.Errorf("stripped %v: %q", got, w.Header()["Set-Cookie"])
					}
					want := ""
					if on && scheme == "https" {
						want = `"cache", "storage"`
					}
					if got := w.Header().Get("Clear-Site-Data"); got != want {
						t.Errorf("Clear-Site-Data: %s", got)
					}
				})
			}
		}
	}
}

// A failed logout, or a request that is not one, deletes no cookie.
func TestForgetNothing(t *testing.T) {
	options := signout.AppLogout{Paths: []string{"/logout"}, StripCookies: []signout.StripCookies{{Names: []string{"sid"}}}, ClearSiteData: []string{"cookies"}}
	for name, target := range map[string]string{
		"wrong token": "/self-service/logout?token=x", "asked first": "/logout", "others only": "/sessions",
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			r := newRequest(t, http.MethodGet, "https://app.example"+target, "Sec-Fetch-Site: cross-site", sessionCookieLine(c))
			if name == "others only" {
				r = newRequest(t, http.MethodDelete, "https://app.example"+target, "Sec-Fetch-Site: same-origin", sessionCookieLine(c))
			}
			w := serve(t, newLogout(t, a, options), r, nil)
			if w.Header().Get("Clear-Site-Data") != "" || strings.Contains(strings.Join(w.Header()["Set-Cookie"], "\n"), "sid=") {
				t.Errorf("got %q", w.Header())
			}
		})
	}
}

func TestLogoutOn(t *testing.T) {
	on := []signout.LogoutOn{
		{ResponseMatcher: caddyhttp.ResponseMatcher{StatusCode: []int{3}}, Location: []string{"/login", "https://id.example/"}},
		{ResponseMatcher: caddyhttp.ResponseMatcher{Headers: http.Header{"X-Logged-Out": {"*"}, "X-State": {"*out"}}}},
	}
	tests := map[string]struct {
		status int
		header []string
		out    bool
	}{
		"to the login page":          {302, []string{"Location: /login?x"}, true},
		"to the login page, whole":   {303, []string{"Location: http://app.example/login"}, true},
		"to another host":            {302, []string{"Location: https://id.example/end"}, true},
		"to another host's login":    {302, []string{"Location: https://other.example/login"}, false},
		"elsewhere":                  {302, []string{"Location: /app"}, false},
		"no redirect":                {201, []string{"Location: /login"}, false},
		"by two headers":             {200, []string{"X-Logged-Out: 1", "X-State: signed-out"}, true},
		"by one of two":              {200, []string{"X-Logged-Out: 1"}, false},
		"by two headers, other":      {200, []string{"X-Logged-Out: 1", "X-State: in"}, false},
		"nothing that says anything": {200, nil, false},
	}
	for name, test := range tests {
		for _, configured := range []bool{false, true} {
			t.Run(name+", "+strconv.FormatBool(configured), func(t *testing.T) {
				a := newTestApp(t, nil)
				c, _ := a.signIn(t, "alice", "")
				options := signout.AppLogout{StripCookies: []signout.StripCookies{{Names: []string{"sid"}}}}
				if configured {
					options.LogoutOn = on
				}
				gate := newGate(t, a, gate.Options{}) // takes our cookie out on the way
				r := newRequest(t, http.MethodPost, "http://app.example/x", "Sec-Fetch-Site: cross-site", sessionCookieLine(c))
				w := serve(t, newLogout(t, a, options), r, func(w http.ResponseWriter, r *http.Request) error {
					return gate.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
						w.Header().Add("Set-Cookie", "sid=new")
						for _, line := range test.header {
							name, value, _ := strings.Cut(line, ": ")
							w.Header().Set(name, value)
						}
						w.WriteHeader(test.status)
						_, err := w.Write([]byte("body"))
						return err
					}))
				})
				want := test.out && configured
				if a.alive(t, c) == want || clears(w) != want {
					t.Errorf("alive %v, cookies %q", a.alive(t, c), w.Header()["Set-Cookie"])
				}
				if strings.Contains(strings.Join(w.Header()["Set-Cookie"], "\n"), "sid=new") == want {
					t.Errorf("cookies %q", w.Header()["Set-Cookie"])
				}
				if w.Body.String() != "body" || w.Code != test.status {
					t.Errorf("got %d %q", w.Code, w.Body)
				}
			})
		}
	}
}

// A redirect of an anonymous visitor to the login page is not a logout.
func TestLogoutOnAnonymous(t *testing.T) {
	a := newTestApp(t, nil)
	l := newLogout(t, a, signout.AppLogout{LogoutOn: []signout.LogoutOn{{Location: []string{"/login"}}}, StripCookies: []signout.StripCookies{{Names: []string{"sid"}}}})
	toLogin := func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Location", "/login")
		w.WriteHeader(http.StatusFound)
		return nil
	}
	if w := serve(t, l, newRequest(t, http.MethodGet, "http://app.example/", "Cookie: a=b"), toLogin); w.Header()["Set-Cookie"] != nil {
		t.Errorf("cookies %q", w.Header()["Set-Cookie"])
	}
	if w := serve(t, l, newRequest(t, http.MethodGet, "http://app.example/", "Cookie: sid=1"), toLogin); len(w.Header()["Set-Cookie"]) != 1 {
		t.Errorf("cookies %q", w.Header()["Set-Cookie"])
	}
}

// The app says that the person is out, and our session cannot be ended.
func TestLogoutOnOutage(t *testing.T) {
	for _, journal := range []bool{false, true} {
		a := newTestApp(t, nil)
		if journal {
			a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
		}
		c, _ := a.signIn(t, "alice", "")
		l := newLogout(t, a, signout.AppLogout{LogoutOn: []signout.LogoutOn{{ResponseMatcher: caddyhttp.ResponseMatcher{StatusCode: []int{410}}}}})
		bringBack := func() {}
		w := serve(t, l, newRequest(t, http.MethodGet, "http://app.example/", "Accept: text/html", sessionCookieLine(c)), func(w http.ResponseWriter, _ *http.Request) error {
			bringBack = a.takeStoreAway()
			w.Header().Set("Set-Cookie", "x=y")
			w.WriteHeader(http.StatusGone)
			_, err := w.Write([]byte("you are out"))
			return err
		})
		bringBack()
		want := map[bool]int{false: http.StatusServiceUnavailable, true: http.StatusAccepted}[journal]
		if w.Code != want || clears(w) != journal || strings.Contains(w.Body.String(), "you are out") || strings.Contains(strings.Join(w.Header()["Set-Cookie"], ""), "x=y") {
			t.Errorf("journal %v: got %d %q", journal, w.Code, w.Header())
		}
	}
}

// Our cookies never reach the app; all others do, byte for byte.
func TestOwnCookiesNeverReachTheApp(t *testing.T) {
	a := newTestApp(t, func(a *App) { a.ErrorUI = "/error" })
	c, _ := a.signIn(t, "alice", "")
	gate := newGate(t, a, gate.Options{})
	plain, host := a.BrowserCookieName(false), a.BrowserCookieName(true)
	for name, test := range map[string]struct {
		target string
		lines  []string
		want   []string
	}{
		"all of ours":          {"/app", []string{"a=1; " + plain + "=x;  b = 2;;" + host + "=y", "c", web.DefaultCookieName + "=z"}, []string{"a=1;  b = 2;", "c"}},
		"not ours":             {"/app", []string{"csrf_token=1; csrf_token_abc=2; __Host-csrf_token=3"}, []string{"csrf_token=1; csrf_token_abc=2; __Host-csrf_token=3"}},
		"on the error page":    {"/error?id=1", []string{"a=1; " + host + "=y; " + plain + "=x"}, []string{"a=1; " + host + "=y; " + plain + "=x"}},
		"below the error page": {"/error/x", []string{"a=1; " + host + "=y"}, []string{"a=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var p passed
			r := newRequest(t, http.MethodGet, "http://app.example"+test.target, sessionCookieLine(c))
			r.Header["Cookie"] = append(r.Header["Cookie"], test.lines...)
			serve(t, gate, r, p.next)
			if !slices.Equal(p.header["Cookie"], test.want) {
				t.Errorf("the app got %q, want %q", p.header["Cookie"], test.want)
			}
		})
	}
}

// Nor do they come from it, in whatever spelling a browser would take for them.
func TestOwnCookiesNeverComeFromTheApp(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	gate := newGate(t, a, gate.Options{Optional: true})
	app := func(w http.ResponseWriter, _ *http.Request) error {
		for _, line := range []string{
			"a=1", web.DefaultCookieName + "=evil", " " + web.DefaultCookieName + " = evil; Path=/x", "=" + web.DefaultCookieName + "=evil",
			a.BrowserCookieName(true) + "=evil", a.BrowserCookieName(false) + "=", "b", "ory_kratos_sessions=mine", "Ory_Kratos_Session=mine",
		} {
			w.Header().Add("Set-Cookie", line)
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	for _, cookie := range []string{sessionCookieLine(c), "Cookie: " + web.DefaultCookieName + "=dead", "Cookie: x=y"} {
		w := serve(t, gate, newRequest(t, http.MethodGet, "http://app.example/", cookie), app)
		lines := slices.DeleteFunc(slices.Clone(w.Header()["Set-Cookie"]), func(line string) bool { return strings.HasPrefix(line, web.DefaultCookieName+"=; Path=/;") })
		if want := []string{"a=1", "b", "ory_kratos_sessions=mine", "Ory_Kratos_Session=mine"}; !slices.Equal(lines, want) {
			t.Errorf("%s: got %q", cookie, lines)
		}
		if strings.Contains(cookie, "dead") != (len(lines) < len(w.Header()["Set-Cookie"])) {
			t.Errorf("%s: cleared by us: %q", cookie, w.Header()["Set-Cookie"])
		}
	}
}

// A handler of ours behind the gate may set them.
func TestOwnCookiesBehindTheGate(t *testing.T) {
	a := newTestApp(t, nil)
	gate := newGate(t, a, gate.Options{Optional: true})
	c, s := a.signIn(t, "alice", "")
	w := serve(t, gate, newRequest(t, http.MethodGet, "http://app.example/"), func(w http.ResponseWriter, r *http.Request) error {
		a.SetSessionCookie(w, r, c, s)
		w.Header().Add("Set-Cookie", web.DefaultCookieName+"=evil")
		w.WriteHeader(http.StatusOK)
		return nil
	})
	if lines := w.Header()["Set-Cookie"]; len(lines) != 1 || !strings.Contains(lines[0], c.Secret()) {
		t.Errorf("got %q", lines)
	}
}
