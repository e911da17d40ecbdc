package caddylogout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-logout/caddy-logout/internal/signin"
	"github.com/caddy-logout/caddy-logout/internal/web"

	_ "github.com/caddyserver/caddy/v2/modules/logging"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/net/html"
)

// the log is read

// loginServer is a running Caddy with one account: alice, "correct horse".
type loginServer struct {
	base, dir string
	config    func(extra string) []byte
}

// startLogin starts Caddy with the login handler. extra goes into the site.
func startLogin(t *testing.T) *loginServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s := &loginServer{base: base, dir: t.TempDir()}
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "accounts.txt", "# people\nalice:"+string(hash)+`:{"email":"alice@example.com"}`+"\n")
	s.config = func(extra string) []byte {
		return adaptLogin(t, `{
	admin off
	persist_config off
	log {
		output file `+filepath.Join(s.dir, "log")+`
		level DEBUG
	}
	sessions {
		store embedded `+filepath.Join(s.dir, "sessions.db")+`
		default_return_url /welcome
		allowed_return_urls https://other.example.com
	}
}
`+base+` {
	bind 127.0.0.1
	logout
	login {
		accounts `+filepath.Join(s.dir, "accounts.txt")+`
	}
	`+extra+`
	respond "the app" 418
}
`)
	}
	s.load(t, "")
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *loginServer) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load starts Caddy, or reloads it.
func (s *loginServer) load(t *testing.T, extra string) {
	t.Helper()
	if err := caddy.Load(s.config(extra), true); err != nil {
		t.Fatal(err)
	}
}

func adaptLogin(t *testing.T, text string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// loginAnswer is a response.
type loginAnswer struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    string
}

func (a *loginAnswer) location() string { return a.header.Get("Location") }

// cookie returns a cookie that was set.
func (a *loginAnswer) cookie(prefix string) *http.Cookie {
	for _, c := range a.cookies {
		if strings.HasPrefix(c.Name, prefix) {
			return c
		}
	}
	return nil
}

func (a *loginAnswer) errorID(t *testing.T) string {
	t.Helper()
	var body struct{ Error struct{ ID string } }
	a.decode(t, &body)
	return body.Error.ID
}

func (a *loginAnswer) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("status %d, body is not JSON: %v: %s", a.status, err, a.body)
	}
}

// loginClient is a browser, as far as sign-in goes: it has a cookie jar, and
// follows no redirect by itself.
type loginClient struct {
	t    *testing.T
	http *http.Client
	base string
}

