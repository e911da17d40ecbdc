package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/hostileurl"
)

const (
	// generatedURLs is how many come from the grammar, besides those written by hand.
	generatedURLs = 5000
	// returnURLSeed is what they grow from; CADDY_LOGOUT_SEED takes its place.
	returnURLSeed = 20260801
	// afterErrors is the page that errors are shown on.
	afterErrors = "https://allowed.example/error"
)

// returnURLOrigins are the addresses that the site is asked under.
var returnURLOrigins = []string{
	"https://app.example", "https://app.example", "http://app.example", "http://192.0.2.7:8080", "https://[2001:db8::7]:8080",
}

const returnURLsCaddyfile = `{
	default_bind 127.0.0.1
	servers {
		trusted_proxies static 127.0.0.1
	}
	sessions {
		store embedded {$DIR}/sessions.db
		allowed_return_urls https://allowed.example https://path.example/foo https://*.wild.example http://localhost:3000 http://192.0.2.1 https://[2001:db8::1]
		error_ui ` + afterErrors + `
	}
}
http://:{$PORT} {
	logout
	login {
		accounts {$DIR}/accounts.txt
	}
}
`

// mayLead is the allow-list above, and the site itself, in other words.
func mayLead(origin string, to parsedURL) bool {
	if to.User != "" {
		return false
	}
	switch at := to.Protocol + "//" + to.Host; at {
	case origin, "https://allowed.example", "http://localhost:3000", "http://192.0.2.1", "https://[2001:db8::1]":
		return true
	case "https://path.example":
		return to.Path == "/foo" || strings.HasPrefix(to.Path, "/foo/")
	}
	label, found := strings.CutSuffix(to.Host, ".wild.example")
	return to.Protocol == "https:" && found && label != "" && !slices.Contains(strings.Split(label, "."), "")
}

// hostileCase is one string, and what became of it.
type hostileCase struct {
	raw, origin string
	// create is the return URL in the logout URL, login and submit are the
	// Location of the answers; empty where it was refused.
	create, login, submit string
}

// notAsked stands for an answer of those strings that do not go everywhere, which
// would take twice as long.
const notAsked = "not asked"

func TestReturnURLsOverTheWire(t *testing.T) {
	t.Parallel()
	seed := uint64(returnURLSeed)
	if text := os.Getenv("CADDY_LOGOUT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	cases := hostileCases(seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("CADDY_LOGOUT_SEED=%d makes the same strings", seed)
		}
	})
	s := start(t, serverOptions{caddyfile: returnURLsCaddyfile, files: map[string]string{"accounts.txt": accountsFile()}})
	token := signIn(t, s)

	// All that needs the session first, as the first good submit ends it. After
	// that the same logout is answered as the first time.
	onSeveral(t, s, cases, func(w *keptConn, c *hostileCase) error {
		if c.create != notAsked {
			status, _, body, err := w.send(c.origin, "GET", "/self-service/logout/browser", url.Values{"return_to": {c.raw}}, acceptJSON, "X-Session-Token: "+token)
			if err != nil {
				return err
			}
			if c.create, err = createdReturnURL(status, body); err != nil {
				return err
			}
		}
		if c.login == notAsked {
			return nil
		}
		// A browser with a live session is redirected at once.
		status, header, _, err := w.send(c.origin, "GET", "/self-service/login/browser", url.Values{"return_to": {c.raw}}, acceptBrowser, "X-Session-Token: "+token)
		if err != nil {
			return err
		}
		c.login, err = sentTo(status, header)
		return err
	})
	var flow logoutFlow
	decode(t, call(t, "GET", s.URL(toCreate), "", acceptJSON, "X-Session-Token: "+token).body, &flow)
	onSeveral(t, s, cases, func(w *keptConn, c *hostileCase) error {
		method := []string{"GET", "POST"}[len(c.raw)%2]
		status, header, _, err := w.send(c.origin, method, "/self-service/logout", url.Values{"return_to": {c.raw}, "token": {flow.Token}}, acceptBrowser, "X-Session-Token: "+token)
		if err != nil {
			return err
		}
		c.submit, err = sentTo(status, header)
		return err
	})
	if got := whoami(t, s, "X-Session-Token: "+token); got != 401 {
		t.Errorf("after all these logouts the session is live: %d", got)
	}
	if t.Failed() {
		return
	}
	judge(t, cases)
}

