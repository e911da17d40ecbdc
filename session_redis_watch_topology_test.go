package caddylogout

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// waitWarm is warm for a Redis that may still be finding itself.
func (a *watchedApp) waitWarm(t *testing.T, c session.Credential) {
	t.Helper()
	storetest.WaitFor(t, "a hit", func() bool {
		found, err := a.Lookup(t.Context(), c)
		return err == nil && found.Session != nil && a.open().Cache.Get(session.KeyOf(c.Secret()), time.Now()) != nil
	})
}

// waitSignIn is signIn for the same.
func (a *watchedApp) waitSignIn(t *testing.T) (c session.Credential, s *session.Session) {
	t.Helper()
	storetest.WaitFor(t, "a sign-in", func() bool {
		var err error
		c, s, err = a.Issue(t.Context(), manager.NewSession{Identity: "alice"})
		return err == nil
	})
	return c, s
}

func TestWatchSentinel(t *testing.T) {
	t.Parallel()
	watched := redistest.StartSentinels(t, "")
	for _, server := range []*redistest.Server{watched.Master, watched.Replica} {
		for _, line := range redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +role") {
			server.CLI(t, line...)
		}
	}
	a := watchOn(t, RedisStore{Username: "caddy-logout", Password: "a-password", Sentinel: &RedisSentinel{Master: redistest.MasterName, Addresses: watched.Addrs()}}, 0)
	a.waitArmed(t, true)
	c, s := a.signIn(t, "alice", "")
	a.warm(t, c)
	watched.Master.CLI(t, "DEL", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}")
	a.waitForget(t, c)

	// The old master stays, as a replica, and would go on answering PING.
	epoch := a.open().Cache.Epoch()
	watched.Sentinels[0].CLI(t, "SENTINEL", "FAILOVER", redistest.MasterName)
	storetest.WaitFor(t, "the failover", func() bool {
		return watched.Replica.IsMaster(t)
	})
	storetest.WaitFor(t, "the cache to be cleared", func() bool { return a.open().Cache.Epoch() > epoch })
	a.waitArmed(t, true)
	c, s = a.waitSignIn(t)
	a.waitWarm(t, c)
	watched.Replica.CLI(t, "DEL", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}")
	a.waitForget(t, c)
	if flags := watched.Replica.CLI(t, "CLIENT", "LIST"); !strings.Contains(flags, "flags=tB") {
		t.Errorf("the new master is not listened to:\n%s", flags)
	}
}

func TestWatchCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for _, node := range cluster.Nodes {
		for _, line := range redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +cluster") {
			node.CLI(t, line...)
		}
	}
	a := watchOn(t, RedisStore{Username: "caddy-logout", Password: "a-password", Cluster: cluster.Addrs()[:2]}, 0)
	a.waitArmed(t, true)
	byHand := cluster.Nodes[1] // which stays alive, and sends redis-cli on
	name := func(s *session.Session) string { return defaultRedisKeyPrefix + "session:{" + s.Key.String() + "}" }
	forgets := func(t *testing.T) {
		t.Helper()
		for range 12 { // enough for all three masters, but for 1 in 100 runs
			c, s := a.waitSignIn(t)
			a.waitWarm(t, c)
			storetest.WaitFor(t, "DEL", func() bool { return byHand.CLI(t, "-c", "DEL", name(s)) == "1" })
			a.waitForget(t, c)
		}
	}
	forgets(t)

	t.Run("a slot moves", func(t *testing.T) {
		c, s := a.signIn(t, "alice", "")
		a.warm(t, c)
		slot, err := strconv.Atoi(byHand.CLI(t, "CLUSTER", "KEYSLOT", name(s)))
		storetest.NoError(t, err)
		from := slot * 3 / 16384
		epoch := a.open().Cache.Epoch()
		cluster.MoveSlot(t, slot, from, (from+1)%3, func() { a.waitWarm(t, c) })
		storetest.WaitFor(t, "the cache to be cleared", func() bool { return a.open().Cache.Epoch() > epoch })
		a.waitWarm(t, c)
		storetest.WaitFor(t, "DEL", func() bool { return byHand.CLI(t, "-c", "DEL", name(s)) == "1" })
		a.waitForget(t, c)
	})
	t.Run("a master ends", func(t *testing.T) {
		cluster.Nodes[0].Stop(t)
		a.waitArmed(t, false)
		a.waitArmed(t, true)
		forgets(t)
	})
	t.Run("a master becomes a replica", func(t *testing.T) {
		epoch := a.open().Cache.Epoch()
		cluster.Nodes[4].CLI(t, "CLUSTER", "FAILOVER")
		storetest.WaitFor(t, "the cache to be cleared", func() bool { return a.open().Cache.Epoch() > epoch })
		a.waitArmed(t, true)
		forgets(t)
	})
}
