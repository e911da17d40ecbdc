package caddylogout

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/returnurl"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// readCounter counts the reads of the store.
type readCounter struct {
	session.Store
	reads atomic.Int64
}

func (s *readCounter) Get(ctx context.Context, key session.Key) (session.Record, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, key)
}

func (a *testApp) countReads(t *testing.T) *readCounter {
	t.Helper()
	store, err := a.OpenStore()
	storetest.NoError(t, err)
	counter := &readCounter{Store: store}
	a.reopen(func(o *manager.Opened) { o.Store = counter })
	return counter
}

// However many credentials a request holds, and however long they are, few are
// looked up, and a good one among the first is found.
func TestCredentialLimits(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	counter := a.countReads(t)
	cookie := func(value string) string { return web.DefaultCookieName + "=" + value }
	made := func(n int, format string) []string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return all
	}
	bad := made(5000, web.DefaultCookieName+"=ory_st_%d")
	tests := map[string]struct {
		headers []string
		reads   int64
		status  int
	}{
		"as long as may be":            {[]string{"Cookie: " + cookie(strings.Repeat("x", session.MaxCredentialLength))}, 1, 401},
		"one byte longer":              {[]string{"Cookie: " + cookie(strings.Repeat("x", session.MaxCredentialLength+1))}, 0, 401},
		"a megabyte, and a good one":   {[]string{"Cookie: " + cookie(strings.Repeat("x", 1<<20)) + "; " + cookie(c.Secret())}, 1, 200},
		"5,000 cookies in one line":    {[]string{"Cookie: " + strings.Join(bad, "; ")}, session.MaxCredentials, 400},
		"5,000 lines of a cookie":      {made(5000, "Cookie: "+web.DefaultCookieName+"=ory_st_%d"), session.MaxCredentials, 400},
		"5,000 lines of other cookies": {append(made(5000, "Cookie: a%d=b"), "Cookie: "+cookie(c.Secret())), 1, 200},
		"the same one 5,000 times":     {[]string{"Cookie: " + strings.Repeat(cookie("x")+"; ", 5000) + cookie(c.Secret())}, 2, 200},
		"5,000 tokens":                 {made(5000, "X-Session-Token: %d"), session.MaxCredentials, 401},
		"5,000 bearers":                {made(5000, "Authorization: Bearer %d"), session.MaxCredentials, 401},
		"a good one as the last":       {[]string{"Cookie: " + strings.Join(bad[:session.MaxCredentials-1], "; ") + "; " + cookie(c.Secret())}, session.MaxCredentials, 200},
		"a good one behind them":       {[]string{"Cookie: " + strings.Join(bad, "; ") + "; " + cookie(c.Secret())}, session.MaxCredentials, 200},
		"a good one before them":       {[]string{"Cookie: " + cookie(c.Secret()) + "; " + strings.Join(bad, "; ")}, 1, 200},
		"a good one between them":      {[]string{"Cookie: " + strings.Join(bad[:100], "; ") + "; " + cookie(c.Secret()) + "; " + strings.Join(bad[100:], "; ")}, session.MaxCredentials, 400},
		"a good one behind tokens":     {append(made(7, "X-Session-Token: %d"), "Cookie: "+strings.Join(bad, "; ")+"; "+cookie(c.Secret())), session.MaxCredentials, 200},
		"no room for cookies":          {append(made(8, "X-Session-Token: %d"), "Cookie: "+cookie(c.Secret())), session.MaxCredentials, 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			counter.reads.Store(0)
			r := newRequest(t, "GET", "/sessions/whoami", append(test.headers, "Accept: application/json")...)
			w := serve(t, &signout.Handler{Site: a.Site}, r, nil)
			if reads := counter.reads.Load(); w.Code != test.status || reads != test.reads {
				t.Errorf("status %d and %d reads, want %d and %d", w.Code, reads, test.status, test.reads)
			}
		})
	}
}

