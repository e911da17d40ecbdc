package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// repository is where the examples are run from, as their heads say.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func exampleText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(t), "caddyfile-examples", name+".Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exampleServer says how to prepare an example: other addresses for those in it,
// as pairs of old and new, and what it reads of the environment.
type exampleServer struct {
	name      string
	addresses []string
	env       []string
	accounts  bool // takes the accounts that the examples come with
}

// demoAccount is the account of the examples, with a hash that is quick to check:
// to sign in is most of what these tests do.
var demoAccount = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte("demo-password"), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return "demo:" + string(hash) + "\n"
})

// timeoutLine says how long Redis may take.
var timeoutLine = regexp.MustCompile(`(?m)^\t\t\ttimeout .*\n`)

// prepare lays out an example on a port of its own. Besides addresses it changes
// what is about time, and no test of an example is: how long Redis may take is
// not how long it takes on a machine that tests race on.
func (e exampleServer) prepare(t *testing.T) *caddyServer {
	t.Helper()
	text := strings.ReplaceAll(exampleText(t, e.name), "http://localhost:8080", "http://localhost:{$PORT}")
	for i := 0; i < len(e.addresses); i += 2 {
		if !strings.Contains(text, e.addresses[i]) {
			t.Fatalf("the example does not name %s any more", e.addresses[i])
		}
		text = strings.ReplaceAll(text, e.addresses[i], e.addresses[i+1])
	}
	if !e.accounts {
		text = strings.ReplaceAll(text, "caddyfile-examples/accounts.txt", "{$DIR}/accounts.txt")
		text = strings.ReplaceAll(text, "{$ACCOUNTS:{$DIR}/accounts.txt}", "{$DIR}/accounts.txt")
	}
	text = timeoutLine.ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "\t\t\tpassword {env.REDIS_PASSWORD}\n", "\t\t\tpassword {env.REDIS_PASSWORD}\n\t\t\ttimeout 10s\n\t\t\tdial_timeout 10s\n")
	// Tests listen on loopback, and leave no authority behind that is trusted.
	options := "{\n\tdefault_bind 127.0.0.1\n\tskip_install_trust\n"
	if before, after, found := strings.Cut(text, "\n{\n"); found {
		text = before + "\n" + options + after
	} else {
		text = options + "}\n" + text
	}
	return prepare(t, serverOptions{
		caddyfile: text, files: map[string]string{"accounts.txt": demoAccount()}, cwd: repository(t), env: e.env,
	})
}

func (e exampleServer) start(t *testing.T) *caddyServer {
	t.Helper()
	s := e.prepare(t)
	s.run()
	return s
}

// newExampleApp starts an app that says what it hears of the session, and no
// more than that.
func newExampleApp(t *testing.T) (addr string) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<p id="user">%s</p><a id="sign-out" href="%s">out</a> credentials: %q`, r.Header.Get("X-User-Id"),
			strings.ReplaceAll(r.Header.Get("X-Logout-Url"), "&", "&amp;"), r.Header.Get("Cookie")+r.Header.Get("Authorization"))
	}))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

func newVisitor(t *testing.T, base string) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return visitor{t, &http.Client{Jar: jar}, base}
}

// exampleVisitor visits an example at the address that its head names.
func exampleVisitor(t *testing.T, s *caddyServer) visitor {
	t.Helper()
	return newVisitor(t, "http://localhost:"+s.port)
}

// wantSignIn checks that a page is for people with a session.
func (v visitor) wantSignIn(address string) (*url.URL, string) {
	v.t.Helper()
	at, page := v.do(http.MethodGet, address, nil)
	if !strings.HasSuffix(at.Path, "/self-service/login") {
		v.t.Fatalf("%s without a session: at %s:\n%s", address, at, page)
	}
	return at, page
}

// signIn goes to a page, is asked to sign in, and gets there.
func (v visitor) signIn(address string) string {
	v.t.Helper()
	at, page := v.wantSignIn(address)
	action, err := at.Parse(v.find(page, `<form[^>]* action="([^"]+)"`))
	if err != nil {
		v.t.Fatal(err)
	}
	at, page = v.do(http.MethodPost, action.String(), url.Values{
		"method": {"password"}, "identifier": {"demo"}, "password": {"demo-password"},
		"csrf_token": {v.find(page, `name="csrf_token" value="([^"]+)"`)},
	})
	if at.String() != address {
		v.t.Fatalf("signed in, and at %s instead of %s:\n%s", at, address, page)
	}
	return page
}

// cookies returns what the visitor's browser would send there.
func (v visitor) cookies(address string) string {
	v.t.Helper()
	at, err := url.Parse(address)
	if err != nil {
		v.t.Fatal(err)
	}
	var all []string
	for _, cookie := range v.client.Jar.Cookies(at) {
		all = append(all, cookie.Name+"="+cookie.Value)
	}
	return strings.Join(all, "; ")
}

