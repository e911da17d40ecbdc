// Package redistest starts real Redis servers for tests.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startWithin is how long a server may take to answer, and to end.
const startWithin = 20 * time.Second

// Server is a redis-server process of its own, on a free port of the loopback
// interface, that keeps nothing on disk.
type Server struct {
	addr   string
	login  []string
	cmd    *exec.Cmd
	output *bytes.Buffer
	ended  chan struct{} // closed when the process has ended
}

// Start starts a server and waits until it answers. Args are added to its
// command line, such as "--requirepass", "secret". It is killed when the test
// ends.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			tb.Fatalf("%s is missing; this installs it: apt-get install redis-server", program)
		}
	}
	// A port that was free a moment ago may be taken by now: then the server
	// ends at once, and another port is tried.
	for range 5 {
		s, err := start(tb, args)
		if err == nil {
			tb.Cleanup(func() { s.Stop(tb) })
			return s
		}
		tb.Logf("redistest: %v", err)
	}
	tb.Fatal("redistest: no server after 5 tries")
	return nil
}

func start(tb testing.TB, args []string) (*Server, error) {
	tb.Helper()
	port, err := freePort(tb.Context())
	if err != nil {
		return nil, err
	}
	s := &Server{
		addr:   net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		output: new(bytes.Buffer),
		ended:  make(chan struct{}),
	}
	for i, arg := range args {
		if arg == "--requirepass" && i+1 < len(args) {
			s.login = []string{"--no-auth-warning", "-a", args[i+1]}
		}
	}
	args = append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", tb.TempDir(),
	}, args...)
	// Not CommandContext: the process ends in Stop, which waits for it.
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // killed: always an error
	}()
	if err := s.waitForAnswer(tb.Context()); err != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
		return nil, fmt.Errorf("%w; it said:\n%s", err, s.output)
	}
	return s, nil
}

func (s *Server) waitForAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return errors.New("redis-server ended")
		case <-ctx.Done():
			return errors.New("redis-server does not answer")
		case <-tick.C:
			if answersPing(ctx, s.addr) {
				return nil
			}
		}
	}
}

// answersPing asks the server over its own protocol, as a process for each try
// would be slower than the server. That it wants a password is an answer too.
func answersPing(ctx context.Context, addr string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	answer := make([]byte, 64)
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	n, err := conn.Read(answer)
	return err == nil && (strings.HasPrefix(string(answer[:n]), "+PONG") ||
		strings.HasPrefix(string(answer[:n]), "-NOAUTH"))
}

// freePort finds a port that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// Addr returns the address of the server, as host:port.
func (s *Server) Addr() string { return s.addr }

// CLI runs redis-cli against the server and returns what it prints, without the
// last newline. An answer that is an error of Redis ends the test.
func (s *Server) CLI(tb testing.TB, args ...string) string {
	tb.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	all := append([]string{"-e", "-h", host, "-p", port}, s.login...)
	cmd := exec.CommandContext(tb.Context(), "redis-cli", append(all, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Stop kills the server and waits until it is gone. It can be called again.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	_ = s.cmd.Process.Kill() // an error if it has ended, which is what is wanted
	select {
	case <-s.ended:
	case <-time.After(startWithin):
		tb.Errorf("redistest: process %d does not end", s.cmd.Process.Pid)
	}
}
