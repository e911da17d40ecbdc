package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
)

// bodyTry is a request with another one in its body.
type bodyTry struct {
	app                         tunnelApp
	version, method, form, host string
	token                       string
	number                      int
}

func (try bodyTry) String() string {
	return fmt.Sprintf("%s %s by %s, %s, to %s", try.app.name, try.method, try.version, try.form, try.host)
}

func (try bodyTry) own() string      { return fmt.Sprintf("/public/%d", try.number) }
func (try bodyTry) smuggled() string { return fmt.Sprintf("/admin/%d", try.number) }

// send sends it and returns the status.
func (try bodyTry) send(t *testing.T, s tunnelServer) string {
	t.Helper()
	body := "GET " + try.smuggled() + " HTTP/1.1\r\nHost: app\r\nX-User-Id: admin\r\n\r\n"
	if try.version == "h1" {
		lines := map[string]string{
			"known":    fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
			"unknown":  fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
			"expect":   fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
			"trailers": fmt.Sprintf("Transfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\r\n%x\r\n%s\r\n0\r\nX-User-Id: admin\r\n\r\n", len(body), body),
		}[try.form]
		return firstStatus(t, s, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s.app.test\r\nX-App: %s\r\nConnection: close\r\n%s%s",
			try.method, try.own(), try.host, foldedName(try.app.name), cookieLine(try.token), lines))
	}
	c := s.dial(t, try.version)
	lines := []string{":method: " + try.method, ":scheme: https", ":path: " + try.own(), ":authority: " + try.host + ".app.test", "x-app: " + foldedName(try.app.name)}
	if try.token != "" {
		lines = append(lines, "cookie: "+cookieName+"="+try.token)
	}
	switch try.form {
	case "known":
		lines = append(lines, fmt.Sprintf("content-length: %d", len(body)))
	case "expect":
		lines = append(lines, "expect: 100-continue")
	case "trailers":
		lines = append(lines, "trailer: x-user-id")
	}
	if err := c.headers(false, false, lines...); err != nil {
		t.Fatal(err)
	}
	_ = c.data(try.form != "trailers", body)
	if try.form == "trailers" {
		_ = c.headers(true, true, "x-user-id: admin")
	}
	return statusOf(c)
}

// firstStatus sends a request as it stands, and returns the status of the last
// answer to it, which may follow one that says to go on.
func firstStatus(t *testing.T, s tunnelServer, text string) string {
	t.Helper()
	conn := dial(t, s.port)
	defer conn.Close()
	_, _ = io.WriteString(conn, text) // fails if it is refused before its end
	r := bufio.NewReader(conn)
	for {
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return err.Error()
		}
		_ = answer.Body.Close()
		if answer.StatusCode >= 200 {
			return fmt.Sprint(answer.StatusCode)
		}
	}
}

// TestAttackBodies sends bodies of which each server has its own mind, if any.
func TestAttackBodies(t *testing.T) {
	t.Parallel()
	apps := append(tunnelApps(t), hypercornApp(t))
	s := startTunnelSites(t, apps...)
	token := signIn(t, s.caddyServer)
	hosts := []string{"gate", "optional", "public", "logout", "login", "watch", "kept"}
	var tries []bodyTry
	for _, app := range apps {
		for _, version := range []string{"h1", "h2c", "h2", "h3"} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE", "PRI", "connect"} {
				for _, form := range []string{"known", "unknown", "expect", "trailers"} {
					try := bodyTry{app: app, version: version, method: method, form: form, host: hosts[len(tries)%len(hosts)], number: len(tries)}
					if try.host == "gate" || try.host == "kept" {
						try.token = token
					}
					tries = append(tries, try)
				}
			}
		}
	}
	arrived := 0
	for _, try := range tries {
		if try.send(t, s) == "200" {
			arrived++
		}
	}
	through := 0
	for _, try := range tries {
		user := "-"
		if try.token != "" {
			user = account
		}
		switch logs := try.app.logs.String(); {
		case try.app.got(try.smuggled()):
			through++
			t.Errorf("%s: a second request arrived", try)
		case strings.Contains(logs, try.own()+" ") && !strings.Contains(logs, try.own()+" "+user+"\n"):
			through++
			t.Errorf("%s: it is not whose it is", try)
		}
	}
	if arrived < len(tries)/2 {
		t.Errorf("only %d of %d requests were served: nothing is shown", arrived, len(tries))
	}
	attacktest.Report(t, "a request in a body", len(tries), through)
}

// served is how many requests a server has served.
func (a tunnelApp) served() int { return strings.Count(a.logs.String(), "served ") }

