package integration_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

const (
	account  = "wire@example.test"
	password = "correct-horse-battery-9876"

	acceptJSON    = "Accept: application/json"
	acceptBrowser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	sendsJSON     = "Content-Type: application/json"

	cookieName = "ory_kratos_session"
)

// hashed is the password as an accounts file holds it; the lowest cost keeps a
// sign-in from being what the tests wait for.
var hashed = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
})

// accountsFile holds the account of the tests, and a second one.
func accountsFile() string {
	return "# who may sign in\n" +
		account + ":" + hashed() + `:{"email":"wire@example.test"}` + "\n" +
		"other@example.test:" + hashed() + "\n"
}

// appURL is where the app of the tests would be: return URLs point to it, and
// nothing ever follows them.
const appURL = "http://127.0.0.1:21455"

// caddyfile puts the handlers in front of an app that answers every request
// with the user that the gate found.
func caddyfile(store string, site ...string) string {
	return `{
	default_bind 127.0.0.1
	sessions {
		` + store + `
		default_return_url ` + appURL + `/login
		allowed_return_urls ` + appURL + `
		error_ui ` + appURL + `/error
	}
}
http://:{$PORT} {
	logout
	login {
		accounts {$DIR}/accounts.txt
		default_return_url ` + appURL + `/welcome
	}
	` + strings.Join(site, "\n\t") + `
	session_auth /app/*
	respond /app/* "user {http.auth.user.id}"
	respond "open to all"
}
`
}

// startWith runs the Caddyfile above on a store.
func startWith(t testing.TB, store string, site ...string) *caddyServer {
	t.Helper()
	return start(t, serverOptions{
		caddyfile: caddyfile(store, site...),
		files:     map[string]string{"accounts.txt": accountsFile()},
	})
}

// loginFlow is what the tests read of a login flow.
type loginFlow struct {
	ID string `json:"id"`
	UI struct {
		Action string `json:"action"`
		Nodes  []struct {
			Attributes struct {
				Name  string `json:"name"`
				Value any    `json:"value"`
			} `json:"attributes"`
		} `json:"nodes"`
	} `json:"ui"`
}

func (f loginFlow) csrfToken() string {
	for _, n := range f.UI.Nodes {
		if n.Attributes.Name == "csrf_token" {
			s, _ := n.Attributes.Value.(string)
			return s
		}
	}
	return ""
}

// startLogin creates a login flow of a kind, "api" or "browser", and returns
// it with the cookies that came along, as a Cookie header.
func startLogin(t testing.TB, s *caddyServer, kind string) (loginFlow, string) {
	t.Helper()
	a := call(t, "GET", s.URL("/self-service/login/"+kind), "", acceptJSON)
	if a.status != 200 {
		t.Fatalf("login flow: status %d: %s", a.status, a.body)
	}
	var flow loginFlow
	decode(t, a.body, &flow)
	return flow, cookieHeader(a)
}

// loginBody is what a client posts to the action of a login flow.
func loginBody(csrfToken string) string {
	body := map[string]string{"method": "password", "identifier": account, "password": password}
	if csrfToken != "" {
		body["csrf_token"] = csrfToken
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// signIn signs in as an app does and returns the credential.
func signIn(t testing.TB, s *caddyServer) string {
	t.Helper()
	token, err := trySignIn(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// trySignIn is signIn for goroutines.
func trySignIn(t testing.TB, s *caddyServer) (string, error) {
	a, err := tryCall(t, "GET", s.URL("/self-service/login/api"), "", acceptJSON)
	if err != nil {
		return "", fmt.Errorf("create login flow: %w", err)
	}
	var flow loginFlow
	if err := json.Unmarshal([]byte(a.body), &flow); err != nil || a.status != 200 {
		return "", fmt.Errorf("create login flow: status %d: %s", a.status, a.body)
	}
	a, err = tryCall(t, "POST", flow.UI.Action, loginBody(""), acceptJSON, sendsJSON)
	if err != nil {
		return "", fmt.Errorf("submit login flow: %w", err)
	}
	var got struct {
		SessionToken string `json:"session_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || got.SessionToken == "" {
		return "", fmt.Errorf("submit login flow: status %d: %s", a.status, a.body)
	}
	return got.SessionToken, nil
}

// signInBrowser signs in as a browser does and returns its cookies as a Cookie
// header: the session's and the CSRF cookie.
func signInBrowser(t testing.TB, s *caddyServer) string {
	t.Helper()
	flow, cookies := startLogin(t, s, "browser")
	a := call(t, "POST", flow.UI.Action, loginBody(flow.csrfToken()), acceptJSON, sendsJSON, "Cookie: "+cookies)
	after := cookieHeader(a)
	if !strings.Contains(after, cookieName+"=ory_st_") {
		t.Fatalf("sign in: status %d, no session cookie: %s", a.status, a.body)
	}
	if !strings.Contains(after, "csrf_token") {
		after = cookies + "; " + after // not a new one: the old one stays
	}
	return after
}

// logoutFlow is the answer to a logout that is created.
type logoutFlow struct {
	URL   string `json:"logout_url"`
	Token string `json:"logout_token"`
}

// createLogout asks for a logout flow with a session cookie.
func createLogout(t testing.TB, s *caddyServer, cookie, query string) logoutFlow {
	t.Helper()
	a := call(t, "GET", s.URL("/self-service/logout/browser"+query), "", acceptJSON, "Cookie: "+cookie)
	if a.status != 200 {
		t.Fatalf("create logout: status %d: %s", a.status, a.body)
	}
	var flow logoutFlow
	decode(t, a.body, &flow)
	u, err := url.Parse(flow.URL)
	if err != nil || u.Query().Get("token") != flow.Token {
		t.Fatalf("logout URL %q does not carry the logout token", flow.URL)
	}
	return flow
}

// whoami returns the status that a credential gets.
func whoami(t testing.TB, s *caddyServer, header string) int {
	t.Helper()
	return call(t, "GET", s.URL("/sessions/whoami"), "", acceptJSON, header).status
}

// cookieHeader turns the cookies that an answer sets into a Cookie header; it
// leaves out those that it clears.
func cookieHeader(a answer) string {
	var pairs []string
	for _, line := range a.header.Values("Set-Cookie") {
		if !clearing.MatchString(line) {
			pair, _, _ := strings.Cut(line, ";")
			pairs = append(pairs, pair)
		}
	}
	return strings.Join(pairs, "; ")
}

var clearing = regexp.MustCompile(`(?i);\s*Max-Age=0(;|$)`)

func decode(t testing.TB, body string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
}

// startQuickstart runs the example that newcomers start with, where make run
// starts it, on other ports.
func startQuickstart(t *testing.T) *caddyServer {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	readsFiles(t, filepath.Join(root, "caddyfile-examples"))
	example, err := os.ReadFile(filepath.Join(root, "caddyfile-examples", "quickstart.Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	return start(t, serverOptions{caddyfile: string(example), cwd: root, env: []string{"APP_PORT=" + freePort(t)}})
}
