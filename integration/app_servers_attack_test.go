package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
)

// The ways in which a site has the gate in front of an app, each on a host of its
// own: asks everybody to sign in, asks nobody, and leaves out what is public.
var gateModes = []string{"mandatory", "optional", "public"}

// told are the headers that the gate sets in these tests. A client must not set
// one of them, nor hand a credential on.
var told = []string{"X-User-Id", "X-Logout-Url", "Remote-User"}

// spoofedMark is in everything that an app must not believe.
const spoofedMark = "spoofed"

// appHost is the host of an app behind a gate of a mode.
func appHost(mode string, number int) string { return fmt.Sprintf("%s-%d.example", mode, number) }

// startBeforeApps starts a Caddy in front of all app servers. gates are what
// stands in front of an app, by mode.
func startBeforeApps(t *testing.T, servers []*appServer, apps string, gates map[string]string) *caddyServer {
	t.Helper()
	var site []string
	for mode, gate := range gates {
		for i, server := range servers {
			matcher := fmt.Sprintf("@%s-%d", mode, i)
			site = append(site, matcher+" host "+appHost(mode, i), "handle "+matcher+" {\n"+gate+"\n"+server.proxy(apps)+"\n}")
		}
	}
	return start(t, serverOptions{
		caddyfile: withHTTP2(strings.Replace(caddyfile(embeddedStore, site...), "h1 h2c", "h1 h2c", 1)),
		files:     map[string]string{"accounts.txt": accountsFile()},
	})
}

// gateWith is a gate that sets the headers of these tests.
func gateWith(matcher, options string) string {
	return "session_auth " + matcher + " {\n header X-User-Id {http.auth.user.id}\n header X-Logout-Url {session.logout_url}\n" +
		"header Remote-User {http.auth.user.id}\n" + options + "\n}"
}

func allGates(publicRule string) map[string]string {
	return map[string]string{
		"mandatory": gateWith("", ""),
		"optional":  gateWith("", "optional"),
		"public":    publicRule + "\n" + gateWith("@private", ""),
	}
}

// ask sends a request as it stands and returns the status and what the app saw,
// nil if it answered nothing of its own.
func ask(t *testing.T, s *caddyServer, request string) (int, *seen, error) {
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+s.port)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return 0, nil, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, nil, err
	}
	r := bufio.NewReader(conn)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(r, &http.Request{Method: method})
	}
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, nil, err
	}
	return resp.StatusCode, readSeen(string(body)), nil
}

// readSeen reads the answer of one of our apps.
func readSeen(body string) *seen {
	s := new(seen)
	if json.Unmarshal([]byte(body), s) != nil || s.Method == "" {
		return nil
	}
	return s
}

// named returns what the app reads under the name of a header.
func (s *seen) named(name string) []string {
	var values []string
	if value, ok := s.Vars["HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]; ok {
		return []string{value}
	}
	for _, header := range s.Headers {
		if strings.EqualFold(header[0], name) {
			values = append(values, header[1])
		}
	}
	return values
}

// spoofedIn returns what came to the app under a name that it, or some other app,
// may take for one of ours, or for a variable of its server.
func (s *seen) spoofedIn() []string {
	var found []string
	for name, value := range s.Vars {
		header, isHeader := strings.CutPrefix(name, "HTTP_")
		if strings.ToUpper(name) != name { // Node has its headers here
			header, isHeader = name, true
		}
		if strings.Contains(value, spoofedMark) && (!isHeader || isTold(header) || header == "PROXY" && strings.HasPrefix(name, "getenv")) {
			found = append(found, name+": "+value)
		}
	}
	for _, header := range s.Headers {
		if strings.Contains(header[1], spoofedMark) && isTold(header[0]) {
			found = append(found, header[0]+": "+header[1])
		}
	}
	return found
}

func isTold(name string) bool {
	return slices.ContainsFunc(told, func(ours string) bool { return foldedName(ours) == foldedName(name) })
}

// believes says what the app takes its user for, if not for who it is.
func (s *seen) believes(signedIn bool) []string {
	bad := s.spoofedIn()
	for _, name := range told {
		values := s.named(name)
		switch {
		case !signedIn && len(values) > 0:
			bad = append(bad, fmt.Sprintf("%s: %q of nobody", name, values))
		case signedIn && name == "X-Logout-Url" && (len(values) != 1 || !strings.Contains(values[0], "/self-service/logout?token=ory_lo_")),
			signedIn && name != "X-Logout-Url" && !slices.Equal(values, []string{account}):
			bad = append(bad, fmt.Sprintf("%s: %q", name, values))
		}
	}
	return bad
}