// TestAttackTargets asks in all forms of a target for what is gated.
func TestAttackTargets(t *testing.T) {
	t.Parallel()
	apps := tunnelApps(t)
	s := startTunnelSites(t, apps...)
	tries, through := 0, 0
	for _, app := range apps {
		for _, host := range []string{"gate", "everything", "public", "some", "snippet"} {
			name := host + ".app.test"
			check := func(what string, send func(path string)) {
				t.Helper()
				tries++
				before, path := app.served(), fmt.Sprintf("/app/%d", tries)
				send(path)
				if app.got(path) || app.served() > before && (host == "gate" || host == "everything") {
					through++
					t.Errorf("%s, %s: %s arrived", app.name, host, what)
				}
			}
			for _, line := range []string{
				"GET http://NAME/app HTTP/1.1", "GET HTTP://NAME/app HTTP/1.1", "GET http://NAME:80/app HTTP/1.1", "GET https://NAME/app HTTP/1.1",
				"GET ws://NAME/app HTTP/1.1", "GET http://other.test/app HTTP/1.1", "GET http://user@NAME/app HTTP/1.1", "GET file:///app HTTP/1.1",
				"GET http:///app HTTP/1.1", "GET http:/app HTTP/1.1", "GET http:app HTTP/1.1", "GET http://NAME HTTP/1.1", "GET http://NAME?/app HTTP/1.1",
				"GET NAME/app HTTP/1.1", "GET NAME:80 HTTP/1.1", "GET //NAME/app HTTP/1.1", "GET /public/..//app HTTP/1.1", "GET /app#x HTTP/1.1",
				"GET * HTTP/1.1", "OPTIONS * HTTP/1.1", "OPTIONS http://NAME HTTP/1.1", "TRACE /app HTTP/1.1", "TRACE http://NAME/app HTTP/1.1",
				"PRI * HTTP/1.1", "PRI * HTTP/2.0", "PRI /app HTTP/2.0", "GET /app HTTP/2.0", "GET /app HTTP/1.0", "GET /app HTTP/0.9", "GET /app",
				"CONNECT NAME:80 HTTP/1.1", "CONNECT /app HTTP/1.1", "CONNECT http://NAME/app HTTP/1.1", "connect NAME:80 HTTP/1.1",
			} {
				check(line, func(path string) {
					line := strings.NewReplacer("NAME", name, "/app", path).Replace(line)
					_ = firstStatus(t, s, line+"\r\nHost: "+name+"\r\nX-App: "+foldedName(app.name)+"\r\nX-User-Id: admin\r\nConnection: close\r\n\r\n")
				})
			}
			for _, version := range []string{"h2c", "h3"} {
				for _, target := range []string{"http://NAME/app", "//NAME/app", "*", "NAME/app", "app", "?/app", "", "/app"} {
					for _, method := range []string{"GET", "OPTIONS", "PRI"} {
						check(version+" "+method+" "+target, func(path string) {
							c := s.dial(t, version)
							// It fails if it is refused before its end.
							_ = c.headers(true, false, ":method: "+method, ":scheme: https", ":path: "+strings.NewReplacer("NAME", name, "/app", path).Replace(target),
								":authority: "+name, "x-app: "+foldedName(app.name), "x-user-id: admin")
							_ = statusOf(c)
						})
					}
				}
			}
		}
	}
	attacktest.Report(t, "a target in another form", tries, through)
}

// TestAttackUnreadBody has an app leave bodies unread, and read on behind the
// head. That is the app's fault, and the page says what to write for such a one.
func TestAttackUnreadBody(t *testing.T) {
	t.Parallel()
	app := pythonApp(t, "careless", func(port, folder string) *exec.Cmd {
		return exec.Command("/usr/bin/python3", filepath.Join(folder, "plain.py"), port, "careless")
	})
	page, err := os.ReadFile(filepath.Join("..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, proxy, found := strings.Cut(string(page), "```caddyfile\nreverse_proxy 127.0.0.1:9000 {")
	proxy, _, ended := strings.Cut(proxy, "```")
	if !found || !ended {
		t.Fatal("docs/security.md has no proxy for such an app")
	}
	s := startWith(t, embeddedStore,
		"handle /kept/* {\n session_auth {\n optional\n }\n reverse_proxy "+app.addr+"\n }",
		"handle /closed/* {\n session_auth {\n optional\n }\n reverse_proxy "+app.addr+" {"+proxy+"\n }")
	through := func(path string) (tries, through int) {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
			for range 4 {
				tries++
				smuggled := fmt.Sprintf("/admin%s/%s/%d", path, method, tries)
				a := call(t, method, s.URL(path+"/x"), "GET "+smuggled+" HTTP/1.1\r\nHost: app\r\nX-User-Id: admin\r\n\r\n")
				if a.status != http.StatusOK {
					t.Errorf("%s %s: status %d", method, path, a.status)
				}
				for deadline := time.Now().Add(startTimeout); path == "/kept" && !app.got(smuggled) && time.Now().Before(deadline); {
					<-time.After(pollInterval)
				}
				if app.got(smuggled) {
					through++
				}
			}
		}
		return tries, through
	}
	tries, got := through("/kept")
	t.Logf("without keepalive off: %d of %d got through", got, tries)
	if got == 0 {
		t.Error("the app is not one that leaves bodies unread")
	}
	tries, got = through("/closed")
	attacktest.Report(t, "a request in a body that the app leaves unread, with keepalive off", tries, got)
}
