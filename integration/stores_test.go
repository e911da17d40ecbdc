package integration_test

import (
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// onBothStores runs a test on a store of each kind; storeLine is what selects
// it in a sessions block.
func onBothStores(t *testing.T, test func(t *testing.T, storeLine string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, embeddedStore)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, patientRedis(redistest.Start(t)))
	})
}

// Store keeps sessions in a file beside the Caddyfile.
const embeddedStore = "store embedded {$DIR}/sessions.db"

func redisStore(r *redistest.Server) string { return "store redis " + r.Addr() }

// patient gives a store of Redis time, unless it has a block of options already: for
// tests that count what happens, on a machine that may be so busy that Redis seems to be
// unavailable.
func patient(store, timeout string) string {
	if !strings.HasPrefix(store, "store redis ") || strings.Contains(store, "{") {
		return store
	}
	return store + " {\n\t\t\ttimeout " + timeout + "\n\t\t\tdial_timeout " + timeout + "\n\t\t}"
}
