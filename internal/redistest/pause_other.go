//go:build !unix

package redistest

import "testing"

// Pause fails: this system cannot freeze a process.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	tb.Fatal("redistest: this system cannot freeze a process")
}

// Resume fails, as Pause.
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	tb.Fatal("redistest: this system cannot freeze a process")
}

// BlackHole fails, as Pause.
func BlackHole(tb testing.TB) string {
	tb.Helper()
	tb.Fatal("redistest: this system has no address that takes no connection")
	return ""
}