func (s *loginServer) client(t *testing.T) *loginClient {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &loginClient{t: t, base: s.base, http: &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

const (
	asBrowser  = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	asScript   = "Accept: application/json"
	formType   = "Content-Type: application/x-www-form-urlencoded"
	jsonType   = "Content-Type: application/json"
	cookieName = "ory_kratos_session"
)

// do sends a request. A target that begins with / is one of the server.
func (c *loginClient) do(method, target, body string, headers ...string) *loginAnswer {
	c.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = c.base + target
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	// While Caddy changes its listeners, the kernel resets connections that the old
	// one has not accepted: no server has seen such a request, so the client sends it
	// again.
	for range 5 {
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			break
		}
		req.Body = io.NopCloser(strings.NewReader(body))
		res, err = c.http.Do(req)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return &loginAnswer{status: res.StatusCode, header: res.Header, cookies: res.Cookies(), body: string(text)}
}

// begin begins a flow as a script does, and returns it.
func (c *loginClient) begin(target string) signin.WireFlow {
	c.t.Helper()
	answer := c.do(http.MethodGet, target, "", asScript)
	if answer.status != http.StatusOK {
		c.t.Fatalf("%s: status %d: %s", target, answer.status, answer.body)
	}
	var f signin.WireFlow
	answer.decode(c.t, &f)
	return f
}

func csrfOf(f signin.WireFlow) string {
	for _, node := range f.UI.Nodes {
		if node.Attributes.Name == "csrf_token" {
			token, _ := node.Attributes.Value.(string)
			return token
		}
	}
	return ""
}

// credentials is a JSON body.
func credentials(name, password, csrf string) string {
	body, _ := json.Marshal(signin.Form{Method: "password", Identifier: name, Password: password, CSRFToken: csrf})
	return string(body)
}

// signIn signs alice in as a script does.
func (c *loginClient) signIn() *loginAnswer {
	c.t.Helper()
	f := c.begin("/self-service/login/browser?refresh=true")
	answer := c.do(http.MethodPost, f.UI.Action, credentials("alice", "correct horse", csrfOf(f)), asScript, jsonType)
	if answer.status != http.StatusOK {
		c.t.Fatalf("sign-in: status %d: %s", answer.status, answer.body)
	}
	return answer
}

// form reads the sign-in form of a page.
func (a *loginAnswer) form(t *testing.T) (action string, fields url.Values) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	fields = make(url.Values)
	for n := range root.Descendants() {
		attributes := make(map[string]string)
		for _, attribute := range n.Attr {
			attributes[attribute.Key] = attribute.Val
		}
		switch n.Data {
		case "form":
			action = attributes["action"]
		case "input", "button":
			fields.Set(attributes["name"], attributes["value"])
		}
	}
	if action == "" {
		t.Fatalf("status %d, no form: %s", a.status, a.body)
	}
	return action, fields
}

// TestLoginByForm signs in as a browser without JavaScript does.
func TestLoginByForm(t *testing.T) {
	s := startLogin(t)
	c := s.client(t)

	begun := c.do(http.MethodGet, "/self-service/login/browser?return_to=/inside%3Fa=b", "", asBrowser)
	if begun.status != http.StatusSeeOther || !strings.HasPrefix(begun.location(), s.base+"/self-service/login?flow=") {
		t.Fatalf("begin: status %d to %q", begun.status, begun.location())
	}
	secret := begun.cookie("csrf_token_")
	if secret == nil || !secret.HttpOnly || secret.SameSite != http.SameSiteLaxMode || secret.Path != "/" || secret.MaxAge != 31536000 {
		t.Errorf("the browser's cookie is %v", secret)
	}
	page := c.do(http.MethodGet, begun.location(), "", asBrowser)
	action, fields := page.form(t)
	if page.status != http.StatusOK || fields.Get("method") != "password" {
		t.Fatalf("page: status %d, fields %v", page.status, fields)
	}
	for header, want := range map[string]string{
		"Cache-Control": "private, no-cache, no-store, must-revalidate", "Referrer-Policy": "same-origin", "Vary": "Accept, Cookie",
	} {
		if got := page.header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}

	fields.Set("identifier", "alice")
	fields.Set("password", "wrong")
	refused := c.do(http.MethodPost, action, fields.Encode(), asBrowser, formType, "Origin: "+s.base, "Sec-Fetch-Site: same-origin")
	if refused.status != http.StatusBadRequest || !strings.Contains(refused.body, signin.TextWrong.Text) || refused.cookie(cookieName) != nil {
		t.Fatalf("wrong password: status %d: %s", refused.status, refused.body)
	}
	action, fields = refused.form(t)
	if fields.Get("identifier") != "alice" || fields.Get("password") != "" {
		t.Errorf("the form holds %q and %q after a wrong password", fields.Get("identifier"), fields.Get("password"))
	}

	fields.Set("identifier", " alice ")
	fields.Set("password", "correct horse")
	done := c.do(http.MethodPost, action, fields.Encode(), asBrowser, formType, "Origin: "+s.base, "Sec-Fetch-Site: same-origin")
	if done.status != http.StatusSeeOther || done.location() != s.base+"/inside?a=b" {
		t.Fatalf("sign-in: status %d to %q: %s", done.status, done.location(), done.body)
	}
	if rotated := done.cookie("csrf_token_"); rotated == nil || rotated.Value == secret.Value {
		t.Error("the browser's secret outlived the sign-in")
	}
	if cookie := done.cookie(cookieName); cookie == nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(cookie.Value, "ory_st_") {
		t.Errorf("the session cookie is %v", cookie)
	}
	if who := c.do(http.MethodGet, "/sessions/whoami", "", asScript); who.status != http.StatusOK || !strings.Contains(who.body, `"email":"alice@example.com"`) {
		t.Errorf("whoami: status %d: %s", who.status, who.body)
	}

	// A person who is signed in needs no form, unless they ask for one.
	for target, want := range map[string]string{
		"/self-service/login/browser": s.base + "/welcome", "/self-service/login/browser?return_to=/x": s.base + "/x", begun.location(): s.base + "/inside?a=b",
	} {
		if again := c.do(http.MethodGet, target, "", asBrowser); again.status != http.StatusSeeOther || again.location() != want {
			t.Errorf("%s when signed in: status %d to %q, want %q", target, again.status, again.location(), want)
		}
	}
	again := c.do(http.MethodGet, "/self-service/login/browser?refresh=true", "", asBrowser)
	if page := c.do(http.MethodGet, again.location(), "", asBrowser); page.status != http.StatusOK {
		t.Errorf("refresh: status %d to %q", page.status, page.location())
	}
	if script := c.do(http.MethodGet, "/self-service/login/browser", "", asScript); script.status != http.StatusBadRequest || script.errorID(t) != "session_already_available" {
		t.Errorf("a script that is signed in: status %d: %s", script.status, script.body)
	}
}

// TestLoginByScript signs in as a single-page app or curl does.
func TestLoginByScript(t *testing.T) {
	s := startLogin(t)
	c := s.client(t)
	f := c.begin("/self-service/login/browser?return_to=https://other.example.com/in")
	if f.Type != "browser" || f.State != "choose_method" || f.UI.Method != http.MethodPost || f.ReturnTo != "https://other.example.com/in" ||
		f.ExpiresAt.Sub(f.IssuedAt) != time.Hour || len(csrfOf(f)) != 88 {
		t.Errorf("the flow is %+v", f)
	}
	for _, target := range []string{f.UI.Action, "/self-service/login/flows?id=" + f.ID} {
		if again := c.begin(target); again.ID != f.ID || again.Type != "browser" || csrfOf(again) == csrfOf(f) {
			t.Errorf("%s: the flow is %+v", target, again)
		}
	}
	wrong := c.do(http.MethodPost, f.UI.Action, credentials("nobody", "correct horse", csrfOf(f)), asScript, jsonType)
	var refused signin.WireFlow
	wrong.decode(t, &refused)
	if wrong.status != http.StatusBadRequest || len(refused.UI.Messages) != 1 || refused.UI.Messages[0].ID != 4000006 || refused.ID != f.ID {
		t.Errorf("unknown name: status %d: %s", wrong.status, wrong.body)
	}
	answer := c.do(http.MethodPost, f.UI.Action, credentials("alice", "correct horse", csrfOf(f)), asScript, jsonType)
	var done struct {
		Session      web.Session       `json:"session"`
		SessionToken string            `json:"session_token"`
		ContinueWith []json.RawMessage `json:"continue_with"`
	}
	answer.decode(t, &done)
	if answer.status != http.StatusOK || !done.Session.Active || done.Session.Identity.ID != "alice" || done.SessionToken != "" || len(done.ContinueWith) != 1 ||
		string(done.ContinueWith[0]) != `{"action":"redirect_browser_to","redirect_browser_to":"https://other.example.com/in"}` {
		t.Errorf("sign-in: status %d: %s", answer.status, answer.body)
	}
	if len(answer.cookies) != 2 || answer.cookie(cookieName) == nil || answer.cookie("csrf_token_") == nil {
		t.Errorf("cookies are %v", answer.cookies)
	}
	if strings.Contains(answer.body, answer.cookie(cookieName).Value) {
		t.Error("a script can read the credential in the cookie")
	}
	// The form was bound to the secret of before.
	if replay := c.do(http.MethodPost, f.UI.Action, credentials("alice", "correct horse", csrfOf(f)), asScript, jsonType); replay.status != http.StatusForbidden {
		t.Errorf("the form still works after the sign-in: status %d", replay.status)
	}
}

// TestLoginByAPI signs in as a native app does. Cookies play no part.
func TestLoginByAPI(t *testing.T) {
	s := startLogin(t)
	s.client(t).signIn()
	c := s.client(t)
	begun := c.do(http.MethodGet, "/self-service/login/api", "", asScript)
	var f signin.WireFlow
	begun.decode(t, &f)
	if begun.status != http.StatusOK || f.Type != "api" || csrfOf(f) != "" || len(begun.cookies) != 0 {
		t.Fatalf("begin: status %d, cookies %v: %s", begun.status, begun.cookies, begun.body)
	}
	answer := c.do(http.MethodPost, f.UI.Action, credentials("alice", "correct horse", ""), asScript, jsonType)
	if !strings.HasSuffix(strings.TrimSpace(answer.body), `"continue_with":null}`) || answer.status != http.StatusOK || len(answer.cookies) != 0 {
		t.Fatalf("sign-in: status %d, cookies %v: %s", answer.status, answer.cookies, answer.body)
	}
	var done struct {
		Token string `json:"session_token"`
	}
	answer.decode(t, &done)
	if who := c.do(http.MethodGet, "/sessions/whoami", "", asScript, "X-Session-Token: "+done.Token); who.status != http.StatusOK {
		t.Errorf("whoami: status %d: %s", who.status, who.body)
	}
	if again := c.do(http.MethodGet, "/self-service/login/api", "", asScript, "X-Session-Token: "+done.Token); again.status != http.StatusBadRequest || again.errorID(t) != "session_already_available" {
		t.Errorf("begin when signed in: status %d: %s", again.status, again.body)
	}
	// A browser that is given the id of an API flow gets a form of its own.
	if page := c.do(http.MethodGet, "/self-service/login?flow="+f.ID, "", asBrowser); page.location() != s.base+"/self-service/login/browser" {
		t.Errorf("page: status %d to %q", page.status, page.location())
	}
	for _, header := range []string{"Origin: " + s.base, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"} {
		refused := c.do(http.MethodPost, f.UI.Action, credentials("alice", "correct horse", ""), asBrowser, jsonType, header)
		if refused.status != http.StatusBadRequest || refused.errorID(t) != "api_flow_in_browser" || len(refused.cookies) != 0 {
			t.Errorf("%s: status %d, cookies %v: %s", header, refused.status, refused.cookies, refused.body)
		}
	}
}

// TestLoginIsBoundToTheBrowser tries what another site could.
func TestLoginIsBoundToTheBrowser(t *testing.T) {
	s := startLogin(t)
	victim, attacker := s.client(t), s.client(t)
	own, other := victim.begin("/self-service/login/browser"), victim.begin("/self-service/login/browser")
	theirs := attacker.begin("/self-service/login/browser")
	stranger := s.client(t) // no cookie at all
	tests := []struct {
		name, csrf string
		client     *loginClient
		headers    []string
		status     int
	}{
		{"another browser's flow and token", csrfOf(theirs), victim, nil, 403},
		{"the token of another flow", csrfOf(other), victim, nil, 403},
		{"no token", "", victim, nil, 403},
		{"a token that is none", "AAAA", victim, nil, 403},
		{"a token cut short", csrfOf(own)[:44], victim, nil, 403},
		{"no cookie", csrfOf(own), stranger, nil, 403},
		{"a page of another site", csrfOf(own), victim, []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"a page of a sibling host", csrfOf(own), victim, []string{"Sec-Fetch-Site: same-site"}, 403},
		{"an old browser on another site", csrfOf(own), victim, []string{"Origin: https://evil.example"}, 403},
		{"a sandboxed frame", csrfOf(own), victim, []string{"Origin: null"}, 403},
		{"the form itself", csrfOf(own), victim, []string{"Sec-Fetch-Site: same-origin", "Origin: " + s.base}, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			action := own.UI.Action
			if test.csrf == csrfOf(theirs) {
				action = theirs.UI.Action
			}
			answer := test.client.do(http.MethodPost, action, credentials("alice", "correct horse", test.csrf), append(test.headers, asScript, jsonType)...)
			if answer.status != test.status {
				t.Fatalf("status %d, want %d: %s", answer.status, test.status, answer.body)
			}
			if test.status == 200 {
				return
			}
			if answer.errorID(t) != "security_csrf_violation" || len(answer.cookies) != 0 {
				t.Errorf("cookies %v, body %s", answer.cookies, answer.body)
			}
			form := url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"correct horse"}, "csrf_token": {test.csrf}}
			page := test.client.do(http.MethodPost, action, form.Encode(), append(test.headers, asBrowser, formType)...)
			if page.status != test.status || len(page.cookies) != 0 || !strings.Contains(page.body, "security_csrf_violation") {
				t.Errorf("as a form: status %d, cookies %v", page.status, page.cookies)
			}
		})
	}
	t.Run("the token in a header", func(t *testing.T) {
		f := victim.begin("/self-service/login/browser?refresh=true")
		answer := victim.do(http.MethodPost, f.UI.Action, credentials("alice", "correct horse", ""), asScript, jsonType, "X-Csrf-Token: "+csrfOf(f))
		if answer.status != http.StatusOK {
			t.Errorf("status %d: %s", answer.status, answer.body)
		}
	})
}

