// Go's transport writes the body of a CONNECT without framing behind the head of the
// request, so an app would read it as a request of its own.

package integration_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
)

// tunnelSites serves each handler alone on a host of its own, over HTTP/1.1 and
// HTTP/2 without TLS, and over all versions with it. The header X-App chooses
// the app.
func tunnelSites(t *testing.T, apps ...tunnelApp) string {
	t.Helper()
	var proxies strings.Builder
	for _, app := range apps {
		fmt.Fprintf(&proxies, "\t@%[1]s header X-App %[1]s\n\treverse_proxy @%[1]s %[2]s\n", foldedName(app.name), app.addr)
	}
	var sites strings.Builder
	for _, site := range []struct{ host, handlers string }{
		{"gate", "session_auth"},
		{"optional", "session_auth {\n optional\n }"},
		{"kept", "session_auth {\n streams keep\n }"},
		{"public", "@private not path /public/*\n session_auth @private\n logout"},
		{"everything", "logout\n session_auth /*"},
		{"snippet", "import no_tunnels\n @private not path /public/*\n session_auth @private"},
		{"some", "logout\n session_auth /app/*"},
		{"logout", "logout"},
		{"login", "login {\n accounts {$DIR}/accounts.txt\n }"},
		{"memo", "@in session\n vars @in seen yes\n session_auth"},
		{"watch", "logout {\n logout_on {\n status 418\n }\n }"},
	} {
		fmt.Fprintf(&sites, "\t@%[1]s host %[1]s.app.test\n\thandle @%[1]s {\n\t\troute {\n %[2]s\n import apps\n }\n\t}\n", site.host, site.handlers)
	}
	return `{
	default_bind 127.0.0.1
	local_certs
	skip_install_trust
	auto_https disable_redirects
	servers {
		protocols h1 h2 h2c h3
	}
	sessions {
		` + embeddedStore + `
	}
}
` + noTunnels(t) + `
(apps) {
` + proxies.String() + `}
http://127.0.0.1:{$PORT} {
	login {
		accounts {$DIR}/accounts.txt
	}
}
http://*.app.test:{$PORT}, https://*.app.test:{$TLS_PORT} {
` + sites.String() + `}
`
}

// noTunnels is what docs/security.md says that a site without our handlers needs.
func noTunnels(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, snippet, found := strings.Cut(string(page), "```caddyfile\n(no_tunnels)")
	snippet, _, ended := strings.Cut(snippet, "```")
	if !found || !ended {
		t.Fatal("docs/security.md has no snippet no_tunnels")
	}
	return "(no_tunnels)" + snippet
}

// tunnelServer is a Caddy that serves them.
type tunnelServer struct {
	*caddyServer
	tlsAddr string
	config  *tls.Config
}

func startTunnelSites(t *testing.T, apps ...tunnelApp) tunnelServer {
	t.Helper()
	tlsPort := freePort(t)
	s := start(t, serverOptions{
		caddyfile: tunnelSites(t, apps...),
		files:     map[string]string{"accounts.txt": accountsFile()},
		// Extended CONNECT over HTTP/2 is off by default, and on where people
		// want WebSockets over it.
		env: []string{"TLS_PORT=" + tlsPort, "GODEBUG=http2xconnect=1"},
	})
	pool, root := x509.NewCertPool(), filepath.Join(s.dir, "data", "caddy", "pki", "authorities", "local", "root.crt")
	eventually(t, "the authority of Caddy is there", func() bool {
		pem, err := os.ReadFile(root)
		return err == nil && pool.AppendCertsFromPEM(pem)
	})
	config := &tls.Config{RootCAs: pool, ServerName: "gate.app.test"}
	// The certificate is made when Caddy starts, perhaps after it serves.
	eventually(t, "TLS", func() bool {
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", "127.0.0.1:"+tlsPort)
		return err == nil && conn.Close() == nil
	})
	return tunnelServer{s, "127.0.0.1:" + tlsPort, config}
}

// rawClient sends one request over HTTP/2 or HTTP/3.
type rawClient interface {
	headers(end, trailers bool, lines ...string) error
	data(end bool, data string) error
	next() (header, data string, ended bool, err error)
}

// dial connects by a version of HTTP.
func (s tunnelServer) dial(t *testing.T, version string) rawClient {
	t.Helper()
	switch version {
	case "h2c":
		return dialHTTP2(t, s.caddyServer)
	case "h2":
		config := s.config.Clone()
		config.NextProtos = []string{"h2", "http/1.1"} // what a browser offers
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", s.tlsAddr)
		if err != nil {
			t.Fatal(err)
		}
		return newHTTP2(t, conn)
	}
	return dialHTTP3(t, s.tlsAddr, s.config)
}

