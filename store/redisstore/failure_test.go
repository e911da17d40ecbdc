package redisstore

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// outage is long enough for a frozen server to be found out: requests that wait
// for one round trip are one failure, and each takes a timeout.
const outage = time.Second

// TestRedisFails is for one server.
func TestRedisFails(t *testing.T) {
	t.Parallel()
	durable := []string{"--appendonly", "yes", "--appendfsync", "always"}
	type server = *redistest.Server
	for _, tc := range []struct {
		name        string
		args        []string
		fail        func(*testing.T, server)
		lift        func(*testing.T, server)
		redisLoses  bool // what it had
		readsGoOn   bool // and no breaker may refuse them
		breakerOpen bool // must have been
	}{
		{
			name: "killed, back with its data", args: durable, breakerOpen: true,
			fail: func(t *testing.T, s server) { t.Helper(); s.Stop(t) },
			lift: func(t *testing.T, s server) { t.Helper(); s.Restart(t) },
		},
		{
			name: "killed, back without", redisLoses: true, breakerOpen: true,
			fail: func(t *testing.T, s server) { t.Helper(); s.Stop(t) },
			lift: func(t *testing.T, s server) { t.Helper(); s.Restart(t) },
		},
		{
			name: "frozen", breakerOpen: true,
			fail: func(t *testing.T, s server) { t.Helper(); s.Pause(t) },
			lift: func(t *testing.T, s server) { t.Helper(); s.Resume(t) },
		},
		{
			name: "READONLY", readsGoOn: true,
			fail: func(t *testing.T, s server) { t.Helper(); s.CLI(t, "REPLICAOF", "127.0.0.1", "1") },
			lift: func(t *testing.T, s server) { t.Helper(); s.CLI(t, "REPLICAOF", "NO", "ONE") },
		},
		{
			name: "OOM", readsGoOn: true,
			fail: func(t *testing.T, s server) { t.Helper(); s.CLI(t, "CONFIG", "SET", "maxmemory", "1") },
			lift: func(t *testing.T, s server) { t.Helper(); s.CLI(t, "CONFIG", "SET", "maxmemory", "0") },
		},
		{
			name: "NOAUTH", breakerOpen: true,
			fail: func(t *testing.T, s server) {
				t.Helper()
				s.CLI(t, "CONFIG", "SET", "requirepass", "another")
				s.Login("default", "another")
				s.CLI(t, "CLIENT", "KILL", "TYPE", "normal")
			},
			lift: func(t *testing.T, s server) { t.Helper(); s.CLI(t, "CONFIG", "SET", "requirepass", "") },
		},
		{
			// The server waits a millisecond for each of many keys that it loads.
			name: "LOADING", breakerOpen: true,
			args: append([]string{
				"--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024",
			}, durable...),
			fail: func(t *testing.T, s server) {
				t.Helper()
				s.CLI(t, "DEBUG", "POPULATE", "3000", "filling", "64")
				s.CLI(t, "BGREWRITEAOF")
				storetest.WaitFor(t, "the file to be written", func() bool {
					return !strings.Contains(s.CLI(t, "INFO", "persistence"), "_in_progress:1") &&
						!strings.Contains(s.CLI(t, "INFO", "persistence"), "aof_rewrite_scheduled:1")
				})
				s.Stop(t)
				s.RestartLoading(t, "--key-load-delay", "1000")
			},
			lift: func(t *testing.T, s server) {
				t.Helper()
				if !strings.Contains(s.CLI(t, "INFO", "persistence"), "loading:1") {
					t.Error("the server was not loading")
				}
				storetest.WaitFor(t, "the server to have loaded", func() bool {
					return strings.Contains(s.CLI(t, "INFO", "persistence"), "\nloading:0")
				})
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, tc.args...)
			settings := config{Address: server.Addr()}
			if tc.readsGoOn {
				settings.Timeout = patient // on a busy machine, some would run into the default
			}
			store := connect(t, settings, time.Now)
			defer store.Close()
			crowd := startCrowd(t, store)
			during(100 * time.Millisecond)
			tc.fail(t, server)
			during(outage)
			tc.lift(t, server)
			back := crowd.waitBack(t)
			during(100 * time.Millisecond)
			got := crowd.stop(t, back)
			if got.lost > 0 != tc.redisLoses {
				t.Errorf("%d live sessions were lost, by Redis itself: %v", got.lost, tc.redisLoses)
			}
			if got.failedWrites == 0 {
				t.Error("nothing failed: this shows nothing")
			}
			if got.failedReads > 0 == tc.readsGoOn {
				t.Errorf("%d reads failed, and they should go on: %v", got.failedReads, tc.readsGoOn)
			}
			if got.refused > 0 != tc.breakerOpen {
				t.Errorf("%d operations were refused, and the breaker should open: %v", got.refused, tc.breakerOpen)
			}
		})
	}
}