// TestLoginBadInput sends what no form sends.
func TestLoginBadInput(t *testing.T) {
	s := startLogin(t)
	c := s.client(t)
	f := c.begin("/self-service/login/browser")
	csrf := csrfOf(f)
	expired := signin.NewFlow(false, time.Now().Add(-time.Hour))
	early := signin.NewFlow(false, time.Now().Add(2*time.Minute))
	page := func(f signin.Flow) string { return f.URL("") }
	tests := []struct {
		name, method, target, body string
		headers                    []string
		status                     int
		want                       string // an error id, or a text
	}{
		{"no such path", "GET", "/self-service/login/nonsense", "", []string{asBrowser}, 404, "not_found"},
		{"DELETE the form", "DELETE", f.UI.Action, "", []string{asBrowser}, 405, "method_not_allowed"},
		{"POST to begin", http.MethodPost, "/self-service/login/browser", "", []string{asBrowser}, 405, "method_not_allowed"},
		{"PUT to begin by API", "PUT", "/self-service/login/api", "", []string{asScript}, 405, "method_not_allowed"},
		{"return URL elsewhere", "GET", "/self-service/login/browser?return_to=https://evil.example/", "", []string{asScript}, 400, "self_service_flow_return_to_forbidden"},
		{"return URL elsewhere, by API", "GET", "/self-service/login/api?return_to=https://evil.example/", "", []string{asScript}, 400, "self_service_flow_return_to_forbidden"},
		{"return URL that is none", "GET", "/self-service/login/browser?return_to=javascript:alert(1)", "", []string{asScript}, 400, "self_service_flow_return_to_invalid"},
		{"return URL elsewhere, in the form", http.MethodPost, f.UI.Action + "&return_to=https://evil.example/", credentials("alice", "correct horse", csrf), []string{asScript, jsonType}, 400, "self_service_flow_return_to_forbidden"},
		{"no flow", http.MethodPost, "/self-service/login", credentials("alice", "correct horse", csrf), []string{asScript, jsonType}, 404, "not_found"},
		{"a flow that is none", "GET", "/self-service/login?flow=%00", "", []string{asScript}, 404, "not_found"},
		{"a flow in capitals", "GET", "/self-service/login?flow=" + strings.ToUpper(f.ID), "", []string{asScript}, 404, "not_found"},
		{"a flow of a random id", "GET", "/self-service/login?flow=86d30eba-d04d-407e-9c78-53fd0c8ca6e7", "", []string{asScript}, 404, "not_found"},
		{"a flow that expired", "GET", page(expired), "", []string{asScript}, 410, "self_service_flow_expired"},
		{"a flow that expired, submitted", http.MethodPost, page(expired), credentials("alice", "correct horse", csrf), []string{asScript, jsonType}, 410, "self_service_flow_expired"},
		{"a flow of the future", "GET", page(early), "", []string{asScript}, 410, "self_service_flow_expired"},
		{"no content type", http.MethodPost, f.UI.Action, "x", []string{asScript}, 415, "request_content_type_unsupported"},
		{"multipart", http.MethodPost, f.UI.Action, "x", []string{asScript, "Content-Type: multipart/form-data; boundary=x"}, 415, "request_content_type_unsupported"},
		{"no body", http.MethodPost, f.UI.Action, "", []string{asScript, jsonType}, 400, "request_body_invalid"},
		{"half an object", http.MethodPost, f.UI.Action, `{"method":"pass`, []string{asScript, jsonType}, 400, "request_body_invalid"},
		{"a list", http.MethodPost, f.UI.Action, `[]`, []string{asScript, jsonType}, 400, "request_body_invalid"},
		{"a number for a name", http.MethodPost, f.UI.Action, `{"identifier":1}`, []string{asScript, jsonType}, 400, "request_body_invalid"},
		{"two objects", http.MethodPost, f.UI.Action, `{}{}`, []string{asScript, jsonType}, 400, "request_body_invalid"},
		{"a broken form", http.MethodPost, f.UI.Action, `password=%zz`, []string{asScript, formType}, 400, "request_body_invalid"},
		{"6 MiB of JSON", http.MethodPost, f.UI.Action, `{"identifier":"` + strings.Repeat("a", 6<<20) + `"}`, []string{asScript, jsonType}, 413, "request_body_too_large"},
		{"6 MiB of spaces behind it", http.MethodPost, f.UI.Action, `{}` + strings.Repeat(" ", 6<<20), []string{asScript, jsonType}, 400, "request_body_invalid"},
		{"6 MiB of form", http.MethodPost, f.UI.Action, "password=" + strings.Repeat("a", 6<<20), []string{asScript, formType}, 413, "request_body_too_large"},
		{"no such method", http.MethodPost, f.UI.Action, strings.ReplaceAll(credentials("alice", "correct horse", csrf), `"password",`, `"magic",`), []string{asScript, jsonType}, 400, "4010002"},
		{"no name", http.MethodPost, f.UI.Action, credentials("  ", "correct horse", csrf), []string{asScript, jsonType}, 400, "Property identifier is missing."},
		{"no password", http.MethodPost, f.UI.Action, credentials("alice", "", csrf), []string{asScript, jsonType}, 400, "Property password is missing."},
		{"a name of 300 bytes", http.MethodPost, f.UI.Action, credentials(strings.Repeat("n", 300), "correct horse", csrf), []string{asScript, jsonType}, 400, "4000006"},
		{"invalid UTF-8", http.MethodPost, f.UI.Action, "method=password&identifier=%ff%fe&password=%ff&csrf_token=" + url.QueryEscape(csrf), []string{asScript, formType}, 400, "4000006"},
		{"prefetch", "GET", "/self-service/login/browser", "", []string{asBrowser, "Sec-Purpose: prefetch;prerender"}, 403, "speculative_request"},
		{"early data", http.MethodPost, f.UI.Action, credentials("alice", "correct horse", csrf), []string{asScript, jsonType, "Early-Data: 1"}, 425, "too_early"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := c.do(test.method, test.target, test.body, test.headers...)
			if answer.status != test.status || !strings.Contains(answer.body, test.want) {
				t.Errorf("status %d, want %d with %q: %.300s", answer.status, test.status, test.want, answer.body)
			}
			if answer.cookie(cookieName) != nil {
				t.Error("a session was made")
			}
			if !strings.HasPrefix(answer.header.Get("Content-Type"), "application/json") || !strings.Contains(answer.header.Get("Cache-Control"), "no-store") {
				t.Errorf("headers are %v", answer.header)
			}
			if answer.status == 405 && answer.header.Get("Allow") == "" {
				t.Error("there is no Allow")
			}
			if strings.Contains(answer.body, "correct horse") {
				t.Error("the password comes back")
			}
		})
	}
	for _, target := range []string{"/self-service/login", "/self-service/login?flow=x", page(expired)} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			sep := "?"
			if strings.Contains(target, "?") {
				sep = "&"
			}
			answer := c.do(method, target+sep+"return_to=/x", "", asBrowser, formType)
			if answer.status != http.StatusSeeOther || answer.location() != s.base+"/self-service/login/browser?return_to=%2Fx" {
				t.Errorf("%s %s: status %d to %q", method, target, answer.status, answer.location())
			}
		}
	}
	if app := c.do(http.MethodGet, "/self-service/loginx", "", asBrowser); app.body != "the app" {
		t.Errorf("a path of the app was taken: %s", app.body)
	}
}

