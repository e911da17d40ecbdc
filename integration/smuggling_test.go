package integration_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sendAll sends bytes as they stand and returns the first line of each answer,
// until the server closes the connection.
func sendAll(t *testing.T, s *caddyServer, text string) []string {
	t.Helper()
	conn := dial(t, s.port)
	defer conn.Close()
	_, _ = io.WriteString(conn, text) // fails if it is refused before its end
	answers, err := io.ReadAll(conn)
	if err != nil && len(answers) == 0 {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.SplitSeq(string(answers), "\r\n") {
		// The body of an answer ends without a line break.
		if i := strings.Index(line, "HTTP/1."); i >= 0 {
			lines = append(lines, line[i:])
		}
	}
	return lines
}

// smuggled is a request that hides in another one. The gate would let it through
// with a session, and it has none.
const smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: app.example\r\nX-User-Id: spoofed\r\nX-A: "

// last is what a client sends behind the hostile request on the same connection,
// so that the server closes it.
const last = "GET /self-service/errors HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"

// TestSmuggling sends each of them without a credential and with alice's, and has
// bob ask for something after each, over the connections to the app that are
// there by then.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	app := newRawApp(t)
	s := start(t, serverOptions{
		caddyfile: withHTTP2(caddyfile(embeddedStore,
			"handle /open/* {\n session_auth {\n optional\n }\n reverse_proxy "+app.addr+"\n }",
			"handle /gated/* {\n session_auth\n reverse_proxy "+app.addr+"\n }")),
		files: map[string]string{"accounts.txt": accountsFile()},
	})
	token := signIn(t, s)
	const passes, refused = true, false
	gated := strings.Replace(smuggled, "/open/", "/gated/", 1)
	sent := 0
	for _, test := range []struct {
		name string
		// lines follow the request line, Host and the credential.
		lines, body string
		passes      bool
		line        string // the request line, unless it is POST /open/x HTTP/1.1
	}{
		{name: "Content-Length and Transfer-Encoding", lines: "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", body: "0\r\n\r\n" + gated + "\r\n\r\n", passes: passes},
		{name: "Transfer-Encoding and Content-Length", lines: "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", body: "57\r\n" + gated + strings.Repeat("a", 0x57-len(gated)) + "\r\n0\r\n\r\n", passes: passes},
		{name: "two lengths", lines: "Content-Length: 0\r\nContent-Length: 60\r\n", body: gated + "\r\n\r\n", passes: refused},
		{name: "the same length twice", lines: "Content-Length: 2\r\nContent-Length: 2\r\n", body: "ab", passes: passes},
		{name: "two lengths on one line", lines: "Content-Length: 0, 60\r\n", body: gated, passes: refused},
		{name: "a length with a sign", lines: "Content-Length: +60\r\n", body: gated, passes: refused},
		{name: "a length below zero", lines: "Content-Length: -1\r\n", body: gated, passes: refused},
		{name: "a length in hexadecimal", lines: "Content-Length: 0x3c\r\n", body: gated, passes: refused},
		{name: "a length with an underscore beside it", lines: "Content_Length: 60\r\nContent-Length: 2\r\n", body: "ab", passes: passes},
		{name: "a space before the colon", lines: "Content-Length : 60\r\n", body: gated, passes: refused},
		{name: "a tab before the colon", lines: "Transfer-Encoding\t: chunked\r\n", body: "0\r\n\r\n" + gated, passes: refused},
		{name: "xchunked", lines: "Transfer-Encoding: xchunked\r\n", body: "0\r\n\r\n" + gated, passes: refused},
		{name: "chunked, identity", lines: "Transfer-Encoding: chunked, identity\r\n", body: "0\r\n\r\n" + gated, passes: refused},
		{name: "chunked twice", lines: "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", body: "0\r\n\r\n" + gated, passes: refused},
		{name: "identity beside chunked", lines: "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", body: "0\r\n\r\n" + gated, passes: refused},
		{name: "chunked with a vertical tab", lines: "Transfer-Encoding: \x0bchunked\r\n", body: "0\r\n\r\n" + gated, passes: refused},
		{name: "chunked on the next line", lines: "Transfer-Encoding:\r\n chunked\r\n", body: "0\r\n\r\n", passes: passes},
		{name: "a folded line", lines: "X-Other: 1\r\n X-User-Id: root\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", body: "ab", passes: passes},
		{name: "a folded first line", line: "POST /open/x HTTP/1.1\r\n X-User-Id: spoofed", body: "", passes: refused},
		{name: "lines that end with LF", lines: "X-Other: 1\nX-User-Id: spoofed\nContent-Length: 2\n", body: "ab", passes: passes},
		{name: "CR in a header", lines: "X-Other: 1\rX-User-Id: spoofed\r\n", passes: refused},
		{name: "NUL in a header", lines: "X-Other: 1\x00\r\n", passes: refused},
		{name: "no name", lines: ": spoofed\r\n", passes: refused},
		{name: "a chunk extension", lines: "Transfer-Encoding: chunked\r\n", body: "2;a=\"b\"\r\nab\r\n0;x\r\n\r\n", passes: passes},
		{name: "LF in a chunk extension", lines: "Transfer-Encoding: chunked\r\n", body: "2;\nxx\r\n57\r\n" + gated + "\r\n0\r\n\r\n", passes: refused},
		{name: "a chunk of 2 with 3", lines: "Transfer-Encoding: chunked\r\n", body: "2\r\nabc\r\n0\r\n\r\n", passes: refused},
		{name: "a chunk size of too many digits", lines: "Transfer-Encoding: chunked\r\n", body: "10000000000000002\r\nab\r\n0\r\n\r\n", passes: refused},
		{name: "HTTP/1.0 with chunked", line: "POST /open/x HTTP/1.0", lines: "Transfer-Encoding: chunked\r\n", body: "0\r\n\r\n" + gated, passes: passes},
		{name: "HTTP/1.0 with both", line: "POST /open/x HTTP/1.0", lines: "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", body: "ab" + gated, passes: passes},
		{name: "another host in the target", line: "POST http://other.example/open/x HTTP/1.1", lines: "Content-Length: 2\r\n", body: "ab", passes: passes},
		{name: "two hosts", lines: "Host: other.example\r\nContent-Length: 0\r\n", passes: refused},
		{name: "a space in the target", line: "POST /open/x y HTTP/1.1", passes: refused},
		{name: "a version in the target", line: "POST /open/x HTTP/1.0 HTTP/1.1", passes: refused},
		{name: "HTTP/1.2", line: "POST /open/x HTTP/1.2", passes: passes},
		{name: "no length and a body", body: gated + "\r\n\r\n", passes: passes},
		{name: "Upgrade with a body", lines: "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", body: "ab", passes: passes},
		{name: "an expectation that is none", lines: "Expect: 200-ok\r\nContent-Length: 2\r\n", body: "ab", passes: refused},
	} {
		for _, who := range []string{"", token} {
			name := test.name + ", anonymous"
			line, credential := test.line, ""
			if who != "" {
				name, credential = test.name+", signed in", "X-Session-Token: "+who+"\r\n"
			}
			if line == "" {
				line = "POST /open/x HTTP/1.1"
			}
			line = strings.Replace(line, "/open/x", hostilePath(sent, who != ""), 1)
			sent++
			t.Run(name, func(t *testing.T) {
				answers := sendAll(t, s, line+"\r\nHost: app.example\r\n"+credential+test.lines+"\r\n"+test.body+last)
				if len(answers) == 0 {
					t.Fatal("no answer")
				}
				if passes := strings.Contains(answers[0], " 200 "); passes != test.passes {
					t.Errorf("answered %q, want it to pass: %t", answers, test.passes)
				}
				least, most := 0, 0
				if test.passes {
					least, most = 1, 1
				}
				checkArrived(t, s, app, hostilePath(sent-1, who != ""), least, most, token)
			})
		}
	}
}

