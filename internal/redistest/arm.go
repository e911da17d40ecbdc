package redistest

import (
	"testing"

	"github.com/caddy-logout/caddy-logout/session"
)

// Arm has a store report changes to a cache until the test ends, and waits until it does.
func Arm(tb testing.TB, store session.Watcher, cache interface {
	session.WatchSink
	IsArmed() bool
},
) {
	tb.Helper()
	tb.Cleanup(store.Watch(cache))
	waitFor(tb, "the near cache to be armed", func() bool { return cache.IsArmed() })
}
