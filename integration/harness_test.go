package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

const (
	startTimeout = 60 * time.Second // a race-detecting Caddy on a busy machine
	stopTimeout  = 15 * time.Second
	pollInterval = 20 * time.Millisecond
)

// caddyServer is a Caddy process that serves one Caddyfile on a loopback port.
// Its Caddyfile may use {$PORT}, {$DIR} and whatever the environment adds.
type caddyServer struct {
	t      testing.TB
	dir    string // holds the Caddyfile, the other files and Caddy's data
	cwd    string
	port   string
	admin  string
	env    []string
	logs   *logBuffer
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has been waited for
}

// serverOptions say what a Caddy process serves.
type serverOptions struct {
	caddyfile string
	files     map[string]string // written beside the Caddyfile
	env       []string          // NAME=value
	cwd       string            // where Caddy runs; beside the Caddyfile if empty
}

// start runs Caddy and waits until it serves; the test ends it.
func start(t testing.TB, o serverOptions) *caddyServer {
	t.Helper()
	s := prepare(t, o)
	s.run()
	return s
}

// prepare lays out what a Caddy process needs without starting it.
func prepare(t testing.TB, o serverOptions) *caddyServer {
	t.Helper()
	s := &caddyServer{t: t, dir: t.TempDir(), cwd: o.cwd, logs: &logBuffer{}, port: freePort(t), admin: freePort(t)}
	if s.cwd == "" {
		s.cwd = s.dir
	}
	for name, content := range o.files {
		writeFile(t, filepath.Join(s.dir, name), content)
	}
	writeFile(t, s.configFile(), o.caddyfile)
	s.env = append(os.Environ(),
		asCaddy+"=1",
		"CADDY_ADMIN=127.0.0.1:"+s.admin,
		"HOME="+s.dir,
		"XDG_DATA_HOME="+filepath.Join(s.dir, "data"),
		"XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"),
		"PORT="+s.port,
		"DIR="+s.dir,
		"GORACE=halt_on_error=0",
	)
	s.env = append(s.env, o.env...)
	t.Cleanup(s.cleanup)
	return s
}

func (s *caddyServer) configFile() string {
	return filepath.Join(s.dir, "Caddyfile-"+s.port)
}

// command returns a Caddy command line in the environment of the server.
func (s *caddyServer) command(args ...string) *exec.Cmd {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = s.env
	cmd.Dir = s.cwd
	return cmd
}

// run starts the process and waits until it serves.
func (s *caddyServer) run() {
	s.t.Helper()
	s.launch()
	deadline := time.Now().Add(startTimeout)
	for !s.logs.contains("serving initial configuration") {
		select {
		case <-s.exited:
			s.t.Fatal("caddy ended before it served")
		case <-time.After(pollInterval):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("caddy did not serve within %v", startTimeout)
		}
	}
}

// launch starts the process and waits for nothing.
func (s *caddyServer) launch() {
	s.t.Helper()
	s.cmd = s.command("run", "--config", s.configFile(), "--adapter", "caddyfile")
	s.cmd.Stdout, s.cmd.Stderr = s.logs, s.logs
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited, cmd := make(chan struct{}), s.cmd
	s.exited = exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended shows in its log
	}()
}

// URL returns the absolute URL of a path on the server.
func (s *caddyServer) URL(path string) string { return "http://127.0.0.1:" + s.port + path }

// AdminURL returns the absolute URL of a path on the admin endpoint.
func (s *caddyServer) AdminURL(path string) string { return "http://127.0.0.1:" + s.admin + path }

// Logs returns what the process has written so far.
func (s *caddyServer) Logs() string { return s.logs.String() }