// comesAndGoes is what all examples with a sign-in page have in common: nobody
// gets to the page without a session; with one, the app hears who it is and gets
// no credential; signed out, neither the browser nor its old cookies get there.
func (v visitor) comesAndGoes(address string) {
	v.t.Helper()
	page := v.signIn(address)
	if got := v.find(page, `id="user">([^<]*)<`); got != "demo" {
		v.t.Errorf("the app hears of %q", got)
	}
	if strings.Contains(page, "ory_st_") {
		v.t.Errorf("the app gets the credential:\n%s", page)
	}
	old := v.cookies(address)
	v.do(http.MethodGet, v.find(page, `id="sign-out" href="([^"]+)"`), nil)
	v.wantOut(address, old)
}

// wantOut checks that the browser is signed out, and what is left of it, too.
func (v visitor) wantOut(address, old string) {
	v.t.Helper()
	v.wantSignIn(address)
	thief := newVisitor(v.t, v.base)
	thief.client.Transport = v.client.Transport
	if at, page := thief.do(http.MethodGet, address, nil, "Cookie: "+old); !strings.HasSuffix(at.Path, "/self-service/login") {
		v.t.Errorf("the old cookies still open %s:\n%s", at, page)
	}
}

// TestExamples runs each example; scripts/examples.sh and the test of the same
// name in the root check how they are written.
func TestExamples(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T){
		"app-login":      testAppLoginExample,
		"app-logout":     testAppLogoutExample,
		"bearer-api":     testBearerExample,
		"log-redaction":  testLogExample,
		"minimal":        testMinimalExample,
		"optional":       testOptionalExample,
		"prefix":         testPrefixExample,
		"quickstart":     testQuickstartExample,
		"redis":          testRedisExample,
		"redis-cluster":  testClusterExample,
		"redis-sentinel": testSentinelExample,
		"redis-tls":      testTLSExample,
		"several-apps":   testSeveralAppsExample,
		"sidecar":        testSidecarExample,
		"websocket":      testWebSocketExample,
	}
	readsFiles(t, filepath.Join(repository(t), "caddyfile-examples"))
	files, err := filepath.Glob(filepath.Join(repository(t), "caddyfile-examples", "*.Caddyfile"))
	if err != nil || len(files) != len(tests) {
		t.Errorf("%d tests for the examples %v (%v)", len(tests), files, err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func testMinimalExample(t *testing.T) {
	s := exampleServer{name: "minimal", addresses: []string{"127.0.0.1:9000", newExampleApp(t)}, accounts: true}.start(t)
	exampleVisitor(t, s).comesAndGoes("http://localhost:" + s.port + "/page?a=b")
}

func testQuickstartExample(t *testing.T) {
	s := exampleServer{name: "quickstart", env: []string{"APP_PORT=" + freePort(t)}}.start(t)
	exampleVisitor(t, s).comesAndGoes("http://localhost:" + s.port + "/")
}

func testSidecarExample(t *testing.T) {
	redis := newExampleRedis(t)
	s := exampleServer{name: "sidecar", env: []string{
		"REDIS_ADDRESS=" + redis.Addr(), "REDIS_USERNAME=caddy", "REDIS_PASSWORD=" + examplePassword,
		"UPSTREAM=" + newExampleApp(t), "LOGOUT_PATHS=/logout /signout*", "RETURN_URL=/bye",
	}}.start(t)
	v := exampleVisitor(t, s)
	page := "http://localhost:" + s.port + "/page"
	v.comesAndGoes(page)
	// The app's own way out is one, too.
	v.signIn(page)
	old := v.cookies(page)
	v.do(http.MethodGet, v.base+"/signout-now", nil)
	v.wantOut(page, old)
}

func testPrefixExample(t *testing.T) {
	s := exampleServer{name: "prefix", addresses: []string{"127.0.0.1:9000", newExampleApp(t)}}.start(t)
	v := exampleVisitor(t, s)
	v.comesAndGoes(v.base + "/page")
	page := v.signIn(v.base + "/self-service/settings") // the app's own
	if v.find(page, `id="user">([^<]*)<`) != "demo" {
		t.Errorf("the app's page below /self-service:\n%s", page)
	}
	if _, page = v.do(http.MethodGet, v.base+"/.ory/sessions/whoami", nil); !strings.Contains(page, `"active":true`) {
		t.Errorf("whoami:\n%s", page)
	}
	// Neither here nor there is a list of sessions: both are pages of the app.
	for _, path := range []string{"/sessions", "/.ory/sessions"} {
		if _, page = v.do(http.MethodGet, v.base+path, nil); !strings.Contains(page, `id="user">demo<`) {
			t.Errorf("%s is not the app's:\n%s", path, page)
		}
	}
}

func testOptionalExample(t *testing.T) {
	s := exampleServer{name: "optional"}.start(t)
	v := exampleVisitor(t, s)
	if at, page := v.do(http.MethodGet, v.base+"/", nil, "X-User-Id: demo"); at.Path != "/" || page != "hello: /self-service/login/browser" {
		t.Errorf("the public page: at %s: %s", at, page)
	}
	v.wantSignIn(v.base + "/admin")
	if page := v.signIn(v.base + "/members"); !strings.HasPrefix(page, "hello, demo: http") {
		t.Errorf("for members: %s", page)
	}
	if _, page := v.do(http.MethodGet, v.base+"/admin", nil); !strings.HasPrefix(page, "hello, demo: http") {
		t.Errorf("the page for demo: %s", page)
	}
	_, page := v.do(http.MethodGet, v.base+"/", nil)
	way, found := strings.CutPrefix(page, "hello, demo: ")
	if !found {
		t.Fatalf("the public page, signed in: %s", page)
	}
	old := v.cookies(v.base)
	v.do(http.MethodGet, way, nil)
	v.wantOut(v.base+"/members", old)

	var alice issued
	decode(t, call(t, http.MethodPost, s.AdminURL("/sessions"), `{"identity":"alice"}`).body, &alice)
	for path, want := range map[string]int{"/admin": http.StatusForbidden, "/members": http.StatusOK} {
		if a := call(t, http.MethodGet, v.base+path, "", "Authorization: Bearer "+alice.Token); a.status != want {
			t.Errorf("%s for alice: %d %s", path, a.status, a.body)
		}
	}
}

// testAppLoginExample has an app that answers as the head of the example says.
func testAppLoginExample(t *testing.T) {
	_, says, _ := strings.Cut(exampleText(t, "app-login"), "X-Issue-Session: ")
	says, _, found := strings.Cut(says, "\n")
	if !found {
		t.Fatal("the head does not say any more what the app answers")
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// On other paths nobody is signed in by it.
		w.Header().Set("X-Issue-Session", says)
		_, _ = io.WriteString(w, "user "+r.Header.Get("X-User-Id")+" "+r.Header.Get("X-Logout-Url"))
	}))
	t.Cleanup(app.Close)
	s := exampleServer{name: "app-login", addresses: []string{"127.0.0.1:9000", app.Listener.Addr().String()}}.start(t)
	base := "http://localhost:" + s.port
	if a := call(t, http.MethodGet, base+"/page", "", acceptBrowser); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/login?") {
		t.Errorf("without a session: %d to %q", a.status, a.header.Get("Location"))
	}
	if a := call(t, http.MethodGet, base+"/assets/x", "", "X-User-Id: alice"); a.status != http.StatusOK || a.body != "user  " || len(a.header["Set-Cookie"]) > 0 {
		t.Errorf("for everybody: %d %q %q", a.status, a.body, a.header["Set-Cookie"])
	}
	a := call(t, http.MethodPost, base+"/login", "name=alice")
	cookie := "Cookie: " + cookieHeader(a)
	if a.status != http.StatusOK || !strings.Contains(cookie, cookieName+"=ory_st_") || a.header.Get("X-Issue-Session") != "" {
		t.Fatalf("signing in: %d, cookies %q, %q", a.status, a.header["Set-Cookie"], a.header.Get("X-Issue-Session"))
	}
	if a := call(t, http.MethodGet, base+"/sessions/whoami", "", cookie); !strings.Contains(a.body, `"email":"alice@example.com"`) {
		t.Errorf("whoami: %s", a.body)
	}
	a = call(t, http.MethodGet, base+"/page", "", acceptBrowser, cookie)
	way, found := strings.CutPrefix(a.body, "user alice ")
	if !found || len(a.header["Set-Cookie"]) > 0 {
		t.Fatalf("signed in: %d %q %q", a.status, a.body, a.header["Set-Cookie"])
	}
	call(t, http.MethodGet, way, "", acceptBrowser, cookie)
	if a := call(t, http.MethodGet, base+"/page", "", acceptBrowser, cookie); a.status != http.StatusSeeOther {
		t.Errorf("signed out: %d %s", a.status, a.body)
	}
}