// Bodies of ours end at 64 KiB, in whatever way they come.
func TestBodyLimits(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	a.Site.KeptErrors.SetBurst(0) // shown, not kept
	logout := &signout.Handler{Site: a.Site, Options: signout.Options{SessionsPage: "/account/sessions"}}
	const form, js = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	for name, test := range map[string]struct {
		method, path, before, after, kind string
		ok                                int
		broken                            bool // so that the end is not looked for
	}{
		"form to sign out":     {"POST", "/self-service/logout", "token=x&a=", "", form, 403, false},
		"JSON to sign out":     {"DELETE", "/self-service/logout/api", `{"session_token":"`, `"}`, js, 403, false},
		"form of the devices":  {"POST", "/account/sessions", "end=x&a=", "", form, 403, false},
		"JSON without an end":  {"DELETE", "/self-service/logout/api", strings.Repeat("[", 500), "", js, 400, true},
		"form of many details": {"POST", "/self-service/logout", "token=x" + strings.Repeat("&a", 5000) + "=", "", form, 403, false},
	} {
		for _, size := range []int{web.MaxBodyLength, web.MaxBodyLength + 1, 10 * web.MaxBodyLength} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " ", size, " ", chunked), func(t *testing.T) {
					body := &readLimit{Reader: strings.NewReader(test.before + strings.Repeat("x", size-len(test.before)-len(test.after)) + test.after)}
					r := newRequest(t, test.method, "http://app.example"+test.path, test.kind, sessionCookieLine(c), "Accept: text/html", "Sec-Fetch-Site: same-origin")
					r.Body, r.ContentLength = io.NopCloser(body), int64(size)
					if chunked {
						r.ContentLength = -1
					}
					want := test.ok
					if size > web.MaxBodyLength && !test.broken {
						want = http.StatusRequestEntityTooLarge
					}
					if w := serve(t, logout, r, nil); w.Code != want {
						t.Errorf("status %d, want %d: %s", w.Code, want, w.Body)
					}
					if body.read > web.MaxBodyLength+1 {
						t.Errorf("%d bytes were read", body.read)
					}
				})
			}
		}
	}
	if !a.alive(t, c) {
		t.Error("a session was ended")
	}
}

type readLimit struct {
	io.Reader
	read int
}

func (r *readLimit) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.read += n
	return n, err
}

// What a query may hold: a return URL of 2048 bytes, and as many names as
// net/url takes. A logout that is refused for it ends nothing.
func TestQueryLimits(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	token := session.LogoutToken(c)
	host := "http://app.example"
	path := func(size int) string { return url.QueryEscape("/" + strings.Repeat("x", size-1)) }
	fits := returnurl.MaxLength - len(host) // it is made absolute
	for _, test := range []struct {
		name, query string
		create, out int
	}{
		{"return URL beyond the length", "return_to=" + path(returnurl.MaxLength+1), 400, 400},
		{"return URL beyond it once it is absolute", "return_to=" + path(fits+1), 400, 400},
		{"return URL that grows beyond it", "return_to=" + url.QueryEscape("/"+strings.Repeat("é", returnurl.MaxLength/4)), 400, 400},
		{"return URL of a megabyte", "return_to=" + path(1<<20), 400, 400},
		{"100,000 names", strings.Repeat("a=b&", 100_000) + "return_to=/x", 200, 400},
		{"as long as may be", "return_to=" + path(fits), 200, 303},
	} {
		t.Run(test.name, func(t *testing.T) {
			send := func(path string) *httptest.ResponseRecorder {
				accept := "Accept: text/html"
				if strings.HasSuffix(path, "/browser") {
					accept = "Accept: application/json"
				}
				a.Site.KeptErrors.SetBurst(0) // shown, not kept
				return serve(t, &signout.Handler{Site: a.Site}, newRequest(t, "GET", host+path+"?"+test.query+"&token="+token, sessionCookieLine(c), accept), nil)
			}
			if w := send("/self-service/logout/browser"); w.Code != test.create || w.Body.Len() > 8<<10 {
				t.Errorf("create: status %d, want %d, and %d bytes", w.Code, test.create, w.Body.Len())
			}
			w := send("/self-service/logout")
			if w.Code != test.out || w.Body.Len() > 8<<10 {
				t.Errorf("submit: status %d, want %d, and %d bytes", w.Code, test.out, w.Body.Len())
			}
			if a.alive(t, c) == (test.out == 303) {
				t.Error("the session is not what the answer says")
			}
		})
	}
}

// A response deletes few cookies, and none with a long name.
func TestStripCookiesLimits(t *testing.T) {
	a := newTestApp(t, nil)
	var cookies []string
	for i := range 1000 {
		cookies = append(cookies, fmt.Sprintf("sid_%d=x; app-%d=y", i, i))
	}
	cookies = append(cookies, "app-"+strings.Repeat("x", signout.MaxStrippedName)+"=y")
	for name, cookies := range map[string][]string{
		"many": cookies, "long first": {cookies[1000], strings.Join(cookies[:1000], "; ")},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLogout(t, a, signout.AppLogout{StripCookies: []signout.StripCookies{
				{Names: []string{"sid"}, Domains: []string{"a.example", "b.example", "c.example"}, Paths: []string{"/a", "/b", "/c"}},
				{Names: []string{"app-*"}},
			}})
			r := newRequest(t, "GET", "https://app.example/", "Cookie: "+strings.Join(cookies, "; "))
			h := make(http.Header)
			l.DeleteStripped(h, r)
			names, size := make(map[string]bool), 0
			for _, line := range h["Set-Cookie"] {
				names[web.SetCookieName(line)] = true
				size += len(line)
			}
			if len(names) != 1+signout.MaxStripped || !names["sid"] {
				t.Errorf("%d names: %v", len(names), names)
			}
			if lines := len(h["Set-Cookie"]); lines > 2*signout.MaxVariants*len(names) || size > lines*(signout.MaxStrippedName+200) {
				t.Errorf("%d lines of %d bytes", lines, size)
			}
		})
	}
}

