package integration_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

const examplePassword = "of-the-user-caddy"

// exampleUser is the user caddy of the examples, as redis-server takes it on its
// command line and redis-cli behind ACL SETUSER.
var exampleUser = []string{"caddy", "on", ">" + examplePassword, "~*", "&*", "+@all"}

func newExampleRedis(t *testing.T) *redistest.Server {
	t.Helper()
	return redistest.Start(t, append([]string{"--user"}, exampleUser...)...)
}

// patientTransport does what people do who are told "back in a moment": they try
// again. It is for servers that take over from each other, which on a busy machine
// they may do at any time.
type patientTransport struct{}

func (patientTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	for deadline := time.Now().Add(startTimeout); ; <-time.After(pollInterval) {
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			again.Body = body
		}
		resp, err := http.DefaultTransport.RoundTrip(again)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return resp, err
		}
		_ = resp.Body.Close()
	}
}

func testRedisExample(t *testing.T) {
	redis := newExampleRedis(t)
	example := exampleServer{
		name:      "redis",
		addresses: []string{"127.0.0.1:6379", redis.Addr(), "127.0.0.1:9000", newExampleApp(t)},
		env:       []string{"REDIS_USERNAME=caddy", "REDIS_PASSWORD=" + examplePassword},
	}
	one, two := example.start(t), example.start(t)
	v := exampleVisitor(t, one)
	v.comesAndGoes(v.base + "/page")
	// What one server made, the other knows; what one ended, too.
	page := v.signIn(v.base + "/page")
	other := "http://localhost:" + two.port + "/page"
	if at, page := v.do(http.MethodGet, other, nil); at.String() != other || !strings.Contains(page, `id="user">demo<`) {
		t.Errorf("on the other server: at %s:\n%s", at, page)
	}
	v.do(http.MethodGet, v.find(page, `id="sign-out" href="([^"]+)"`), nil)
	eventually(t, "signed out on the other server", func() bool {
		at, _ := v.do(http.MethodGet, other, nil)
		return at.Path == "/self-service/login"
	})
	if keys := redis.CLI(t, "--raw", "KEYS", "*"); !strings.HasPrefix(keys, "app:") {
		t.Errorf("keys %s", keys)
	}

	example.env = []string{"REDIS_USERNAME=caddy"}
	without := example.prepare(t)
	without.env = slices.DeleteFunc(without.env, func(s string) bool { return strings.HasPrefix(s, "REDIS_PASSWORD=") })
	without.launch()
	select {
	case <-without.exited:
	case <-time.After(startTimeout):
		t.Fatal("it starts without a password")
	}
	if !strings.Contains(without.Logs(), "REDIS_PASSWORD") {
		t.Errorf("it does not say what is missing:\n%s", without.Logs())
	}
}

// certificates lays out what the examples with TLS expect in a folder.
func certificates(t *testing.T, ca string, a *redistest.Authority) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, from := range map[string]string{"ca.pem": ca, "client.pem": a.Certificate, "client.key": a.Key} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), string(text))
	}
	return dir
}

