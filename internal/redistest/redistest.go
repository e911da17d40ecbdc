// Package redistest starts real Redis servers for tests.
package redistest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// startWithin is how long a server may take to answer, and to end.
const startWithin = 20 * time.Second

// Server is a redis-server process of its own, on a free port of the loopback
// interface, that keeps nothing on disk unless its arguments say so.
type Server struct {
	addr   string
	args   []string // the whole command line
	login  []string // how redis-cli logs in
	tls    *Authority
	cmd    *exec.Cmd
	output *bytes.Buffer
	ended  chan struct{} // closed when the process has ended
}

// Start starts a server and waits until it answers. Args are added to its
// command line, such as "--requirepass", "secret". It is killed when the test
// ends.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return tryPorts(tb, func(port int) (*Server, error) {
		return start(tb, port, nil, append([]string{"--port", strconv.Itoa(port)}, args...))
	})
}

// tryPorts starts a server on a free port. A port that was free a moment ago may
// be taken by now: then the server ends at once, and another port is tried.
func tryPorts(tb testing.TB, start func(port int) (*Server, error)) *Server {
	tb.Helper()
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			tb.Fatalf("%s is missing; this installs it: apt-get install redis-server", program)
		}
	}
	for range 5 {
		port := FreePort(tb)
		s, err := start(port)
		if err == nil {
			tb.Cleanup(func() { s.Stop(tb) })
			return s
		}
		tb.Logf("redistest: %v", err)
	}
	tb.Fatal("redistest: no server after 5 tries")
	return nil
}

func start(tb testing.TB, port int, authority *Authority, args []string) (*Server, error) {
	tb.Helper()
	s := &Server{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), tls: authority}
	for i, arg := range args {
		if arg == "--requirepass" && i+1 < len(args) {
			s.login = []string{"--no-auth-warning", "-a", args[i+1]}
		}
	}
	s.args = append([]string{
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tb.TempDir(),
	}, args...)
	return s, s.run(tb, false)
}

// run starts the process and waits until it answers. With loading, LOADING
// counts as an answer.
func (s *Server) run(tb testing.TB, loading bool) error {
	tb.Helper()
	s.output, s.ended = new(bytes.Buffer), make(chan struct{})
	// Not CommandContext: the process ends in Stop, which waits for it.
	cmd, ended := exec.Command("redis-server", s.args...), s.ended
	cmd.Stdout, cmd.Stderr = s.output, s.output
	s.cmd = cmd
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed: always an error
	}()
	if err := s.waitForAnswer(tb.Context(), loading); err != nil {
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("%w; it said:\n%s", err, s.output)
	}
	return nil
}

// Restart starts a server that was stopped, on the same port, with what it has
// kept on disk, and waits until it answers.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.run(tb, false); err != nil {
		tb.Fatalf("redistest: restart: %v", err)
	}
}

// RestartElsewhere starts a server that was stopped on another port, with what it
// has kept on disk, and returns the address that it has left.
func (s *Server) RestartElsewhere(tb testing.TB) (left string) {
	tb.Helper()
	left = s.addr
	port := strconv.Itoa(FreePort(tb))
	for i, arg := range s.args {
		if arg == "--port" || arg == "--tls-port" && s.tls != nil {
			s.args[i+1] = port
		}
	}
	s.addr = net.JoinHostPort("127.0.0.1", port)
	s.Restart(tb)
	return left
}

// StartAt is [Start] at the address that another server has left.
func StartAt(tb testing.TB, addr string, args ...string) *Server {
	tb.Helper()
	_, text, _ := net.SplitHostPort(addr)
	port, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatalf("redistest: %s is no address of a server", addr)
	}
	s, err := start(tb, port, nil, append([]string{"--port", text}, args...))
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(func() { s.Stop(tb) })
	return s
}

// RestartLoading is Restart with more arguments, and does not wait for the server
// to have loaded what it has kept.
func (s *Server) RestartLoading(tb testing.TB, args ...string) {
	tb.Helper()
	s.args = append(s.args, args...)
	if err := s.run(tb, true); err != nil {
		tb.Fatalf("redistest: restart: %v", err)
	}
}