// hostilePath is what a hostile request asks for, so that it is known when it
// comes, and whose it is.
func hostilePath(number int, signedIn bool) string {
	return fmt.Sprintf("/open/x/%d/%t/", number, signedIn)
}

// checkArrived has another client use the app, which must get its own response,
// and checks that of the hostile request as many arrived as may, and whose. One
// that breaks off may arrive at any time, as far as it goes.
func checkArrived(t *testing.T, s *caddyServer, app *rawApp, path string, least, most int, token string) {
	t.Helper()
	if a := call(t, "GET", s.URL("/open/bob"), "", "X-Bob: 1"); a.status != 200 || a.body != "ok" {
		t.Errorf("bob: %d %q", a.status, a.body)
	}
	bobs, whole := 0, 0
	for _, m := range app.take() {
		users := m.values("X-User-Id")
		switch {
		case m.problem != nil:
			t.Errorf("the app got what can be read in two ways: %v:\n%s", m.problem, m.raw)
		case strings.Contains(m.raw, token):
			t.Errorf("the credential arrived:\n%s", m.raw)
		case m.line == "GET /open/bob HTTP/1.1" && !m.cut && len(m.values("X-Bob")) == 1 && len(users) == 0:
			bobs++
		case !hostileLine.MatchString(m.line) && !m.cut || !m.cut && !strings.Contains(m.line, path):
			t.Errorf("another request arrived:\n%s", m.raw)
		case strings.Contains(m.line, "/true/") && !m.cut && !slices.Equal(users, []string{account}),
			!strings.Contains(m.line, "/true/") && len(users) > 0:
			t.Errorf("the app was told %q:\n%s", users, m.raw)
		case !m.cut:
			whole++
		}
	}
	if bobs != 1 {
		t.Errorf("of bob's requests %d arrived", bobs)
	}
	if whole < least || whole > most {
		t.Errorf("%d requests reached the app, want %d to %d", whole, least, most)
	}
}

