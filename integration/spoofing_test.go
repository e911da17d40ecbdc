package integration_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// aliases are names that some server takes for name. All hand on the case and
// the underscores, PHP folds dots, and lighttpd all that is not alphanumeric.
func aliases(name string) []string {
	with := func(s string) string { return strings.ReplaceAll(name, "-", s) }
	upper, lower := strings.ToUpper(name), strings.ToLower(name)
	return []string{
		name, lower, upper, with("_"), strings.ToLower(with("_")), with("."), with("!"), with("~"),
		strings.Replace(upper, "-", "_", 1), strings.Replace(lower, "-", ".", 1),
	}
}

// sendRaw sends a request and returns the status of the answer.
func sendRaw(t *testing.T, s *caddyServer, request string) int {
	t.Helper()
	conn := dial(t, s.port)
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// spoof is a request that says spoofed wherever it is not to be believed.
type spoof struct {
	name   string
	header []string
	// announced and sent are its trailers, if there are any.
	announced string
	sent      []string
}

// spoofs are all of them. Those for HTTP/2 are in lower case and name nothing in
// Connection, which is refused there.
func spoofs(http2 bool) []spoof {
	var all []spoof
	for _, name := range []string{"X-User-Id", "X-Logout-Url", "X-Session-Token"} {
		names := aliases(name)
		if http2 {
			for i := range names {
				names[i] = strings.ToLower(names[i])
			}
			slices.Sort(names)
			names = slices.Compact(names)
		}
		var every []string
		for _, alias := range names {
			every = append(every, alias+": spoofed")
			all = append(all,
				spoof{name: alias, header: []string{alias + ": spoofed"}},
				spoof{name: alias + " twice", header: []string{alias + ": ", alias + ": spoofed"}},
				spoof{name: alias + " as a trailer", announced: alias, sent: []string{alias + ": spoofed"}},
				spoof{name: alias + " as a trailer that was not announced", announced: "X-Sum", sent: []string{alias + ": spoofed", "X-Sum: 1"}},
			)
			if !http2 {
				all = append(all, spoof{name: alias + " and Connection", header: []string{alias + ": spoofed", "Connection: " + alias}},
					spoof{name: alias + " only in Connection", header: []string{"Connection: keep-alive, " + alias, "Connection: " + name}})
			}
		}
		all = append(all, spoof{name: "all for " + name, header: every},
			spoof{name: "all as trailers for " + name, announced: strings.Join(names, ", "), sent: every})
	}
	for _, name := range []string{"Cookie", "Authorization"} {
		if http2 && name == "Authorization" {
			continue // refused by the server itself
		}
		all = append(all, spoof{name: name + " as a trailer", announced: name + ", X-Sum", sent: []string{name + ": " + cookieName + "=spoofed", "X-Sum: 1"}})
		if !http2 {
			all = append(all, spoof{name: name + " in Connection", header: []string{"Connection: " + name + ", " + strings.ToLower(name)}})
		}
	}
	if http2 {
		for i := range all {
			for j := range all[i].header {
				all[i].header[j] = lowerName(all[i].header[j])
			}
			for j := range all[i].sent {
				all[i].sent[j] = lowerName(all[i].sent[j])
			}
		}
	}
	return all
}

func lowerName(line string) string {
	name, value, _ := strings.Cut(line, ": ")
	return strings.ToLower(name) + ": " + value
}

// TestSpoofedHeaders sends them all, signed in and not, and looks at each byte
// that reaches the app.
func TestSpoofedHeaders(t *testing.T) {
	t.Parallel()
	app := newRawApp(t)
	s := start(t, serverOptions{
		caddyfile: withHTTP2(caddyfile(embeddedStore, "handle /open/* {\n session_auth {\n optional\n }\n reverse_proxy "+app.addr+"\n }")),
		files:     map[string]string{"accounts.txt": accountsFile()},
	})
	token := signIn(t, s)
	// What has to arrive besides: cookies and credentials of the app's own.
	own := []string{"Cookie: theme=dark", "Authorization: Basic eDp5", "Other: 1"}
	for _, who := range []string{"anonymous", "signed in"} {
		own := slices.Clone(own)
		if who == "signed in" {
			own[0] = "Cookie: " + cookieName + "=" + token + "; theme=dark"
		}
		for name, send := range map[string]func(*testing.T, spoof) int{
			"HTTP/1.1": func(t *testing.T, p spoof) int { return sendRaw(t, s, http1(p, own)) },
			"HTTP/2":   func(t *testing.T, p spoof) int { return sendHTTP2(t, s, p, own) },
		} {
			t.Run(name+" "+who, func(t *testing.T) {
				for _, p := range spoofs(name == "HTTP/2") {
					if status := send(t, p); status != http.StatusOK {
						t.Errorf("%s: status %d", p.name, status)
					}
					messages := app.take()
					if len(messages) != 1 {
						t.Fatalf("%s: %d requests reached the app", p.name, len(messages))
					}
					checkIdentity(t, p.name, messages[0], who == "signed in", token)
					sum := messages[0].values("X-Sum")
					if wanted := slices.Contains(p.sent, "X-Sum: 1") || slices.Contains(p.sent, "x-sum: 1"); wanted != (len(sum) == 1) {
						t.Errorf("%s: of the trailer that is the app's own came %q", p.name, sum)
					}
				}
			})
		}
	}
	for _, name := range []string{"X-User-Id", "connection", "transfer-encoding"} {
		c := dialHTTP2(t, s)
		err := c.headers(true, false, append(http2Head("GET"), name+": x-user-id")...)
		if err != nil {
			t.Fatal(err)
		}
		if status, err := c.status(); status != "400" && !errors.Is(err, errReset) {
			t.Errorf("HTTP/2 with %s: status %s, %v", name, status, err)
		}
		if messages := app.take(); len(messages) != 0 {
			t.Errorf("HTTP/2 with %s: %q reached the app", name, messages[0].raw)
		}
	}
}

// TestSpoofedHeadersThatCaddyAllows is for an app whose headers have underscores and
// dots: Caddy drops such names by default, and is configured to pass them on.
func TestSpoofedHeadersThatCaddyAllows(t *testing.T) {
	t.Parallel()
	app := newRawApp(t)
	s := start(t, serverOptions{
		caddyfile: strings.Replace(caddyfile(embeddedStore, "handle /open/* {\n session_auth {\n optional\n }\n reverse_proxy "+app.addr+"\n }"),
			"{\n", "{\n\tservers {\n\t\texpected_underscore_headers x_*\n\t\texpected_dot_headers x.*\n\t}\n", 1),
		files: map[string]string{"accounts.txt": accountsFile()},
	})
	token := signIn(t, s)
	for _, signedIn := range []bool{false, true} {
		own := []string{"Cookie: theme=dark", "Authorization: Basic eDp5", "Other: 1", "x_mine: 1", "x.mine: 1"}
		if signedIn {
			own = append(own, "Cookie: "+cookieName+"="+token)
		}
		for _, name := range []string{"X-User-Id", "X-Logout-Url"} {
			for _, alias := range aliases(name) {
				if status := sendRaw(t, s, http1(spoof{header: []string{alias + ": spoofed", "Connection: " + alias}}, own)); status != http.StatusOK {
					t.Errorf("%s: status %d", alias, status)
				}
				messages := app.take()
				if len(messages) != 1 {
					t.Fatalf("%s: %d requests reached the app", alias, len(messages))
				}
				checkIdentity(t, alias, messages[0], signedIn, token)
				if mine := messages[0].values("x-mine"); len(mine) != 2 {
					t.Errorf("%s: of the app's own headers came %q", alias, mine)
				}
			}
		}
	}
}

// http1 writes a request as it goes over HTTP/1.1.
func http1(p spoof, own []string) string {
	method, body := "GET", ""
	lines := append(slices.Clone(own), p.header...)
	if len(p.sent) > 0 {
		method, body = "POST", "4\r\nbody\r\n0\r\n"+strings.Join(p.sent, "\r\n")+"\r\n\r\n"
		lines = append(lines, "Transfer-Encoding: chunked", "Trailer: "+p.announced)
	}
	return method + " /open/x HTTP/1.1\r\nHost: app.example\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func http2Head(method string) []string {
	return []string{":method: " + method, ":scheme: http", ":path: /open/x", ":authority: app.example"}
}

// sendHTTP2 sends a request over a connection of its own.
func sendHTTP2(t *testing.T, s *caddyServer, p spoof, own []string) int {
	t.Helper()
	c, method := dialHTTP2(t, s), "GET"
	defer c.conn.Close()
	if len(p.sent) > 0 {
		method = "POST"
	}
	lines := http2Head(method)
	for _, line := range own {
		lines = append(lines, lowerName(line))
	}
	lines = append(lines, p.header...)
	var err error
	if len(p.sent) > 0 {
		if err = c.headers(false, false, append(lines, "trailer: "+p.announced)...); err == nil {
			err = c.data(false, "body")
		}
		if err == nil {
			err = c.headers(true, true, p.sent...)
		}
	} else {
		err = c.headers(true, false, lines...)
	}
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.status()
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	status := 0
	_, _ = fmt.Sscan(answer, &status)
	return status
}

// checkIdentity checks that a request says about its sender what the gate said,
// nothing else, and nothing that can be used.
func checkIdentity(t *testing.T, name string, m message, signedIn bool, token string) {
	t.Helper()
	if m.problem != nil || m.cut {
		t.Errorf("%s: cut short: %v, %v:\n%s", name, m.cut, m.problem, m.raw)
	}
	for _, bad := range []string{"spoofed", token, cookieName} {
		if strings.Contains(m.raw, bad) {
			t.Errorf("%s: %s reached the app:\n%s", name, bad, m.raw)
		}
	}
	users, urls := m.values("X-User-Id"), m.values("X-Logout-Url")
	switch {
	case !signedIn && len(users)+len(urls) > 0:
		t.Errorf("%s: the app was told about nobody:\n%s", name, m.raw)
	case signedIn && (!slices.Equal(users, []string{account}) || len(urls) != 1 || !strings.HasPrefix(urls[0], "http://app.example/self-service/logout?token=")):
		t.Errorf("%s: the app was told %q and %q, want %s:\n%s", name, users, urls, account, m.raw)
	}
	for _, want := range []string{"Cookie: theme=dark", "Authorization: Basic eDp5", "Other: 1"} {
		if !slices.Contains(m.fields, want) {
			t.Errorf("%s: %s did not reach the app:\n%s", name, want, m.raw)
		}
	}
}