func testAppLogoutExample(t *testing.T) {
	s := exampleServer{name: "app-logout", addresses: []string{"localhost:9000", "localhost:" + freePort(t)}}.start(t)
	v := exampleVisitor(t, s)
	home := v.base + "/"
	v.signIn(home)
	old := v.cookies(home)
	if !strings.Contains(old, "sid=1") || !strings.Contains(old, cookieName) {
		t.Fatalf("cookies %s", old)
	}
	// From another site: an image does nothing, and a link asks first.
	v.do(http.MethodGet, v.base+"/logout", nil, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")
	_, page := v.do(http.MethodGet, v.base+"/logout", nil, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1")
	if !strings.Contains(page, "<form") {
		t.Errorf("a link on another site does not ask:\n%s", page)
	}
	if at, page := v.do(http.MethodGet, home, nil); at.String() != home {
		t.Fatalf("another site has signed somebody out: at %s:\n%s", at, page)
	}
	// The app's own link.
	way, err := url.Parse(v.base)
	if err != nil {
		t.Fatal(err)
	}
	_, page = v.do(http.MethodGet, home, nil)
	if way, err = way.Parse(v.find(page, `<a href="([^"]+)">sign out`)); err != nil {
		t.Fatal(err)
	}
	v.do(http.MethodGet, way.String(), nil)
	if left := v.cookies(home); strings.Contains(left, "sid=") || strings.Contains(left, cookieName) {
		t.Errorf("cookies left behind: %s", left)
	}
	v.wantOut(home, old)
}