// headerSpoof is a way to send headers that only the gate may set.
type headerSpoof struct {
	way   string
	tries int
	lines []string // of the header
	sent  []string // of the trailers
}

// headerSpoofs are all ways: many spellings of a name at once, and, if each is to
// be tried alone, that too.
func headerSpoofs(alone bool) []headerSpoof {
	var all []headerSpoof
	spelled := func(name string) []string {
		var names []string
		for _, sign := range "!#$%&'*+-.^_`|~" {
			names = append(names, strings.ReplaceAll(name, "-", string(sign)))
		}
		return append(names, "Http-"+name, "HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	with := func(names []string) []string {
		lines := make([]string, len(names))
		for i, name := range names {
			lines[i] = name + ": " + spoofedMark
		}
		return lines
	}
	for _, name := range told {
		for _, alias := range aliases(name) {
			if !alone {
				break
			}
			all = append(all, headerSpoof{way: "one spelling", tries: 1, lines: with([]string{alias})},
				headerSpoof{way: "twice", tries: 1, lines: []string{alias + ": ", alias + ": " + spoofedMark, alias + ":"}})
		}
		names := append(aliases(name), spelled(name)...)
		all = append(all,
			headerSpoof{way: "every sign for a hyphen", tries: len(names), lines: with(names)},
			headerSpoof{way: "folded lines", tries: 3, lines: []string{
				name + ":\r\n " + spoofedMark, "X-Other: 1\r\n\t" + name + ": " + spoofedMark, name + ": a\r\n  \r\n " + spoofedMark,
			}},
			headerSpoof{way: "named in Connection", tries: 3, lines: append(with([]string{name}),
				"Connection: keep-alive, "+strings.ToLower(name), "Connection: "+name+", "+strings.ReplaceAll(name, "-", "_"))},
			headerSpoof{way: "trailers that are announced", tries: len(names), lines: []string{"Trailer: " + strings.Join(names, ", ")}, sent: with(names)},
			headerSpoof{way: "trailers that are not", tries: len(names), lines: []string{"Trailer: X-Sum"}, sent: append(with(names), "X-Sum: 1")},
		)
	}
	// Names by which CGI, WSGI and PHP hand over what is not a header.
	var variables []string
	for _, name := range []string{
		"Remote-User", "Remote-Ident", "Auth-Type", "Script-Name", "Path-Info", "Path-Translated", "Document-Root", "Document-Uri",
		"Script-Filename", "Request-Uri", "Request-Method", "Request-Path", "Query-String", "Server-Name", "Gateway-Interface",
		"Redirect-Remote-User", "Redirect-Http-X-User-Id", "Php-Auth-User", "Php-Self", "Php-Value", "Php-Admin-Value", "Orig-Path-Info",
		"Proxy", "Http-Proxy", "Wsgi-Url-Scheme", "Rack-Session", "Content-Type",
	} {
		for _, sign := range []string{"-", "_", ".", "!", "+"} {
			variables = append(variables, strings.ReplaceAll(name, "-", sign))
		}
	}
	variables = slices.DeleteFunc(variables, func(name string) bool { return name == "Content-Type" })
	return append(all, headerSpoof{way: "names of variables", tries: len(variables), lines: with(variables)})
}

// request writes it as HTTP/1.1.
func (h headerSpoof) request(host string, own ...string) string {
	lines := append(append([]string{"Host: " + host}, own...), h.lines...)
	if len(h.sent) == 0 {
		return "GET /public/x HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	lines = append(lines, "Transfer-Encoding: chunked")
	return "POST /public/x HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n4\r\nbody\r\n0\r\n" + strings.Join(h.sent, "\r\n") + "\r\n\r\n"
}

// sideBySide runs attacks on each app server at once, and reports what they came
// to by app server.
func sideBySide(t *testing.T, what string, servers []*appServer, attack func(number int, server *appServer) (tries int, through []string)) {
	t.Helper()
	tries, through := make([]int, len(servers)), make([][]string, len(servers))
	var attacks sync.WaitGroup
	for i, server := range servers {
		attacks.Go(func() { tries[i], through[i] = attack(i, server) })
	}
	attacks.Wait()
	for i, server := range servers {
		attacktest.Report(t, what+", "+server.name, tries[i], len(through[i]))
		for _, line := range through[i][:min(len(through[i]), 3)] {
			t.Logf("%.300s", line)
		}
	}
}

// TestAttackAppServers is all that a client can try with what stands in a request.
func TestAttackAppServers(t *testing.T) {
	t.Parallel()
	servers, apps := startAppServers(t)
	s := startBeforeApps(t, servers, apps, allGates(documentedRule(t)))
	token := signIn(t, s)
	t.Run("headers", func(t *testing.T) { attackHeaders(t, s, servers, token) })
	t.Run("headers over HTTP2", func(t *testing.T) { attackHeadersHTTP2(t, s, servers, token) })
	t.Run("cookies", func(t *testing.T) { attackCookies(t, s, servers, token) })
	t.Run("paths", func(t *testing.T) { attackPaths(t, s, servers) })
	t.Run("bodies", func(t *testing.T) { attackBodies(t, s, servers) })
}

// attackHeaders sends each spoof to each app server behind each gate.
func attackHeaders(t *testing.T, s *caddyServer, servers []*appServer, token string) {
	for _, mode := range gateModes {
		for _, signedIn := range []bool{true, false} {
			if mode == "mandatory" && !signedIn || mode == "public" && signedIn {
				continue // it does not get to the app
			}
			what := "headers, " + mode + " gate, anonymous"
			var own []string
			if signedIn {
				what = "headers, " + mode + " gate, signed in"
				own = []string{"Cookie: theme=dark; " + cookieName + "=" + token}
			}
			sideBySide(t, what, servers, func(i int, server *appServer) (tries int, through []string) {
				arrived, sent := 0, 0
				for _, h := range headerSpoofs(mode == "optional") {
					times := 1
					if server.fastCGI && mode == "optional" && signedIn && h.tries > 20 && len(h.sent) == 0 {
						times = 50 // which of two names that become one wins may be chance
					}
					for range times {
						tries += h.tries
						sent++
						status, got, err := ask(t, s, h.request(appHost(mode, i), own...))
						switch {
						case err != nil:
							through = append(through, fmt.Sprintf("%s: %v", h.way, err))
						case got == nil && status < 400:
							through = append(through, fmt.Sprintf("%s: status %d and nothing of the app", h.way, status))
						case got != nil:
							arrived++
							if bad := got.believes(signedIn); len(bad) > 0 {
								through = append(through, fmt.Sprintf("%s, %.60q: %q", h.way, h.lines, bad))
							}
						}
					}
				}
				// uWSGI may close the connection before it has read a body in
				// chunks, a quarter of the requests: then the response is 502.
				if arrived < sent*2/3 {
					through = append(through, fmt.Sprintf("of %d requests, %d got to the app: this shows nothing", sent, arrived))
				}
				return tries, through
			})
		}
	}
}

// attackHeadersHTTP2 sends every spelling at once over HTTP/2, in the header and
// behind the body.
func attackHeadersHTTP2(t *testing.T, s *caddyServer, servers []*appServer, token string) {
	var names []string
	for _, h := range headerSpoofs(true) {
		if len(h.sent) == 0 && h.way != "named in Connection" && h.way != "folded lines" {
			for _, line := range h.lines {
				names = append(names, lowerName(strings.TrimSuffix(line, ":")+": "))
			}
		}
	}
	for i, line := range names {
		names[i], _, _ = strings.Cut(line, ": ")
		names[i] += ": " + spoofedMark
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for i, server := range servers {
		tries, through := 0, 0
		for _, mode := range gateModes {
			for _, trailers := range []bool{false, true} {
				c := dialHTTP2(t, s)
				lines := []string{":method: POST", ":scheme: http", ":path: /public/x", ":authority: " + appHost(mode, i), "content-length: 4"}
				signedIn := mode != "public"
				if signedIn {
					lines = append(lines, "x-session-token: "+token)
				}
				var err error
				if trailers {
					if err = c.headers(false, false, append(lines, "trailer: x-user-id")...); err == nil {
						err = c.data(false, "body")
					}
					if err == nil {
						err = c.headers(true, true, names...)
					}
				} else if err = c.headers(false, false, append(lines, names...)...); err == nil {
					err = c.data(true, "body")
				}
				body := ""
				for ended := false; err == nil && !ended; {
					var data string
					_, data, ended, err = c.next()
					body += data
				}
				got := readSeen(body)
				tries += len(names)
				switch {
				case err != nil:
					t.Errorf("%s, %s gate: %v", server.name, mode, err)
				case got == nil:
					t.Errorf("%s, %s gate: nothing of the app: %.200s", server.name, mode, body)
				default:
					if bad := got.believes(signedIn); len(bad) > 0 {
						through += len(bad)
						t.Logf("%s, %s gate: %.300q", server.name, mode, bad)
					}
				}
				_ = c.conn.Close()
			}
		}
		attacktest.Report(t, "headers over HTTP/2, "+server.name, tries, through)
	}
}