func testTLSExample(t *testing.T) {
	authority := redistest.NewAuthority(t)
	redis := redistest.StartTLS(t, authority, append([]string{"--user"}, exampleUser...)...)
	example := exampleServer{
		name: "redis-tls",
		addresses: []string{
			"redis.internal:6380", redis.Addr(), "redis.example.com", "redis.test", "127.0.0.1:9000", newExampleApp(t),
		},
		env: []string{"REDIS_PASSWORD=" + examplePassword, "REDIS_CERTIFICATES=" + certificates(t, authority.CA, authority)},
	}
	s := example.start(t)
	v := exampleVisitor(t, s)
	v.comesAndGoes(v.base + "/page")

	// A server of another authority, and one of another name, are not asked.
	for what, change := range map[string]func(*exampleServer){
		"another authority": func(e *exampleServer) {
			e.env = []string{e.env[0], "REDIS_CERTIFICATES=" + certificates(t, redistest.NewAuthority(t).CA, authority)}
		},
		"another name": func(e *exampleServer) { e.addresses = slices.Replace(slices.Clone(e.addresses), 2, 4) },
	} {
		wrong := example
		change(&wrong)
		s := wrong.start(t)
		if a := call(t, http.MethodGet, s.AdminURL("/sessions/readiness"), ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
}

// outlives signs people in, ends a master, and checks that nobody is signed out:
// their requests are answered 503 until its replica has taken over.
func outlives(t *testing.T, s *caddyServer, master, replica *redistest.Server) {
	t.Helper()
	tokens := make([]string, 12)
	for i := range tokens {
		eventually(t, "a session", func() bool {
			a := call(t, http.MethodPost, s.AdminURL("/sessions"), `{"identity":"demo"}`)
			if a.status != http.StatusCreated {
				return false
			}
			var got issued
			decode(t, a.body, &got)
			tokens[i] = got.Token
			return true
		})
	}
	if strings.Contains(replica.CLI(t, "INFO", "replication"), "role:master") {
		master, replica = replica, master // so it has taken over already
	}
	// What the replica has not heard of yet would be lost with the master.
	written := offset(t, master, "master_repl_offset")
	eventually(t, "the replica to have it all", func() bool { return offset(t, replica, "slave_repl_offset") >= written })
	master.Stop(t)
	eventually(t, "all sessions back", func() bool {
		// Sessions alone may be served from memory for a while yet.
		back := call(t, http.MethodGet, s.AdminURL("/sessions/readiness"), "").status == http.StatusOK
		for _, token := range tokens {
			switch got := whoami(t, s, "X-Session-Token: "+token); got {
			case http.StatusOK:
			case http.StatusServiceUnavailable:
				back = false
			default:
				t.Fatalf("whoami: %d", got)
			}
		}
		return back
	})
}

// offset returns how far a server is with what is replicated.
func offset(t *testing.T, server *redistest.Server, field string) int {
	t.Helper()
	_, value, _ := strings.Cut(server.CLI(t, "INFO", "replication"), field+":")
	value, _, _ = strings.Cut(value, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testSentinelExample(t *testing.T) {
	watched := redistest.StartSentinels(t, "of-the-servers", "user watcher on >of-the-watcher ~* &* +@all")
	for _, server := range []*redistest.Server{watched.Master, watched.Replica} {
		server.CLI(t, append([]string{"ACL", "SETUSER"}, exampleUser...)...)
	}
	sentinels := watched.Addrs()
	s := exampleServer{
		name: "redis-sentinel",
		addresses: []string{
			"sentinel-1.internal", sentinels[0], "sentinel-2.internal", sentinels[1], "sentinel-3.internal", sentinels[2],
			"127.0.0.1:9000", newExampleApp(t),
		},
		env: []string{"REDIS_PASSWORD=" + examplePassword, "SENTINEL_PASSWORD=of-the-watcher"},
	}.start(t)
	v := exampleVisitor(t, s)
	v.client.Transport = patientTransport{}
	v.comesAndGoes(v.base + "/page")
	outlives(t, s, watched.Master, watched.Replica)
	v.comesAndGoes(v.base + "/page")
}

func testClusterExample(t *testing.T) {
	authority := redistest.NewAuthority(t)
	cluster := redistest.StartClusterTLS(t, authority, append([]string{"--user"}, exampleUser...)...)
	nodes := cluster.Addrs()
	s := exampleServer{
		name: "redis-cluster",
		addresses: []string{
			"redis-1.internal", nodes[0], "redis-2.internal", nodes[1], "redis-3.internal", nodes[2],
			"redis.example.com", "redis.test", "127.0.0.1:9000", newExampleApp(t),
		},
		env: []string{"REDIS_PASSWORD=" + examplePassword, "REDIS_CERTIFICATES=" + certificates(t, authority.CA, authority)},
	}.start(t)
	v := exampleVisitor(t, s)
	v.client.Transport = patientTransport{}
	v.comesAndGoes(v.base + "/page")
	outlives(t, s, cluster.Nodes[0], cluster.Nodes[3])
	v.comesAndGoes(v.base + "/page")
}

// testBearerExample runs the commands in the head of the example, and compares
// the status of each with what stands behind it.
func testBearerExample(t *testing.T) {
	s := exampleServer{name: "bearer-api"}.start(t)
	head, _, _ := strings.Cut(exampleText(t, "bearer-api"), "\n#\n# A person")
	_, commands, found := strings.Cut(head, "\n#\n")
	want := regexp.MustCompile(`# (\d{3})\n?`).FindAllStringSubmatch(commands, -1)
	if !found || len(want) != 4 {
		t.Fatalf("the head has other commands:\n%s", head)
	}
	commands = strings.ReplaceAll(regexp.MustCompile(`(?m)^#   `).ReplaceAllString(commands, ""), "localhost:8080", "localhost:"+s.port)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := `set -eu
		caddy() { ` + self + ` "$@"; }
		curl() { command curl -s -o /dev/null -w '%{http_code}\n' "$@"; }
		` + commands
	cmd := tool(t, "bash curl jq", "bash", "-c", script)
	cmd.Env, cmd.Dir = s.env, s.cwd
	var statuses []string
	for _, status := range want {
		statuses = append(statuses, status[1])
	}
	if got := strings.Fields(run(t, cmd)); !slices.Equal(got, statuses) {
		t.Errorf("the commands print %q, want %q", got, statuses)
	}
	// A person's way to a token.
	var flow loginFlow
	decode(t, call(t, http.MethodGet, "http://localhost:"+s.port+"/self-service/login/api", "").body, &flow)
	var got issued
	decode(t, call(t, http.MethodPost, flow.UI.Action, `{"method":"password","identifier":"demo","password":"demo-password"}`, sendsJSON).body, &got)
	if a := call(t, http.MethodGet, "http://localhost:"+s.port+"/", "", "Authorization: Bearer "+got.Token); a.body != "hello, demo" {
		t.Errorf("with a person's token: %d %s", a.status, a.body)
	}
}

func testLogExample(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	s := exampleServer{
		name: "log-redaction", addresses: []string{"127.0.0.1:9000", newExampleApp(t)}, env: []string{"LOG_FILE=" + file},
	}.start(t)
	v := exampleVisitor(t, s)
	page := v.signIn(v.base + "/page")
	session, logout := v.cookies(v.base), v.find(page, `id="sign-out" href="([^"]+)"`)
	v.do(http.MethodGet, v.base+"/page", nil, "X-Session-Token: of-nobody", "Referer: "+logout)
	v.do(http.MethodGet, logout, nil)
	v.wantOut(v.base+"/page", session)
	v.do(http.MethodGet, v.base+"/the-last-one", nil)
	var log string
	eventually(t, "the last request in the log", func() bool {
		text, _ := os.ReadFile(file)
		log = string(text)
		return strings.Contains(log, "the-last-one")
	})
	if !strings.Contains(log, "token=REDACTED") || strings.Contains(log, "X-Session-Token") || strings.Contains(log, "of-nobody") {
		t.Errorf("not filtered:\n%s", log)
	}
	_, token, _ := strings.Cut(logout, "token=")
	for _, secret := range []string{token, valueOf(t, session, cookieName)} {
		if len(secret) < 16 || strings.Contains(log, secret) {
			t.Errorf("%q is in the log:\n%s", secret, log)
		}
	}
}

// testSeveralAppsExample visits three hosts, over TLS, by the names that are in
// the example.
func testSeveralAppsExample(t *testing.T) {
	https := freePort(t)
	s := exampleServer{name: "several-apps", addresses: []string{
		"\tlocal_certs\n", "\tlocal_certs\n\thttp_port " + freePort(t) + "\n\thttps_port " + https + "\n",
		"127.0.0.1:9001", newExampleApp(t), "127.0.0.1:9002", newExampleApp(t),
	}}.start(t)
	roots := x509.NewCertPool()
	eventually(t, "Caddy's own authority", func() bool {
		root, err := os.ReadFile(filepath.Join(s.dir, "data", "caddy", "pki", "authorities", "local", "root.crt"))
		return err == nil && roots.AppendCertsFromPEM(root)
	})
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+https)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}
	t.Cleanup(transport.CloseIdleConnections)
	v := newVisitor(t, "https://login.example.com")
	v.client.Transport = transport
	// The page to go to in the end is on a host that is not in the example.
	v.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "www.example.com" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	for _, host := range []string{"app", "docs", "login"} {
		eventually(t, "a certificate for "+host, func() bool {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+".example.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				return false
			}
			return resp.Body.Close() == nil
		})
	}
	const app, docs = "https://app.example.com/page", "https://docs.example.com/page"
	v.comesAndGoes(app)
	v.signIn(app)
	old := v.cookies(app)
	at, page := v.do(http.MethodGet, docs, nil)
	if at.String() != docs || v.find(page, `id="user">([^<]*)<`) != "demo" {
		t.Fatalf("signed in for all: at %s:\n%s", at, page)
	}
	v.do(http.MethodGet, v.find(page, `id="sign-out" href="([^"]+)"`), nil)
	v.wantOut(docs, old)
	v.wantOut(app, old)
}

func testWebSocketExample(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`<a id="sign-out" href="` + r.Header.Get("X-Logout-Url") + `">out</a>`))
	})
	mux.Handle("/ws", websocket.Handler(func(ws *websocket.Conn) {
		var heard string
		for websocket.Message.Receive(ws, &heard) == nil && websocket.Message.Send(ws, heard) == nil {
		}
	}))
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)
	s := exampleServer{name: "websocket", addresses: []string{"127.0.0.1:9000", app.Listener.Addr().String()}}.start(t)
	v := exampleVisitor(t, s)
	page := v.signIn(v.base + "/page")
	config, err := websocket.NewConfig("ws://localhost:"+s.port+"/ws", v.base)
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Cookie", v.cookies(v.base))
	ws, err := config.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	stream := []openStream{{"WebSocket", func() error {
		if err := websocket.Message.Send(ws, "hello"); err != nil {
			return err
		}
		var back string
		return websocket.Message.Receive(ws, &back)
	}}}
	wantOpen(t, stream)
	since := time.Now()
	v.do(http.MethodGet, v.find(page, `id="sign-out" href="([^"]+)"`), nil)
	wantClosed(t, stream, since)
	if _, err := config.DialContext(t.Context()); err == nil {
		t.Error("another WebSocket with the old cookie")
	}
	upgrade := []string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-Fetch-Mode: websocket", "Sec-Fetch-Dest: websocket", "Cookie: " + config.Header.Get("Cookie"),
	}
	if a := call(t, http.MethodGet, v.base+"/ws", "", upgrade...); a.status != http.StatusUnauthorized {
		t.Errorf("another WebSocket with the old cookie: %d", a.status)
	}
}