// TestLoginReadOnly checks that HEAD makes nothing.
func TestLoginReadOnly(t *testing.T) {
	s := startLogin(t)
	c := s.client(t)
	for _, target := range []string{"/self-service/login/browser", "/self-service/login/api", "/self-service/login", "/self-service/login/flows?id=x"} {
		if answer := c.do(http.MethodHead, target, "", asBrowser); answer.status != http.StatusOK || len(answer.cookies) != 0 || answer.body != "" {
			t.Errorf("HEAD %s: status %d, cookies %v", target, answer.status, answer.cookies)
		}
	}
}

// TestLoginEndsPreviousSession checks that each sign-in is a new session, and
// that the one the browser had is over.
func TestLoginEndsPreviousSession(t *testing.T) {
	s := startLogin(t)
	c := s.client(t)
	first := c.signIn().cookie(cookieName).Value
	second := c.signIn().cookie(cookieName).Value
	elsewhere := s.client(t).signIn().cookie(cookieName).Value
	if first == second || second == elsewhere {
		t.Fatal("two sign-ins made one session")
	}
	for value, want := range map[string]int{first: 401, second: 200, elsewhere: 200} {
		if who := s.client(t).do(http.MethodGet, "/sessions/whoami", "", asScript, "X-Session-Token: "+value); who.status != want {
			t.Errorf("whoami: status %d, want %d: %s", who.status, want, who.body)
		}
	}
}