// hostileCases are those written by hand, under the origin they are for, and
// those of the grammar, under each: half of them for create, half for login, and
// all for submit.
func hostileCases(seed uint64) []*hostileCase {
	var cases []*hostileCase
	for _, raw := range hostileurl.Written {
		cases = append(cases, &hostileCase{raw: raw, origin: returnURLOrigins[0]})
	}
	generator := hostileurl.New(seed)
	for i := range generatedURLs {
		if raw := generator.Next(); raw != "" {
			c := &hostileCase{raw: raw, origin: returnURLOrigins[i%len(returnURLOrigins)]}
			if i%2 == 0 {
				c.create = notAsked
			} else {
				c.login = notAsked
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// judge compares what was answered with what two browsers' parsers say.
func judge(t *testing.T, cases []*hostileCase) {
	t.Helper()
	questions := make([]question, len(cases))
	for i, c := range cases {
		questions[i] = question{
			Origin: c.origin + "/", Request: c.origin + "/self-service/logout?token=x",
			Raw: fmt.Sprintf("%x", c.raw), Location: fmt.Sprintf("%x", c.submit),
		}
	}
	var wg sync.WaitGroup
	readings := make(map[string][]reading)
	var mu sync.Mutex
	for name, ask := range map[string]func() ([]reading, error){"Node": askNode(t, questions), "Chromium": askChromium(t, questions)} {
		wg.Go(func() {
			answers, err := ask()
			if err != nil || len(answers) != len(questions) {
				t.Errorf("%s: %d answers to %d questions: %v", name, len(answers), len(questions), err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			readings[name] = answers
		})
	}
	wg.Wait()
	for name, answers := range readings {
		accepted, elsewhere := 0, 0
		for i, c := range cases {
			raw, location := answers[i].Raw, answers[i].Location
			if !mayLead(c.origin, raw) {
				elsewhere++
			}
			switch {
			case c.create != notAsked && c.create != c.submit || c.login != notAsked && c.login != c.submit:
				t.Errorf("%q at %s: create answers %q, login %q, submit %q", c.raw, c.origin, c.create, c.login, c.submit)
			case c.submit == "":
			case !mayLead(c.origin, location):
				t.Errorf("%q at %s: %s is sent to %q", c.raw, c.origin, name, location.Href)
			case alike(location.Href) != alike(c.submit):
				t.Errorf("%q at %s: %s reads the location %q as %q", c.raw, c.origin, name, c.submit, location.Href)
			case !mayLead(c.origin, raw):
				t.Errorf("%q at %s: accepted as %q, and %s reads %q", c.raw, c.origin, c.submit, name, raw.Href)
			case name == "Chromium" && alike(raw.Href) != alike(c.submit): // Node 20 leaves some /../ in
				t.Errorf("%q at %s: %s reads %q, the location is %q", c.raw, c.origin, name, raw.Href, c.submit)
			}
			if c.submit != "" {
				accepted++
			}
		}
		t.Logf("%s: %d strings, of which %d lead elsewhere; %d are accepted", name, len(cases), elsewhere, accepted)
		// If nothing is accepted, or little would lead elsewhere, nothing is shown.
		if len(cases) < 5000 || accepted < len(cases)/10 || accepted > len(cases)/2 || elsewhere < len(cases)/4 {
			t.Errorf("%s: %d strings, of which %d lead elsewhere and %d are accepted, are no test", name, len(cases), elsewhere, accepted)
		}
	}
}

// alike writes ^ and | in one way: the URL Standard came to escape the first in
// paths in 2024, Chromium escapes both, and no server takes them for a delimiter.
func alike(href string) string { return strings.NewReplacer("^", "%5E", "|", "%7C").Replace(href) }

// createdReturnURL returns the return URL in the logout URL that was made.
func createdReturnURL(status int, body string) (string, error) {
	if status == http.StatusBadRequest {
		return "", nil
	}
	var flow logoutFlow
	if err := json.Unmarshal([]byte(body), &flow); err != nil || status != http.StatusOK {
		return "", fmt.Errorf("create: status %d: %s", status, body)
	}
	u, err := url.Parse(flow.URL)
	if err != nil {
		return "", fmt.Errorf("create: %w", err)
	}
	return u.Query().Get("return_to"), nil
}

// sentTo returns where an answer leads, "" for an error, on a page of its own or
// at the address of errors.
func sentTo(status int, header http.Header) (string, error) {
	location := header.Values("Location")
	switch {
	case status == http.StatusBadRequest && len(location) == 0:
		return "", nil
	case status != http.StatusSeeOther || len(location) != 1 || location[0] == "":
		return "", fmt.Errorf("status %d, location %q", status, location)
	case header["X"] != nil || strings.ContainsFunc(location[0], func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }):
		return "", fmt.Errorf("location %q, header X %q", location[0], header["X"])
	case strings.HasPrefix(location[0], afterErrors+"?id="):
		return "", nil
	}
	return location[0], nil
}

// onSeveral does something to each case, over several connections.
func onSeveral(t *testing.T, s *caddyServer, cases []*hostileCase, do func(*keptConn, *hostileCase) error) {
	t.Helper()
	const connections = 4
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			w, err := dialKept(t, s)
			if err != nil {
				t.Error(err)
				return
			}
			defer w.conn.Close()
			for j := i; j < len(cases); j += connections {
				if err := do(w, cases[j]); err != nil {
					t.Errorf("%q at %s: %v", cases[j].raw, cases[j].origin, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// keptConn is a connection to a Caddy, on which requests go one after another.
type keptConn struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialKept(t *testing.T, s *caddyServer) (*keptConn, error) {
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+s.port)
	if err != nil {
		return nil, err
	}
	return &keptConn{conn, bufio.NewReader(conn)}, conn.SetDeadline(time.Now().Add(5 * time.Minute))
}

// send sends a request as the proxy of an origin would: the values go into the
// query, or into the form of a POST.
func (w *keptConn) send(origin, method, path string, values url.Values, header ...string) (int, http.Header, string, error) {
	scheme, host, _ := strings.Cut(origin, "://")
	form := ""
	if method == "POST" {
		form = values.Encode()
		header = append(header, "Content-Type: application/x-www-form-urlencoded", "Content-Length: "+strconv.Itoa(len(form)))
	} else {
		path += "?" + values.Encode()
	}
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: " + host, "X-Forwarded-Proto: " + scheme}, header...)
	if _, err := io.WriteString(w.conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+form); err != nil {
		return 0, nil, "", err
	}
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(body), err
}
