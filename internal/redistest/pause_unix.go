//go:build unix

package redistest

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// Pause freezes the server: it takes connections and answers nothing.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGSTOP)
}

// Resume lets the server go on.
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGCONT)
}

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		tb.Fatalf("redistest: %v: %v", sig, err)
	}
}

// BlackHole returns an address where a connection is neither taken nor refused,
// until the test ends: that of a socket whose queue is full.
func BlackHole(tb testing.TB) string {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	fatal(tb, err)
	tb.Cleanup(func() { _ = syscall.Close(fd) })
	fatal(tb, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	fatal(tb, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	fatal(tb, err)
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 100 {
		conn, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		tb.Cleanup(func() { _ = conn.Close() })
	}
	tb.Fatal("redistest: the queue of a socket is never full")
	return ""
}