// Reload has the running process load another Caddyfile, as caddy reload does:
// through the admin endpoint.
//
// Caddy closes its former admin endpoint after it has answered. Until then the kernel may
// hand a new connection to that one, which breaks it off. So Reload waits for the line in
// the log that says that it is closed, where the log has such lines.
func (s *caddyServer) Reload(caddyfile string) {
	s.t.Helper()
	const started, closed = "admin endpoint started", "stopped previous server"
	logs := s.Logs()
	before := strings.Count(logs, closed)
	a := call(s.t, http.MethodPost, s.AdminURL("/load"), caddyfile,
		"Content-Type: text/caddyfile", "Cache-Control: must-revalidate")
	if a.status != http.StatusOK {
		s.t.Fatalf("load: %d: %s", a.status, a.body)
	}
	if strings.Contains(logs, started) {
		eventually(s.t, "the former admin endpoint is closed", func() bool { return strings.Count(s.Logs(), closed) > before })
	}
}

// tryReload runs the command caddy reload, for configurations that may be wrong.
func (s *caddyServer) tryReload(caddyfile string) error {
	if err := os.WriteFile(s.configFile(), []byte(caddyfile), 0o600); err != nil {
		return err
	}
	cmd := s.command("reload", "--force", "--config", s.configFile(), "--adapter", "caddyfile",
		"--address", "127.0.0.1:"+s.admin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("caddy reload: %w\n%s", err, out)
	}
	return nil
}

// Kill9 ends the process as a power cut would.
func (s *caddyServer) Kill9() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	<-s.exited
}

// Restart starts the process again, on the same ports and the same files.
func (s *caddyServer) Restart() {
	s.t.Helper()
	s.stop()
	s.logs.mark()
	s.run()
}

// stop ends the process, gently at first.
func (s *caddyServer) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	client.CloseIdleConnections()             // one that was never used holds Caddy up for 5 s
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended already
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.t.Errorf("caddy did not stop within %v", stopTimeout)
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

func (s *caddyServer) cleanup() {
	s.stop()
	logs := s.Logs()
	if strings.Contains(logs, "DATA RACE") {
		s.t.Error("caddy reported a data race")
	}
	if strings.Contains(logs, "panic") {
		s.t.Error("caddy reported a panic")
	}
	if s.t.Failed() {
		s.t.Logf("caddy on port %s wrote:\n%s", s.port, tail(logs, 16<<10))
	}
}

// logBuffer collects what a process writes; it can be read meanwhile.
type logBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	from int // where contains starts to look
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// mark makes contains forget what was written so far.
func (b *logBuffer) mark() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from = b.buf.Len()
}

func (b *logBuffer) contains(s string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Contains(b.buf.Bytes()[b.from:], []byte(s))
}

// readsFiles opens what is in a folder, for go test to see that the test depends on it:
// only another process reads these files, and the cache of test results knows nothing of
// that one.
func readsFiles(t testing.TB, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := filepath.Join(folder, entry.Name())
		switch {
		case entry.Name() == "node_modules": // what the lock file beside it says
		case entry.IsDir():
			readsFiles(t, name)
		default:
			if _, err := os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePort returns a loopback port that nothing listens on.
func freePort(t testing.TB) string { return strconv.Itoa(redistest.FreePort(t)) }

// eventually polls until ok, and fails the test after a while.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, startTimeout)
		}
		<-time.After(pollInterval)
	}
}

// answer is a response that has been read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// client follows no redirect, keeps no cookie and adds no header of its own.
var client = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// call sends a request; header is a list of "Name: value" lines.
func call(t testing.TB, method, url, body string, header ...string) answer {
	t.Helper()
	a, err := tryCall(t, method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tryCall is call for goroutines, and for servers that may be unavailable.
func tryCall(t testing.TB, method, url, body string, header ...string) (answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, r)
	if err != nil {
		return answer{}, err
	}
	req.Header["User-Agent"] = nil
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header[http.CanonicalHeaderKey(name)] = append(req.Header[http.CanonicalHeaderKey(name)], value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(b)}, err
}

// dial connects to a port here, for what no client library would send. The caller
// closes the connection.
func dial(t *testing.T, port string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	return conn
}
