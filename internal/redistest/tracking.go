package redistest

import (
	"slices"
	"strings"
	"testing"
)

// TrackingClient returns the id of the connection that listens.
func (s *Server) TrackingClient(t testing.TB) string {
	t.Helper()
	for line := range strings.Lines(s.CLI(t, "CLIENT", "LIST")) {
		fields := strings.Fields(line)
		// Flags: t tracks keys, B does so in broadcast mode.
		if slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, "flags=") && strings.Contains(f, "B") }) {
			return strings.TrimPrefix(fields[0], "id=")
		}
	}
	t.Fatal("no connection listens")
	return ""
}