// An error repeats little of a request.
func TestRequestIDLimit(t *testing.T) {
	a := newTestApp(t, nil)
	for size, want := range map[int]bool{1: true, web.MaxRequestID: true, web.MaxRequestID + 1: false, 1 << 20: false} {
		id := strings.Repeat("r", size)
		w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, "GET", "/sessions/whoami", "Accept: application/json", "X-Request-Id: "+id), nil)
		if repeated := strings.Contains(w.Body.String(), `"request":"`+id+`"`); repeated != want || w.Body.Len() > 1<<10 {
			t.Errorf("%d bytes: repeated is %v, and the answer has %d bytes", size, repeated, w.Body.Len())
		}
	}
}

// A header of half a megabyte, should a server accept it, takes milliseconds. If the
// work grew with the square of its elements, it would take minutes.
func TestLargeHeadersInLinearTime(t *testing.T) {
	t.Parallel()
	const size, patience = 1 << 19, time.Minute
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}, StripCookies: []signout.StripCookies{{Names: []string{"a*b*c", "sid"}}}})
	gate := newGate(t, a, gate.Options{Optional: true})
	fill := func(name, element string) []string {
		return []string{name + ": " + strings.Repeat(element, size/len(element))}
	}
	lines := func(line string) []string {
		return strings.Split(strings.Repeat(line+"\n", size/len(line)-1)+line, "\n")
	}
	for name, headers := range map[string][]string{
		"cookie separators":       fill("Cookie", ";"),
		"cookies":                 fill("Cookie", "a=b;"),
		"cookies without a name":  fill("Cookie", "=;"),
		"session cookies":         fill("Cookie", web.DefaultCookieName+"=x;"),
		"our cookies and others":  fill("Cookie", web.DefaultCookieName+"=x; ab;"),
		"one name for a glob":     {"Cookie: a" + strings.Repeat("b", size) + "=x"},
		"names for a glob":        fill("Cookie", "abbbbbb=x;"),
		"chunks":                  fill("Cookie", "sid_1=x;"),
		"quotes":                  fill("Cookie", `"`),
		"equals signs":            fill("Cookie", "="),
		"cookie lines":            lines("Cookie: a=b"),
		"session cookie lines":    lines("Cookie: " + web.DefaultCookieName + "=x"),
		"connection options":      fill("Connection", "cookie,"),
		"other options":           fill("Connection", "a,"),
		"connection lines":        lines("Connection: x-user-id"),
		"token lines":             lines("X-Session-Token: x"),
		"bearer of spaces":        fill("Authorization", "Bearer "),
		"accept":                  fill("Accept", "text/html;q=0.1,"),
		"accept of quotes":        fill("Accept", `"`),
		"accept lines":            lines("Accept: a/b"),
		"content type":            fill("Content-Type", "a/b;"),
		"user agent":              fill("User-Agent", "\xff"),
		"languages":               fill("Accept-Language", "en;q=0.1,"),
		"origin":                  fill("Origin", "http://"),
		"referer":                 fill("Referer", "http://app.example/"),
		"sec-fetch-site":          fill("Sec-Fetch-Site", "none,"),
		"forwarded":               fill("X-Forwarded-Host", "a,"),
		"header names of the app": lines("X_User.Id: x"),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			for _, target := range []string{"/page", "/logout", "/sessions/whoami", "/self-service/logout?token=x"} {
				r := newRequest(t, "GET", "http://app.example"+target, append(headers, "X-Session-Token: "+c.Secret())...)
				w := serve(t, l, r, func(w http.ResponseWriter, r *http.Request) error {
					return gate.ServeHTTP(w, r, caddyhttp.HandlerFunc(new(passed).next))
				})
				if size := w.Body.Len() + len(fmt.Sprint(w.Header())); size > 64<<10 {
					t.Errorf("%s: %d bytes of answer", target, size)
				}
				if !a.alive(t, c) {
					c, _ = a.signIn(t, "alice", "")
				}
			}
			if took := time.Since(began); took > patience {
				t.Errorf("took %v", took)
			}
		})
	}
}
