package caddylogout

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// signInAt signs in until a session is one of the first master's.
func (a *watchedApp) signInAt(t *testing.T, cluster *redistest.Cluster) (session.Credential, *session.Session) {
	t.Helper()
	for {
		c, s := a.waitSignIn(t)
		slot, err := strconv.Atoi(cluster.Nodes[1].CLI(t, "CLUSTER", "KEYSLOT", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}"))
		storetest.NoError(t, err)
		if slot < 16384/3 {
			return c, s
		}
	}
}

// refusesWithin reports whether a credential is refused before the time is over.
func (a *watchedApp) refusesWithin(t *testing.T, c session.Credential, within time.Duration) bool {
	t.Helper()
	deadline := time.Now().Add(within)
	for ; time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if found, err := a.Lookup(t.Context(), c); err == nil && found.Session == nil {
			return true
		}
	}
	return false
}

// TestAttackClusterMovedMaster revokes sessions of a master that has started
// again, with its nodes.conf, at another address.
func TestAttackClusterMovedMaster(t *testing.T) {
	t.Parallel()
	for name, successor := range map[string]func(t *testing.T, addr string){
		"nobody at the old address":        func(*testing.T, string) {},
		"another Redis at the old address": func(t *testing.T, addr string) { t.Helper(); redistest.StartAt(t, addr) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t, "--cluster-node-timeout", "2000", "--cluster-replica-no-failover", "yes", "--appendonly", "yes")
			a := watchOn(t, RedisStore{Cluster: cluster.Addrs()}, 0)
			a.waitArmed(t, true)
			moved := cluster.Nodes[0]
			before, _ := a.signInAt(t, cluster)
			a.warm(t, before)
			epoch := a.open().Cache.Epoch()
			// People stay signed in: an outage is not a logout.
			asked, signedOut := 0, 0
			moving, stop := make(chan struct{}), sync.WaitGroup{}
			stop.Go(func() {
				for {
					select {
					case <-moving:
						return
					case <-time.After(time.Millisecond):
					}
					asked++
					if found, err := a.Lookup(t.Context(), before); err == nil && found.Session == nil {
						signedOut++
					}
				}
			})
			moved.Stop(t)
			successor(t, moved.RestartElsewhere(t))
			for _, node := range cluster.Nodes {
				storetest.WaitFor(t, "the Cluster to be whole", func() bool {
					return strings.Contains(node.CLI(t, "CLUSTER", "INFO"), "cluster_state:ok")
				})
			}
			storetest.WaitFor(t, "the cache to be cleared, and on again", func() bool {
				return a.open().Cache.Epoch() > epoch && a.open().Cache.Stats().Armed
			})
			close(moving)
			stop.Wait()
			t.Logf("attack: sign-outs by a master that has moved, %s: %d tries, %d got through", name, asked, signedOut)
			if signedOut != 0 {
				t.Errorf("a live session was refused %d times", signedOut)
			}
			const tries = 10
			through := 0
			for range tries {
				c, s := a.signInAt(t, cluster)
				a.waitWarm(t, c)
				moved.CLI(t, "SET", defaultRedisKeyPrefix+"revoked:{"+s.Key.String()+"}", "gone", "EX", "600")
				if !a.refusesWithin(t, c, 2*time.Second) {
					through++
				}
			}
			t.Logf("attack: sessions revoked at a master that has moved, %s: %d tries, %d got through", name, tries, through)
			if through != 0 {
				t.Errorf("%d of %d revoked sessions are still served", through, tries)
			}
		})
	}
}