// TestLoginLimit checks that guessing ends, alike for names that exist and names
// that do not, that a reload does not help, and what the log says of it all.
func TestLoginLimit(t *testing.T) {
	s := startLogin(t)
	c := s.client(t)
	f := c.begin("/self-service/login/browser")
	guess := func(name string) *loginAnswer {
		return c.do(http.MethodPost, f.UI.Action, credentials(name, "hunter2secret", csrfOf(f)), asScript, jsonType)
	}
	for i := range 10 {
		if answer := guess("alice"); answer.status != http.StatusBadRequest {
			t.Fatalf("guess %d: status %d: %s", i, answer.status, answer.body)
		}
	}
	s.load(t, "respond /reloaded 200")
	c.http.CloseIdleConnections() // the server closed them, and a POST is not sent twice
	known := guess("alice")
	if known.status != http.StatusTooManyRequests || known.errorID(t) != "too_many_attempts" || known.header.Get("Retry-After") == "" {
		t.Fatalf("guess 11: status %d, Retry-After %q: %s", known.status, known.header.Get("Retry-After"), known.body)
	}
	right := c.do(http.MethodPost, f.UI.Action, credentials("alice", "correct horse", csrfOf(f)), asScript, jsonType)
	if right.status != http.StatusTooManyRequests {
		t.Errorf("the right password after 10 guesses: status %d", right.status)
	}
	form := url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"correct horse"}, "csrf_token": {csrfOf(f)}}
	page := c.do(http.MethodPost, f.UI.Action, form.Encode(), asBrowser, formType)
	if _, fields := page.form(t); page.status != http.StatusTooManyRequests || fields.Get("identifier") != "alice" || !strings.Contains(page.body, "Please wait 15 minutes") {
		t.Errorf("as a form: status %d: %s", page.status, page.body)
	}
	for range 10 {
		guess("my-secret-typed-as-name")
	}
	unknown := guess("my-secret-typed-as-name")
	if unknown.status != http.StatusTooManyRequests || unknown.errorID(t) != "too_many_attempts" {
		t.Errorf("an unknown name: status %d: %s", unknown.status, unknown.body)
	}

	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2secret", "correct horse", "my-secret-typed-as-name"} {
		if bytes.Contains(log, []byte(secret)) {
			t.Errorf("the log holds %q", secret)
		}
	}
	lines := slices.DeleteFunc(strings.Split(string(log), "\n"), func(line string) bool {
		return !strings.Contains(line, `"logger":"sessions.audit"`) || !strings.Contains(line, "sign_in_refused")
	})
	if len(lines) != 24 {
		t.Errorf("%d refusals are logged, want 24", len(lines))
	}
	if len(lines) > 0 && (!strings.Contains(lines[0], `"identity":"alice"`) || !strings.Contains(lines[0], `"client_ip":"127.0.0.1"`) || !strings.Contains(lines[0], `"level":"warn"`)) {
		t.Errorf("the line is %s", lines[0])
	}
}

