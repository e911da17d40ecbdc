package caddylogout

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// balancer passes connections on to a server. Open connections stay with their
// server.
type balancer struct {
	addr   string
	target atomic.Pointer[string]
}

func startBalancer(t *testing.T, target string) *balancer {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	storetest.NoError(t, err)
	b := &balancer{addr: listener.Addr().String()}
	b.target.Store(&target)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { b.pass(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		running.Wait()
	})
	return b
}

func (b *balancer) pass(ctx context.Context, from net.Conn) {
	defer from.Close()
	to, err := new(net.Dialer).DialContext(ctx, "tcp", *b.target.Load())
	if err != nil {
		return
	}
	defer to.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = from.Close()
		_ = to.Close()
	})
	defer stop()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
	_, _ = io.Copy(to, from)
	_ = to.Close()
	back.Wait()
}

// TestAttackServerSwitch copies a Redis to another one, switches the address to that,
// and revokes sessions there, of which the former connections get no notification.
func TestAttackServerSwitch(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(t *testing.T, a *watchedApp){
		// Many requests at once need new connections; without any, a fresh one is
		// made now and then.
		"in use": func(t *testing.T, a *watchedApp) {
			t.Helper()
			var users sync.WaitGroup
			for range 50 {
				users.Go(func() { _, _ = a.Lookup(t.Context(), session.NewCredential(session.NewToken(), session.FromHeader)) })
			}
			users.Wait()
		},
		"idle": func(*testing.T, *watchedApp) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := redistest.Start(t, "--repl-diskless-sync-delay", "0")
			host, port, _ := net.SplitHostPort(before.Addr())
			after := redistest.Start(t, "--replicaof", host+" "+port)
			b := startBalancer(t, before.Addr())
			a := watchOn(t, RedisStore{Address: b.addr, Timeout: unhurried}, 0)
			a.waitArmed(t, true)
			const tries = 20
			credentials, sessions := make([]session.Credential, tries), make([]*session.Session, tries)
			for i := range credentials {
				credentials[i], sessions[i] = a.signIn(t, "alice", "")
				a.warm(t, credentials[i])
			}
			storetest.WaitFor(t, "the copy", func() bool {
				return after.CLI(t, "EXISTS", defaultRedisKeyPrefix+"session:{"+sessions[tries-1].Key.String()+"}") == "1"
			})
			after.CLI(t, "REPLICAOF", "NO", "ONE")
			target := after.Addr()
			b.target.Store(&target)
			use(t, a)
			for _, s := range sessions {
				after.CLI(t, "SET", defaultRedisKeyPrefix+"revoked:{"+s.Key.String()+"}", "gone", "EX", "600")
			}
			began, through := time.Now(), 0
			for _, c := range credentials {
				if !a.refusesWithin(t, c, max(time.Millisecond, secondLook-time.Since(began))) {
					through++
				}
			}
			t.Logf("all were refused %v after they were revoked", time.Since(began))
			t.Logf("attack: sessions revoked behind an address that was switched to another Redis, %s: %d tries, %d got through", name, tries, through)
			if through != 0 {
				t.Errorf("%d of %d revoked sessions are still served", through, tries)
			}
			a.waitArmed(t, true)
			after.TrackingClient(t)
			c, s := a.signIn(t, "alice", "")
			a.warm(t, c)
			after.CLI(t, "DEL", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}")
			a.waitForget(t, c)
		})
	}
}

// TestServersWithoutInfo has the user of the documents before INFO was needed: it
// goes on to do all it did, without the near cache, until it is given the right.
func TestServersWithoutInfo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	line := redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset")[0]
	server.CLI(t, append(line, "-info")...)
	a := watch(t, server, RedisStore{Username: "caddy-logout", Password: "a-password", Timeout: unhurried}, 0)
	c, s := a.signIn(t, "alice", "")
	a.wantLive(t, c, true)
	storetest.WaitFor(t, "the listener", func() bool { return strings.Contains(server.CLI(t, "CLIENT", "LIST"), "flags=tB") })
	if a.open().Cache.Stats().Armed {
		t.Error("armed, though no server says which one it is")
	}
	server.CLI(t, "DEL", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}")
	a.wantLive(t, c, false)
	server.CLI(t, "ACL", "SETUSER", "caddy-logout", "+info")
	storetest.WaitFor(t, "armed", a.open().Cache.IsArmed)
}
