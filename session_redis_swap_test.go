package caddylogout

import (
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// TestAttackSwapDB exchanges the database for an empty one, of which Redis sends no
// change notification: all sessions are gone.
func TestAttackSwapDB(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := watch(t, server, RedisStore{Timeout: unhurried}, 0)
	a.waitArmed(t, true)
	const tries = 20
	credentials := make([]session.Credential, tries)
	for i := range credentials {
		credentials[i], _ = a.signIn(t, "alice", "")
		a.warm(t, credentials[i])
	}
	// The mark is there, and stays when nothing happens.
	storetest.WaitFor(t, "a mark", func() bool { return server.CLI(t, "KEYS", defaultRedisKeyPrefix+"mark:*") != "" })
	server.CLI(t, "SWAPDB", "0", "1")
	began, through := time.Now(), 0
	for _, c := range credentials {
		if !a.refusesWithin(t, c, max(time.Millisecond, secondLook-time.Since(began))) {
			through++
		}
	}
	t.Logf("all were refused %v after the exchange", time.Since(began))
	t.Logf("attack: sessions of a database that was exchanged: %d tries, %d got through", tries, through)
	if through != 0 {
		t.Errorf("%d of %d sessions are still served", through, tries)
	}
}
