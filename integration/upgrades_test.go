package integration_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
)

// guardedHosts are the hosts of tunnelSites that need no session for the path
// below, and those that do.
var guardedHosts = map[bool][]string{
	false: {"optional", "public", "some", "logout", "login", "watch", "snippet"},
	true:  {"gate", "kept", "memo"},
}

// readerConn is a connection some of which has been read ahead.
type readerConn struct {
	net.Conn
	r *bufio.Reader
}

func (c readerConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// rawRequest sends a request as it stands and returns the answer's head, and the
// connection behind it.
func rawRequest(t *testing.T, addr, text string) (*http.Response, net.Conn) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, text) // fails if it is refused before its end
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer, readerConn{conn, r}
}

// cookieLine is the Cookie header of a token, or nothing.
func cookieLine(token string) string {
	if token == "" {
		return ""
	}
	return "Cookie: " + cookieName + "=" + token + "\r\n"
}

// TestAttackUpgradeH2C asks a real app server that takes up HTTP/2 by Upgrade for
// it, and then asks that server itself for what only admins get.
func TestAttackUpgradeH2C(t *testing.T) {
	t.Parallel()
	app := hypercornApp(t)
	s := startTunnelSites(t, app)
	token := signIn(t, s.caddyServer)
	const settings = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
	upgrades := []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
		"Connection: upgrade,http2-settings\r\nUpgrade: H2C\r\n",
		"Connection: HTTP2-Settings\r\nConnection: Upgrade\r\nUpgrade:\t h2c \r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, h2c\r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUPGRADE: h2c\r\nX-Upgrade: websocket\r\n",
	}
	tries, through, number := map[bool]int{}, map[bool]int{}, 0
	for signedIn, hosts := range guardedHosts {
		for _, host := range hosts {
			for _, upgrade := range upgrades {
				number++
				tries[signedIn]++
				credential := ""
				if signedIn {
					credential = cookieLine(token)
				}
				answer, conn := rawRequest(t, "127.0.0.1:"+s.port, fmt.Sprintf(
					"GET /public/%d HTTP/1.1\r\nHost: %s.app.test\r\nX-App: hypercorn\r\n%s%s%s\r\n", number, host, credential, upgrade, settings))
				if answer.StatusCode == http.StatusOK {
					continue // as if there were no Upgrade
				}
				t.Errorf("%s, %q: %s, want 200", host, upgrade, answer.Status)
				if answer.StatusCode != http.StatusSwitchingProtocols {
					continue
				}
				c := newHTTP2(t, conn)
				c.stream = 1 // of the request that asked for HTTP/2
				path := fmt.Sprintf("/admin/%d", number)
				if err := c.headers(true, false, ":method: GET", ":scheme: http", ":path: "+path, ":authority: app", "x-user-id: admin"); err != nil {
					t.Fatal(err)
				}
				if status, err := c.status(); err == nil && status == "200" && app.got(path) {
					through[signedIn]++
				}
			}
		}
	}
	attacktest.Report(t, "Upgrade: h2c: signed-in becomes anybody", tries[true], through[true])
	attacktest.Report(t, "Upgrade: h2c: anonymous becomes anybody", tries[false], through[false])
}

// switchingApp answers everything with a 101 as it is told to by X-Answer, and
// notes what it gets behind the request.
type switchingApp struct {
	addr string
	mu   sync.Mutex
	got  string
}

func newSwitchingApp(t *testing.T) *switchingApp {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &switchingApp{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go a.serve(conn)
		}
	}()
	return a
}

func (a *switchingApp) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	request, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	upgrade := ""
	if value, set := request.Header["X-Answer"]; set {
		upgrade = "Upgrade: " + value[0] + "\r\n"
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"+upgrade+"\r\n"); err != nil {
		return
	}
	for {
		line, err := r.ReadString('\n')
		a.mu.Lock()
		a.got += line
		a.mu.Unlock()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "heard "+line)
	}
}

func (a *switchingApp) heard(line string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Contains(a.got, line)
}

