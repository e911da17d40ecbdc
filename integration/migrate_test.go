package integration_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// adapter is a page with an adapter, and the service behind it.
type bridge struct {
	page, service string            // the address of the service on the page
	cookie        string            // by which it knows a browser
	header        string            // that names the person
	check         string            // where it is asked
	signIn        string            // where it signs people in
	people        map[string]string // what it says, by the cookie's value
	good, evil    string            // values of the cookie
}

var bridges = map[string]bridge{
	"oauth2-proxy": {
		page: "oauth2-proxy.md", service: "127.0.0.1:4180", cookie: "_oauth2_proxy",
		header: "X-Auth-Request-Email", check: "/oauth2/auth", signIn: "/oauth2/sign_in",
		people: map[string]string{"of-alice": "alice@example.com", "of-mallory": `m@example.com","identity":"alice@example.com`},
		good:   "of-alice", evil: "of-mallory",
	},
	"kratos": {
		page: "kratos-forward-auth.md", service: "127.0.0.1:4433", cookie: "ory_kratos_session",
		header: "X-Kratos-Authenticated-Identity-Id", check: "/sessions/whoami", signIn: "/self-service/login/browser",
		people: map[string]string{"of-alice": "7bc2ffd0-14a5-4b1d-8f46-0d2c1ab1d6a0", "of-mallory": `x","identity":"alice`},
		good:   "of-alice", evil: "of-mallory",
	},
}

// service stands in for what signs people in. It signs out as oauth2-proxy does.
func (b bridge) serve(t *testing.T) string {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		person := ""
		if cookie, err := r.Cookie(b.cookie); err == nil {
			person = b.people[cookie.Value]
		}
		switch {
		case r.URL.Path == "/oauth2/sign_out":
			http.SetCookie(w, &http.Cookie{Name: b.cookie, Path: "/", MaxAge: -1})
		case r.URL.Path != b.check:
		case person == "":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set(b.header, person)
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(service.Close)
	return service.Listener.Addr().String()
}

// start runs the Caddyfile of the page in front of an app that says who it was
// told to serve.
func (b bridge) start(t *testing.T) *caddyServer {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "migrate", b.page))
	if err != nil {
		t.Fatal(err)
	}
	block := ""
	for _, match := range regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(match[1], "issue_on_header") {
			block = match[1]
		}
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := r.Header.Get("X-Forwarded-Email") + r.Header.Get("X-Kratos-Authenticated-Identity-Id")
		_, _ = w.Write([]byte("hello, " + told + " at " + r.URL.Path))
	}))
	t.Cleanup(app.Close)
	service := b.serve(t)
	for _, change := range []struct{ from, to string }{
		{"app.example.com {", "http://localhost:{$PORT} {\n\tbind 127.0.0.1"},
		{`^https://app\.example\.com/`, "^http://localhost:{$PORT}/"},
		{b.service, service},
		{"https://accounts.example.com", "http://" + service},
		{"127.0.0.1:9000", app.Listener.Addr().String()},
	} {
		block = strings.ReplaceAll(block, change.from, change.to)
	}
	return start(t, serverOptions{caddyfile: block})
}

func TestMigrationBridges(t *testing.T) {
	t.Parallel()
	for name, b := range bridges {
		t.Run(name, func(t *testing.T) {
			s := b.start(t)
			base := "http://localhost:" + s.port
			// comes returns a browser that has a cookie of the service.
			comes := func(value string) visitor {
				jar, err := cookiejar.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				v := visitor{t, &http.Client{Jar: jar}, base}
				if at, err := url.Parse(base); err == nil && value != "" {
					jar.SetCookies(at, []*http.Cookie{{Name: b.cookie, Value: value, Path: "/"}})
				}
				return v
			}
			hello := "hello, " + b.people[b.good] + " at "

			v := comes(b.good)
			if at, page := v.do(http.MethodGet, base+"/a/page?x=1", nil); page != hello+"/a/page" || at.RawQuery != "x=1" {
				t.Errorf("who has a session there is at %s: %s", at, page)
			}
			if _, page := v.do(http.MethodGet, base+"/", nil, b.header+": the boss"); page != hello+"/" {
				t.Errorf("with a header of the client: %s", page)
			}
			if at, page := v.do(http.MethodGet, base+"/sso?return_to=https://evil.example/", nil); at.Host != "localhost:"+s.port || page != hello+"/" {
				t.Errorf("a return URL led to %s: %s", at, page)
			}

			if at, page := comes("").do(http.MethodGet, base+"/", nil, b.header+": the boss"); at.Path != b.signIn {
				t.Errorf("a stranger is at %s: %s", at, page)
			}
			if at, page := comes(b.evil).do(http.MethodGet, base+"/", nil); at.Path != "/sso" || strings.Contains(page, "hello") {
				t.Errorf("who has quotes in the name is at %s: %s", at, page)
			}
			if name == "oauth2-proxy" {
				b.signsOut(v)
			}
		})
	}
}

// signsOut follows the service's own sign-out, which is a logout path here.
func (b bridge) signsOut(v visitor) {
	v.t.Helper()
	home, err := url.Parse(v.base)
	if err != nil {
		v.t.Fatal(err)
	}
	old := v.client.Jar.Cookies(home)
	if at, _ := v.do(http.MethodGet, v.base+"/oauth2/sign_out", nil); at.Path != "/goodbye" {
		v.t.Errorf("after signing out at %s", at)
	}
	if left := v.client.Jar.Cookies(home); len(left) != 0 {
		v.t.Errorf("%d cookies are left", len(left))
	}
	if at, _ := v.do(http.MethodGet, v.base+"/", nil); at.Path != b.signIn {
		v.t.Errorf("back at the app: %s", at)
	}
	for _, cookie := range old {
		if cookie.Name == b.cookie {
			continue // what a copy of it is worth is the service's to say
		}
		if at, page := v.do(http.MethodGet, v.base+"/", nil, "Cookie: "+cookie.Name+"="+cookie.Value); at.Path != b.signIn {
			v.t.Errorf("the old cookie still opens %s: %s", at, page)
		}
	}
}