func (s *Server) waitForAnswer(ctx context.Context, loading bool) error {
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
			answer := s.answersPing(ctx)
			if strings.HasPrefix(answer, "+PONG") || strings.HasPrefix(answer, "-NOAUTH") ||
				strings.HasPrefix(answer, "-MASTERDOWN") || loading && strings.HasPrefix(answer, "-LOADING") {
				return nil
			}
		}
	}
}

// answersPing asks the server over its own protocol, as a process for each try
// would be slower than the server. That it wants a password is an answer too.
func (s *Server) answersPing(ctx context.Context) string {
	var dialer interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = new(net.Dialer)
	if s.tls != nil {
		dialer = &tls.Dialer{Config: s.tls.config}
	}
	conn, err := dialer.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return ""
	}
	defer conn.Close()
	answer := make([]byte, 64)
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return ""
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return ""
	}
	n, _ := conn.Read(answer)
	return string(answer[:n])
}

// FreePort finds a port of 127.0.0.1 that nobody listens on, and that it has not given
// to another test of this process lately. No other test process is given it, so that it
// stays free until its server listens.
func FreePort(tb testing.TB) int {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.reserved == nil {
		reservePorts(tb)
	}
	for {
		ports.last = ports.last%(portsEach-1) + 1
		if listener, err := listen(tb, ports.first+ports.last); err == nil && listener.Close() == nil {
			return ports.first + ports.last
		}
		if tb.Context().Err() != nil {
			tb.Fatal("redistest: no free port")
		}
	}
}

// The ports that tests use are below those that systems give to outgoing
// connections (from 32768 on, RFC 6335 says 49152): one of these could take a port
// before its server does. A process takes a range of them for itself.
const lowestPort, highestPort, portsEach = 10_000, 32_000, 1000

// ports are those of this process, given out one after the other to parallel tests.
var ports struct {
	sync.Mutex
	reserved    net.Listener // on the first of them, until the process ends
	first, last int
}

// reservePorts takes a range whose first port nobody listens on.
func reservePorts(tb testing.TB) {
	tb.Helper()
	const ranges = (highestPort - lowestPort) / portsEach
	for i, from := 0, rand.IntN(ranges); i < ranges; i++ {
		first := lowestPort + (from+i)%ranges*portsEach
		if listener, err := listen(tb, first); err == nil {
			ports.reserved, ports.first = listener, first
			return
		}
	}
	tb.Fatal("redistest: all ports are taken by other tests")
}

func listen(tb testing.TB, port int) (net.Listener, error) {
	tb.Helper()
	return new(net.ListenConfig).Listen(tb.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// Addr returns the address of the server, as host:port.
func (s *Server) Addr() string { return s.addr }

// Login says how CLI logs in, where it is not by --requirepass.
func (s *Server) Login(username, password string) {
	s.login = []string{"--no-auth-warning", "--user", username, "-a", password}
}

// CLI runs redis-cli against the server and returns what it prints, without the
// last newline. An answer that is an error of Redis ends the test.
func (s *Server) CLI(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := s.tryCLI(tb, args...)
	if err != nil {
		tb.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// IsMaster reports whether the server says that it is a master. A Sentinel that promotes
// it closes the connections of all clients, so one that was closed is no answer.
func (s *Server) IsMaster(tb testing.TB) bool {
	tb.Helper()
	role, err := s.tryCLI(tb, "ROLE")
	return err == nil && strings.HasPrefix(role, "master")
}

func (s *Server) tryCLI(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	all := append([]string{"-e", "-h", host, "-p", port}, s.login...)
	if s.tls != nil {
		all = append(all, "--tls", "--cacert", s.tls.CA, "--cert", s.tls.Certificate, "--key", s.tls.Key)
	}
	cmd := exec.CommandContext(tb.Context(), "redis-cli", append(all, args...)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
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