var hostileLine = regexp.MustCompile(`^POST (http://[a-z.]+)?/open/x/[0-9]+/(true|false)/\S* HTTP/1\.1$`)

// TestSmugglingHTTP2 hides line breaks, lengths and codings where HTTP/2 has
// none: what is an HTTP/2 request in one piece must not be two of HTTP/1.
func TestSmugglingHTTP2(t *testing.T) {
	t.Parallel()
	app := newRawApp(t)
	s := start(t, serverOptions{
		caddyfile: withHTTP2(caddyfile(embeddedStore, "handle /open/* {\n session_auth {\n optional\n }\n reverse_proxy "+app.addr+"\n }")),
		files:     map[string]string{"accounts.txt": accountsFile()},
	})
	token := signIn(t, s)
	const passes, refused = true, false
	sent := 0
	for _, test := range []struct {
		name   string
		method string // if not POST
		path   string // if not /open/x
		lines  []string
		body   string
		passes bool
	}{
		{name: "nothing strange", body: "ab", passes: passes},
		{name: "a length that is right", lines: []string{"content-length: 2"}, body: "ab", passes: passes},
		{name: "a length that is too short", lines: []string{"content-length: 2"}, body: "ab" + smuggled, passes: refused},
		{name: "a length that is too long", lines: []string{"content-length: 200"}, body: "ab", passes: refused},
		{name: "two lengths", lines: []string{"content-length: 2", "content-length: 70"}, body: "ab", passes: passes},
		{name: "transfer-encoding", lines: []string{"transfer-encoding: chunked"}, body: "0\r\n\r\n" + smuggled, passes: refused},
		{name: "transfer_encoding", lines: []string{"transfer_encoding: chunked"}, body: "ab", passes: passes},
		{name: "connection", lines: []string{"connection: x-user-id, cookie"}, body: "ab", passes: refused},
		{name: "a line break in a value", lines: []string{"x-other: 1\r\ntransfer-encoding: chunked"}, body: "ab", passes: refused},
		{name: "LF in a value", lines: []string{"x-other: 1\nx-user-id: spoofed"}, body: "ab", passes: refused},
		{name: "a line break in a name", lines: []string{"x-other\r\nx-user-id: spoofed"}, body: "ab", passes: refused},
		{name: "a colon in a name", lines: []string{"x-user-id:x: spoofed"}, body: "ab", passes: refused},
		{name: "a space in a name", lines: []string{"x-user-id : spoofed"}, body: "ab", passes: refused},
		{name: "upper case in a name", lines: []string{"X-User-Id: spoofed"}, body: "ab", passes: refused},
		{name: "a space in the path", path: "/open/x HTTP/1.1", body: "ab", passes: passes},
		{name: "a line break in the path", path: "/open/x HTTP/1.1\r\nX-User-Id: spoofed\r\n\r\n", body: "ab", passes: refused},
		{name: "LF in the query", path: "/open/x?a\nX-User-Id: spoofed", body: "ab", passes: refused},
		{name: "a line break in the method", method: "GET /open/y HTTP/1.1\r\nX-User-Id: spoofed\r\n\r\nPOST", body: "ab", passes: refused},
		{name: "a space in the method", method: "GET /open/y", body: "ab", passes: refused},
		{name: "another host", lines: []string{"host: other.example\r\nx-user-id: spoofed"}, body: "ab", passes: refused},
		{name: "a pseudo-header at the end", lines: []string{"x-other: 1", ":path: /open/y"}, body: "ab", passes: refused},
		{name: "te", lines: []string{"te: chunked"}, body: "ab", passes: refused},
		{name: "upgrade", lines: []string{"upgrade: websocket"}, body: "ab", passes: refused},
	} {
		for _, who := range []string{"", token} {
			name := test.name + ", anonymous"
			if who != "" {
				name = test.name + ", signed in"
			}
			t.Run(name, func(t *testing.T) {
				sent++
				own := hostilePath(sent, who != "")
				method, path := "POST", own
				if test.method != "" {
					method = test.method
				}
				if test.path != "" {
					path = strings.Replace(test.path, "/open/x", own, 1)
				}
				c := dialHTTP2(t, s)
				defer c.conn.Close()
				lines := []string{":method: " + method, ":scheme: http", ":path: " + path, ":authority: app.example"}
				if who != "" {
					lines = append(lines, "x-session-token: "+who)
				}
				err := c.headers(false, false, append(lines, test.lines...)...)
				if err == nil {
					err = c.data(true, test.body)
				}
				status := ""
				if err == nil {
					status, err = c.status()
				}
				if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
					t.Fatal(err)
				}
				least, most := 0, 0
				switch {
				case test.passes:
					least, most = 1, 1
					if status != "200" {
						t.Errorf("status %q, %v, want 200", status, err)
					}
				case status == "200":
					t.Error("it passed")
				}
				checkArrived(t, s, app, own, least, most, token)
			})
		}
	}
}