// TestAttackUnaskedSwitch has an app switch protocols in answer to a request that
// asked for none.
func TestAttackUnaskedSwitch(t *testing.T) {
	t.Parallel()
	app := newSwitchingApp(t)
	s := startTunnelSites(t, tunnelApp{name: "switching", addr: app.addr})
	token := signIn(t, s.caddyServer)
	tries, through := 0, 0
	for signedIn, hosts := range guardedHosts {
		credential, cookie := "", "x-other: 1"
		if signedIn {
			credential, cookie = cookieLine(token), "cookie: "+cookieName+"="+token
		}
		for _, host := range hosts {
			for _, lines := range []string{
				"", "X-Answer: \r\n", "X-Answer: h2c\r\n", "X-Answer: websocket\r\n", "Connection: Upgrade\r\n",
				"Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\nX-Answer: h2c\r\n",
				"Connection: Upgrade\r\nUpgrade: tls/1.0\r\nX-Answer: TLS/1.0\r\n", "Connection: Upgrade\r\nUpgrade: x\r\nX-Answer: x\r\n",
				"Connection: Upgrade\r\nUpgrade: websocket\r\nX-Answer: h2c\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n",
			} {
				tries++
				secret := fmt.Sprintf("behind the gate %d\n", tries)
				answer, conn := rawRequest(t, "127.0.0.1:"+s.port, fmt.Sprintf(
					"GET /public/x HTTP/1.1\r\nHost: %s.app.test\r\nX-App: switching\r\n%s%s\r\n", host, credential, lines))
				_, _ = io.WriteString(conn, secret)
				if answer.StatusCode == http.StatusSwitchingProtocols {
					t.Errorf("%s, %q: %s", host, lines, answer.Status)
					_, _ = bufio.NewReader(conn).ReadString('\n') // until the app has said what it heard
				}
				if app.heard(secret) {
					through++
				}
			}
			for _, version := range []string{"h2c", "h3"} {
				tries++
				secret := fmt.Sprintf("behind the gate %d\n", tries)
				c := s.dial(t, version)
				err := c.headers(false, false, ":method: GET", ":scheme: https", ":path: /public/x", ":authority: "+host+".app.test", "x-app: switching", cookie)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.data(true, secret)
				if status := statusOf(c); status == "101" {
					t.Errorf("%s by %s: status %s", host, version, status)
				}
				if app.heard(secret) {
					through++
				}
			}
		}
	}
	attacktest.Report(t, "a 101 that nobody asked for", tries, through)
}

// TestWebSocketsPassEveryHandler opens one through each handler, by each version.
func TestWebSocketsPassEveryHandler(t *testing.T) {
	t.Parallel()
	streaming := newStreamingApp(t)
	s := startTunnelSites(t, tunnelApp{name: "streaming", addr: streaming})
	token := signIn(t, s.caddyServer)
	// One frame with a text, under a mask of zeros, and the same text back without
	// one (RFC 6455, section 5.2).
	const hello, back = "\x81\x85\x00\x00\x00\x00hello", "\x81\x05hello"
	for _, hosts := range guardedHosts {
		for _, host := range hosts {
			if host == "snippet" {
				continue // it takes none over HTTP/2 and HTTP/3
			}
			for _, upgrade := range []string{"websocket", "WebSocket"} {
				answer, conn := rawRequest(t, "127.0.0.1:"+s.port, "GET /app/ws HTTP/1.1\r\nHost: "+host+".app.test\r\nX-App: streaming\r\n"+
					"Origin: http://127.0.0.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"+
					"Connection: keep-alive, Upgrade\r\nUpgrade: "+upgrade+"\r\n"+cookieLine(token)+"\r\n")
				if answer.StatusCode != http.StatusSwitchingProtocols {
					t.Errorf("%s, %s: %s", host, upgrade, answer.Status)
					continue
				}
				got := make([]byte, len(back))
				_, err := io.WriteString(conn, hello)
				if _, readErr := io.ReadFull(conn, got); errors.Join(err, readErr) != nil || string(got) != back {
					t.Errorf("%s, %s: got %q, %v", host, upgrade, got, errors.Join(err, readErr))
				}
				_ = conn.Close()
			}
			for _, version := range []string{"h2c", "h2", "h3"} {
				c := s.dial(t, version)
				err := c.headers(false, false, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /app/ws",
					":authority: "+host+".app.test", "origin: http://127.0.0.1", "sec-websocket-version: 13", "x-app: streaming",
					"cookie: "+cookieName+"="+token)
				if err != nil {
					t.Fatal(err)
				}
				if status := statusOf(c); status != "200" {
					t.Errorf("%s by %s: %s", host, version, status)
					continue
				}
				err = c.data(false, hello)
				got := ""
				for err == nil && len(got) < len(back) {
					var data string
					_, data, _, err = c.next()
					got += data
				}
				if err != nil || got != back {
					t.Errorf("%s by %s: got %q, %v", host, version, got, err)
				}
			}
		}
	}
}