// TestLoginStart checks what a wrong configuration says.
func TestLoginStart(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.txt")
	if err := os.WriteFile(bad, []byte("\n\nalice:hunter2secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, accounts, want string }{
		{"a bad line", bad, bad + ":3: not a password hash"},
		{"a missing file", filepath.Join(dir, "none.txt"), "no such file"},
		{"a folder", dir, "is a directory"},
		{"no file", "", "want the name of a file"},
		{"an unset placeholder", "{env.CADDY_LOGOUT_NO_SUCH_VARIABLE}", "CADDY_LOGOUT_NO_SUCH_VARIABLE"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var config caddy.Config
			text := fmt.Sprintf(`{"admin":{"disabled":true},"apps":{"sessions":{},"http":{"servers":{"a":{"listen":["127.0.0.1:0"],
				"routes":[{"handle":[{"handler":"login","accounts":%q}]}]}}}}}`, test.accounts)
			if err := json.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			err := caddy.Validate(&config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error is %v, want one with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2secret") {
				t.Errorf("the error shows the line: %v", err)
			}
		})
	}
}

func TestLoginCaddyfile(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"good", "login {\n accounts people.txt\n}", ""},
		{"nothing", "login", "want accounts <file>"},
		{"an argument", "login people.txt {\n accounts people.txt\n}", "wrong argument count"},
		{"no file", "login {\n accounts\n}", "wrong argument count"},
		{"two files", "login {\n accounts a b\n}", "wrong argument count"},
		{"an empty name", "login {\n accounts \"\"\n}", "want the name of a file"},
		{"twice", "login {\n accounts a\n accounts b\n}", "given twice"},
		{"an unknown option", "login {\n acounts a\n}", `unknown option "acounts"`},
		{"a block in it", "login {\n accounts a {\n b\n }\n}", "unknown option"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := "http://127.0.0.1:1 {\n" + test.text + "\n}"
			config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want == "" && !strings.Contains(string(config), `{"accounts":"people.txt","handler":"login"}`):
				t.Errorf("adapted to %s", config)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}
