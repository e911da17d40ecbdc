// This file tests the near cache behind an address that leads to one Redis and then
// to another, as a name or a load balancer does that is switched.

package caddylogout

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
)

// balancer passes connections on to a server, those that are there to the one they
// have been passed on to.
type balancer struct {
	addr   string
	target atomic.Pointer[string]
}

func startBalancer(t *testing.T, target string) *balancer {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	noError(t, err)
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

// TestAttackServerSwitch copies a Redis to another one, switches the address to
// that, and revokes sessions there, which the connections of before hear nothing of.
func TestAttackServerSwitch(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(t *testing.T, a *watchedApp){
		// Many requests at once need new connections; without any, a fresh one is
		// made now and then.
		"in use": func(t *testing.T, a *watchedApp) {
			t.Helper()
			var users sync.WaitGroup
			for range 50 {
				users.Go(func() { _, _ = a.lookup(t.Context(), session.NewCredential(session.NewToken(), session.FromHeader)) })
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
			a := watchOn(t, RedisStore{Address: b.addr, Timeout: patient}, 0)
			a.waitArmed(t, true)
			const tries = 20
			credentials, sessions := make([]session.Credential, tries), make([]*session.Session, tries)
			for i := range credentials {
				credentials[i], sessions[i] = a.signIn(t, "alice", "")
				a.warm(t, credentials[i])
			}
			waitForStore(t, "the copy", func() bool {
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
				if !a.refusesWithin(t, c, max(time.Millisecond, 2*watchServer-time.Since(began))) {
					through++
				}
			}
			t.Logf("all were refused %v after they were revoked", time.Since(began))
			t.Logf("attack: sessions revoked behind an address that was switched to another Redis, %s: %d tries, %d got through", name, tries, through)
			if through != 0 {
				t.Errorf("%d of %d revoked sessions are still served", through, tries)
			}
			a.waitArmed(t, true)
			trackingClient(t, after)
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
	line := aclLines(t, "a-password", "ACL SETUSER caddy-logout reset")[0]
	server.CLI(t, append(line, "-info")...)
	a := watch(t, server, RedisStore{Username: "caddy-logout", Password: "a-password", Timeout: patient}, 0)
	c, s := a.signIn(t, "alice", "")
	a.wantLive(t, c, true)
	waitForStore(t, "the listener", func() bool { return strings.Contains(server.CLI(t, "CLIENT", "LIST"), "flags=tB") })
	if a.open().cache.Stats().Armed {
		t.Error("armed, though no server says which one it is")
	}
	server.CLI(t, "DEL", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}")
	a.wantLive(t, c, false)
	server.CLI(t, "ACL", "SETUSER", "caddy-logout", "+info")
	waitForStore(t, "armed", a.open().cache.armed)
}

func TestServersCompare(t *testing.T) {
	var told []error
	s := &redisServers{open: make(map[*serverConn]struct{}), newest: make(map[string]string), clock: time.Now}
	s.watch(func(err error) { told = append(told, err) })
	add := func(group, run string, known bool) *serverConn {
		near, far := net.Pipe()
		t.Cleanup(func() { _, _ = near.Close(), far.Close() })
		c := &serverConn{Conn: near, servers: s, group: group, known: known, run: run}
		s.open[c] = struct{}{}
		if known {
			s.newest[group] = run
		}
		s.compare()
		return c
	}
	want := func(step string, errs ...error) {
		t.Helper()
		if len(told) != len(errs) {
			t.Fatalf("%s: told %v, want %v", step, told, errs)
		}
		for i := range errs {
			if !errors.Is(told[i], errs[i]) {
				t.Errorf("%s: told %v, want %v", step, told, errs)
			}
		}
		told = nil
	}
	want("at first", nil)
	add("", "one", true)
	add("", "one", true)
	add("other", "two", true)
	add("", "", false)
	want("all alike in each group, and one that is not used yet")
	add("", "three", true)
	want("another server", errSeveralServers)
	s.settle()
	want("the old ones are closed", nil)
	add("", "four", true)
	want("another one at once", errSeveralServers)
	s.settle()
	want("too soon to close again")
	s.swept = time.Time{}
	s.settle()
	want("later", nil)
	silent := add("", "", true)
	want("one that does not tell", errNoRunID)
	s.swept = time.Time{}
	s.settle()
	want("it is the newest: there is no better one")
	noError(t, silent.Close())
	want("it is closed", nil)
}

func TestRunID(t *testing.T) {
	id := strings.Repeat("0a", 20)
	for info, want := range map[string]string{
		"# Server\r\nredis_version:7.0.15\r\nrun_id:" + id + "\r\ntcp_port:1\r\n": id,
		"run_id:0\r\n":                "",
		"run_id:" + id + "0\r\n":      "",
		"a_run_id:" + id + "\r\n":     "",
		"run_id:" + id[:39] + "X\r\n": "",
		"":                            "",
	} {
		if got := runID(info); got != want {
			t.Errorf("%q: %q, want %q", info, got, want)
		}
	}
}