// TestRedisFailsSentinel kills and freezes the master: the replica takes over.
func TestRedisFailsSentinel(t *testing.T) {
	t.Parallel()
	type watched = *redistest.Watched
	for name, tc := range map[string]struct{ fail, after func(*testing.T, watched) }{
		"killed": {
			fail:  func(t *testing.T, w watched) { t.Helper(); w.Master.Stop(t) },
			after: func(t *testing.T, w watched) { t.Helper(); w.Master.Restart(t) },
		},
		"frozen, with the Sentinel in use": {fail: func(t *testing.T, w watched) {
			t.Helper()
			w.Master.Pause(t)
			frozen := 0
			for _, sentinel := range w.Sentinels {
				// The only subscriber of a Sentinel is the store.
				if sentinel.CLI(t, "CLIENT", "LIST", "TYPE", "pubsub") != "" {
					sentinel.Pause(t)
					frozen++
				}
			}
			if frozen != 1 {
				t.Errorf("%d Sentinels in use, want 1", frozen)
			}
		}, after: func(t *testing.T, w watched) { t.Helper(); w.Master.Resume(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watched := redistest.StartSentinels(t, "")
			store := connect(t, config{Sentinel: &sentinels{
				Master: redistest.MasterName, Addresses: watched.Addrs(),
			}}, time.Now)
			defer store.Close()
			crowd := startCrowd(t, store)
			during(100 * time.Millisecond)
			tc.fail(t, watched)
			back := crowd.waitBack(t)
			// The old master is back and takes itself for the master still: what it
			// knows is old, or nothing, and nobody is to be told so.
			tc.after(t, watched)
			during(500 * time.Millisecond)
			if got := crowd.stop(t, back); got.lost > 0 {
				t.Errorf("%d live sessions were lost", got.lost)
			}
			if role := watched.Replica.CLI(t, "ROLE"); !strings.HasPrefix(role, "master") {
				t.Errorf("the replica is still %s", role)
			}
		})
	}
}

// TestRedisFailsCluster has a master fail, one step down, and a slot move.
func TestRedisFailsCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	store := connect(t, config{Cluster: cluster.Addrs()}, time.Now)
	defer store.Close()
	run := func(name string, fail func(t *testing.T, c *crowd)) {
		t.Run(name, func(t *testing.T) {
			crowd := startCrowd(t, store)
			during(100 * time.Millisecond)
			crowd.mu.Lock()
			kept := slices.Clone(crowd.revoked[:crowdKeeps])
			crowd.mu.Unlock()
			begin := time.Now()
			fail(t, crowd)
			storetest.WaitFor(t, "every session to be found", func() bool {
				for _, key := range kept {
					if _, err := store.Get(t.Context(), key); err != nil {
						return false
					}
				}
				return store.Ping(t.Context()) == nil
			})
			back := time.Since(begin)
			during(100 * time.Millisecond)
			if got := crowd.stop(t, back); got.lost > 0 {
				t.Errorf("%d live sessions were lost", got.lost)
			}
		})
	}
	run("ASK, then MOVED", func(t *testing.T, _ *crowd) {
		t.Helper()
		calm := connect(t, config{Cluster: cluster.Addrs(), Timeout: patient}, time.Now)
		defer calm.Close()
		c := storetest.Contract{T: t, Clock: storetest.NewClock(), Store: calm}
		// The slot of a session that is live and has been used: some of its keys
		// have moved and some have not while it is read, ended and read again.
		key := c.Make(t, "carol")
		storetest.NoError(t, c.Touch(t.Context(), key, c.Now(), c.Now().Add(time.Hour)))
		slot := redisSlot(t, store, store.sessionKey(key))
		from := slot / (16384/3 + 1)
		cluster.MoveSlot(t, slot, from, (from+1)%3, func() {
			c.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`), LastUsed: c.Now()})
			ended, err := c.Revoke(t.Context(), key, "carol", c.Now(), c.Now().Add(time.Hour))
			storetest.NoError(t, err)
			if !ended {
				t.Error("a session whose slot was moving was not ended")
			}
			c.WantRecord(t, key, session.Record{RevokedAt: c.Now()})
		})
		c.WantRecord(t, key, session.Record{RevokedAt: c.Now()})
	})
	run("a master steps down", func(t *testing.T, _ *crowd) {
		t.Helper()
		cluster.Nodes[3].CLI(t, "CLUSTER", "FAILOVER")
		storetest.WaitFor(t, "the replica to take over", func() bool {
			return cluster.Nodes[3].IsMaster(t)
		})
	})
	run("a master is killed", func(t *testing.T, _ *crowd) {
		t.Helper()
		cluster.Nodes[1].Stop(t)
	})
}

// redisSlot asks a Cluster for the slot of a key.
func redisSlot(t *testing.T, store *Store, key string) int {
	t.Helper()
	slot, err := store.client.(*redis.ClusterClient).ClusterKeySlot(t.Context(), key).Result()
	storetest.NoError(t, err)
	return int(slot)
}