// statusOf reads the status of an answer, or what came instead of one.
func statusOf(c rawClient) string {
	for {
		header, _, ended, err := c.next()
		if err != nil {
			return err.Error()
		}
		if status, ok := strings.CutPrefix(header, ":status: "); ok {
			status, _, _ = strings.Cut(status, "\n")
			return status
		}
		if ended {
			return "no status"
		}
	}
}

// tunnelTry is one attack by CONNECT.
type tunnelTry struct {
	version, host, protocol, path string
	app                           tunnelApp
	token                         string // empty for nobody
}

func (try tunnelTry) String() string {
	return fmt.Sprintf("%s to %s by %s, :protocol %q, path %q, signed in: %t", try.app.name, try.host, try.version, try.protocol, try.path, try.token != "")
}

// send sends it with a request of the client's own making in its body, and
// returns the status.
func (try tunnelTry) send(t *testing.T, s tunnelServer, smuggled string) string {
	t.Helper()
	body := "GET " + smuggled + " HTTP/1.1\r\nHost: app\r\nX-User-Id: admin\r\n\r\n"
	authority := try.host + ".app.test"
	if try.version == "h1" {
		conn := dial(t, s.port)
		defer conn.Close()
		credential := ""
		if try.token != "" {
			credential = "Cookie: " + cookieName + "=" + try.token + "\r\n"
		}
		_, _ = fmt.Fprintf(conn, "CONNECT %s:80 HTTP/1.1\r\nHost: %s:80\r\nX-App: %s\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
			authority, authority, foldedName(try.app.name), credential, len(body), body)
		answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if !answer.Close && answer.StatusCode == http.StatusNotImplemented && try.host != "memo" && try.host != "snippet" { // there it is Caddy that answers
			t.Errorf("%s: the connection goes on after the refusal", try)
		}
		return fmt.Sprint(answer.StatusCode)
	}
	c := s.dial(t, try.version)
	lines := []string{":method: CONNECT", ":authority: " + authority}
	if try.protocol != "" {
		lines = append(lines, ":scheme: https", ":path: "+try.path, ":protocol: "+try.protocol)
	}
	lines = append(lines, "x-app: "+foldedName(try.app.name))
	if try.token != "" {
		lines = append(lines, "cookie: "+cookieName+"="+try.token)
	}
	if err := c.headers(false, false, lines...); err != nil {
		t.Fatal(err)
	}
	_ = c.data(false, body) // fails if the request is refused before
	return statusOf(c)
}

// TestAttackConnect forges identities by CONNECT, with and without a session.
func TestAttackConnect(t *testing.T) {
	t.Parallel()
	apps := tunnelApps(t)
	s := startTunnelSites(t, apps...)
	token := signIn(t, s.caddyServer)
	var tries []tunnelTry
	for _, app := range apps {
		for _, version := range []string{"h1", "h2c", "h2", "h3"} {
			for _, host := range []string{"gate", "kept", "memo"} {
				tries = append(tries, tunnelTry{version: version, host: host, app: app, token: token})
			}
			for _, host := range []string{"optional", "public", "some", "logout", "login", "watch", "snippet"} {
				tries = append(tries, tunnelTry{version: version, host: host, app: app})
			}
			if version == "h1" {
				continue
			}
			for _, protocol := range []string{"connect-udp", "connect-ip", "WebSocket", "websockets", "h2c"} {
				tries = append(tries,
					tunnelTry{version: version, host: "gate", protocol: protocol, path: "/", app: app, token: token},
					tunnelTry{version: version, host: "public", protocol: protocol, path: "/public/x", app: app},
					tunnelTry{version: version, host: "snippet", protocol: protocol, path: "/public/x", app: app},
					tunnelTry{version: version, host: "login", protocol: protocol, path: "/", app: app})
			}
		}
	}
	through := map[bool]int{}
	count := map[bool]int{}
	for i, try := range tries {
		smuggled := fmt.Sprintf("/admin/%d", i)
		status := try.send(t, s, smuggled)
		count[try.token != ""]++
		if status == "501" {
			continue
		}
		t.Errorf("%s: %s, want 501", try, status)
		for deadline := time.Now().Add(time.Second); status == "200" && !try.app.got(smuggled) && time.Now().Before(deadline); {
			<-time.After(pollInterval)
		}
		if try.app.got(smuggled) {
			through[try.token != ""]++
		}
	}
	for i, try := range tries {
		if try.app.got(fmt.Sprintf("/admin/%d", i)) {
			t.Logf("became admin: %s", try)
		}
	}
	attacktest.Report(t, "CONNECT: signed-in becomes anybody", count[true], through[true])
	attacktest.Report(t, "CONNECT: anonymous becomes anybody", count[false], through[false])
}
