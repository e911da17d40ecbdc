package manager

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/boltstore"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// These tests have this idle_timeout, and check as often.
const (
	usesTimeoutOfTest = 10 * time.Minute
	usesEveryOfTest   = 30 * time.Second
)

// refusingStore refuses writes while it is told to, as a file on a full disk does.
type refusingStore struct {
	session.Store
	refuses atomic.Bool
}

func (s *refusingStore) Touch(ctx context.Context, key session.Key, at, until time.Time) error {
	if s.refuses.Load() {
		return fmt.Errorf("%w: no space left on device", session.ErrUnavailable)
	}
	return s.Store.Touch(ctx, key, at, until)
}

// usesNode is one server of several that share a store and a clock.
type usesNode struct {
	*testManager
	uses *Uses
}

func newUsesNode(t *testing.T, clock *storetest.Clock, store session.Store) *usesNode {
	t.Helper()
	n := &usesNode{newTestManager(t, idleAfter(usesTimeoutOfTest)), NewUses(store, clock.Now)}
	n.useClock(clock.Now)
	n.use(&Opened{Store: store, Uses: n.uses})
	n.uses.logger = zap.NewNop
	n.uses.every.Store(int64(usesEveryOfTest))
	n.background(t)
	return n
}

// background does what the goroutine does once.
func (n *usesNode) background(t *testing.T) {
	t.Helper()
	if n.uses.Check(t.Context()) {
		n.uses.writeMissed(t.Context())
	}
}

// finds reports whether the session was found live, and whether the store could be
// asked.
func (n *usesNode) finds(t *testing.T, c session.Credential) (live, asked bool) {
	t.Helper()
	found, err := n.Lookup(t.Context(), c)
	if err != nil && !errors.Is(err, session.ErrUnavailable) {
		t.Fatal(err)
	}
	return found.Session != nil, err == nil
}

// usesPass lets time pass, at the pace of the checks.
func usesPass(t *testing.T, clock *storetest.Clock, d time.Duration, nodes ...*usesNode) {
	t.Helper()
	for ; d > 0; d -= usesEveryOfTest {
		clock.Advance(usesEveryOfTest)
		for _, n := range nodes {
			n.background(t)
		}
	}
}

// TestAttackOutageOfUses has people use two servers in turn while the store refuses
// writes, or is not there, for longer than the idle_timeout: none of them may
// be found idle, then or after. A session that was idle before stays so, also if
// its credential comes again; and a person who left with the outage is idle one timeout
// after it.
func TestAttackOutageOfUses(t *testing.T) {
	t.Parallel()
	type server = *redistest.Server
	cli := func(args ...string) func(*testing.T, server, *refusingStore) {
		return func(t *testing.T, s server, _ *refusingStore) { t.Helper(); s.CLI(t, args...) }
	}
	for _, tc := range []struct {
		name     string
		fail     func(*testing.T, server, *refusingStore)
		lift     func(*testing.T, server, *refusingStore)
		embedded bool
	}{
		{name: "NOREPLICAS", fail: cli("CONFIG", "SET", "min-replicas-to-write", "1"), lift: cli("CONFIG", "SET", "min-replicas-to-write", "0")},
		{name: "OOM", fail: cli("CONFIG", "SET", "maxmemory", "1"), lift: cli("CONFIG", "SET", "maxmemory", "0")},
		{name: "READONLY", fail: cli("REPLICAOF", "127.0.0.1", "1"), lift: cli("REPLICAOF", "NO", "ONE")},
		{
			name: "not there",
			fail: func(t *testing.T, s server, _ *refusingStore) { t.Helper(); s.Stop(t) },
			lift: func(t *testing.T, s server, _ *refusingStore) { t.Helper(); s.Restart(t) },
		},
		{
			name: "embedded, disk full", embedded: true,
			fail: func(_ *testing.T, _ server, store *refusingStore) { store.refuses.Store(true) },
			lift: func(_ *testing.T, _ server, store *refusingStore) { store.refuses.Store(false) },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			clock, store := storetest.NewClock(), new(refusingStore)
			var redis server
			if tc.embedded {
				file, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"), clock.Now, zap.NewNop)
				storetest.NoError(t, err)
				store.Store = file
			} else {
				redis = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
				store.Store = openRedis(redis.Addr(), clock.Now)
			}
			t.Cleanup(func() { _ = store.Close() })
			one, two := newUsesNode(t, clock, store), newUsesNode(t, clock, store)
			both := []*usesNode{one, two}

			const people = 4
			present := make([]session.Credential, people)
			for i := range present {
				present[i], _ = one.signIn(t, fmt.Sprint("present", i), "")
			}
			absent, _ := one.signIn(t, "absent", "")
			left, _ := one.signIn(t, "left", "")
			quick, _ := one.signIn(t, "quick", "")
			uses, turn := 0, 0
			out := make(map[string]int)
			revived, attempts := 0, 0
			// minute lets everybody who is there use the other server than before.
			minute := func(when string, idle ...session.Credential) {
				usesPass(t, clock, time.Minute, both...)
				turn++
				for i, c := range present {
					uses++
					if live, asked := both[(turn+i)%2].finds(t, c); asked && !live {
						out[when]++
					}
				}
				for _, c := range idle {
					attempts++
					if live, _ := both[turn%2].finds(t, c); live {
						revived++
					}
				}
			}
			for range 11 {
				minute("before")
				for _, c := range []session.Credential{left, quick} {
					one.finds(t, c)
				}
			}
			tc.fail(t, redis, store)
			for range 13 {
				minute("during", absent)
			}
			one.finds(t, quick) // and then for nine minutes no more
			// A server that is started in the outage knows what was before it.
			three := newUsesNode(t, clock, store)
			attempts++
			if live, _ := three.finds(t, absent); live {
				revived++
			}
			tc.lift(t, redis, store)
			storetest.WaitFor(t, "the store is there", func() bool { return store.Ping(t.Context()) == nil })

			// The first requests after it, before any check has run, at the server
			// that was not used last, and at one that has just been started.
			turn++
			for i, c := range present {
				for _, n := range []*usesNode{newUsesNode(t, clock, store), both[(turn+i)%2]} {
					uses++
					if live, asked := n.finds(t, c); !asked || !live {
						out["first after"]++
					}
				}
			}
			for range 9 {
				minute("after", absent)
			}
			uses++
			if live, _ := two.finds(t, quick); !live {
				out["nine minutes after"]++
			}
			for range 2 {
				minute("after", absent)
			}
			attempts++
			if live, _ := two.finds(t, left); live {
				revived++
			}
			usesPass(t, clock, usesTimeoutOfTest, both...)
			for i, c := range present {
				attempts++
				if live, _ := both[i%2].finds(t, c); live {
					revived++
				}
			}
			t.Logf("attack: %s: people who are there found idle: %d tries, %d got through", tc.name, uses, total(out))
			t.Logf("attack: %s: credentials of idle sessions: %d tries, %d got through", tc.name, attempts, revived)
			if total(out) > 0 || revived > 0 {
				t.Errorf("found idle: %v; revived: %d", out, revived)
			}
		})
	}
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// A server that is started anew after nobody could be noted for a while (no proxy
// was running, or the outage ended just before) takes nobody who was there for
// idle; one that was gone for a moment only excuses nobody.
func TestUsesAfterARestart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		before, without time.Duration
		live            bool
	}{
		{"used, and the servers were down for longer than the timeout", 5 * time.Minute, time.Hour, true},
		{"idle before", 10 * time.Minute, time.Hour, false},
		{"a quick restart", 9*time.Minute + 30*time.Second, 30 * time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			clock := storetest.NewClock()
			store, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"), clock.Now, zap.NewNop)
			storetest.NoError(t, err)
			t.Cleanup(func() { _ = store.Close() })
			n := newUsesNode(t, clock, store)
			c, _ := n.signIn(t, "alice", "")
			usesPass(t, clock, tc.before, n)
			clock.Advance(tc.without)
			if live, _ := newUsesNode(t, clock, store).finds(t, c); live != tc.live {
				t.Errorf("live %v, want %v", live, tc.live)
			}
		})
	}
}

// A node whose own notes fail tells the others, whose notes do not: in a Cluster
// one master refuses writes, and others do not.
func TestUsesThatAnotherNodeMissed(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	file, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"), clock.Now, zap.NewNop)
	storetest.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	var key session.Key
	partly := &refusingKey{Store: file, key: &key}
	one, two := newUsesNode(t, clock, partly), newUsesNode(t, clock, file)
	c, _ := one.signIn(t, "alice", "")
	key = one.Format.Key(c)
	usesPass(t, clock, 2*time.Minute, one, two)
	partly.refuses.Store(true)
	for range 12 {
		usesPass(t, clock, time.Minute, one, two)
		if live, _ := one.finds(t, c); !live {
			t.Fatal("idle where the notes fail")
		}
	}
	if live, _ := two.finds(t, c); !live {
		t.Error("idle at the other server")
	}
	partly.refuses.Store(false)
	usesPass(t, clock, time.Minute, one, two)
	record, err := file.GetWithUse(t.Context(), key)
	storetest.NoError(t, err)
	if clock.Now().Sub(record.LastUsed) > 2*time.Minute {
		t.Errorf("the missed use was not written: %v, now %v", record.LastUsed, clock.Now())
	}
	if n := one.uses.missing.Load(); n != 0 {
		t.Errorf("%d uses wait after they were written", n)
	}
}

// refusingKey refuses the notes of one session.
type refusingKey struct {
	session.Store
	key     *session.Key
	refuses atomic.Bool
}

func (s *refusingKey) Touch(ctx context.Context, key session.Key, at, until time.Time) error {
	if s.refuses.Load() && key == *s.key {
		return fmt.Errorf("%w: refused", session.ErrUnavailable)
	}
	return s.Store.Touch(ctx, key, at, until)
}

// What is kept of missed uses is bounded, an outage is two lines of the log
// however many uses it has cost, and a client that goes away is not one.
func TestUsesMissedAreBounded(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	file, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"), clock.Now, zap.NewNop)
	storetest.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	store := &refusingStore{Store: file}
	n := newUsesNode(t, clock, store)
	core, logs := observer.New(zap.DebugLevel)
	n.uses.logger = func() *zap.Logger { return zap.New(core) }
	c, _ := n.signIn(t, "alice", "")

	clock.Advance(2 * time.Minute)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	found, err := n.Lookup(gone, c)
	if found.Session != nil && n.uses.missing.Load() != 0 {
		t.Errorf("a client that is gone makes a use be missed: %v", err)
	}

	store.refuses.Store(true)
	for i := range maxMissedUses + 1000 {
		n.uses.miss(session.KeyOf(fmt.Sprint("ory_st_", i)), clock.Now(), clock.Now().Add(time.Hour), session.ErrUnavailable)
	}
	if got := n.uses.missing.Load(); got != maxMissedUses {
		t.Errorf("%d missed uses are kept, want %d", got, maxMissedUses)
	}
	usesPass(t, clock, 20*time.Minute, n)
	if live, _ := n.finds(t, c); !live {
		t.Error("idle though uses were forgotten")
	}
	store.refuses.Store(false)
	usesPass(t, clock, time.Minute, n)
	if n.uses.missing.Load() != 0 || logs.Len() != 2 {
		t.Errorf("%d uses wait, %d lines were logged: %v", n.uses.missing.Load(), logs.Len(), logs.All())
	}
}

// A longer idle_timeout by reload finds the uses that were noted under the shorter.
func TestLongerIdleTimeoutFindsUses(t *testing.T) {
	t.Parallel()
	a := newTestManager(t, idleAfter(10*time.Minute))
	c, _ := a.signIn(t, "alice", "")
	for range 12 {
		a.advance(9 * time.Minute)
		a.wantLive(t, c, true)
	}
	a.IdleTimeout = time.Hour
	a.advance(30 * time.Minute) // the note would have been forgotten long ago
	a.wantLive(t, c, true)
	a.advance(time.Hour)
	a.wantLive(t, c, false)
}

// Where there was no idle_timeout, no use was noted: nobody is idle before one
// timeout has passed.
func TestIdleTimeoutTurnedOn(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"), clock.Now, zap.NewNop)
	storetest.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	before := newTestManager(t, nil)
	before.useClock(clock.Now)
	before.use(&Opened{Store: store})
	here, _ := before.signIn(t, "alice", "")
	gone, _ := before.signIn(t, "alice", "")
	clock.Advance(time.Hour)
	before.wantLive(t, here, true)

	n := newUsesNode(t, clock, store)
	usesPass(t, clock, 9*time.Minute, n)
	n.wantLive(t, here, true)
	usesPass(t, clock, time.Minute, n)
	n.wantLive(t, gone, false)
	n.wantLive(t, here, true)
}

// Uses are checked while a configuration has an idle_timeout, as often as the
// shortest asks for, and a time without any is an interruption.
func TestUsesAreWatchedWhileTheyAreAsked(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"), clock.Now, zap.NewNop)
	storetest.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	storetest.NoError(t, store.Touch(t.Context(), usesCheckedKey, clock.Now().Add(-time.Second), clock.Now().Add(time.Hour)))
	u := NewUses(store, clock.Now)
	defer u.close()
	u.watch(0)()
	long, short := u.watch(time.Hour), u.watch(time.Minute)
	if u.interval() != 3*time.Second {
		t.Errorf("checked every %v, want 3s", u.interval())
	}
	storetest.WaitFor(t, "the first check", func() bool {
		record, err := store.GetWithUse(t.Context(), usesCheckedKey)
		return err == nil && record.LastUsed.Equal(clock.Now())
	})
	short()
	short()
	if u.interval() != maxUsesEvery {
		t.Errorf("checked every %v, want %v", u.interval(), maxUsesEvery)
	}
	long()
	began := clock.Now()
	clock.Advance(time.Hour)
	u.Check(t.Context())
	now := clock.Now()
	if !u.excuses(began.Add(time.Millisecond), now, time.Minute) || u.excuses(began, now, time.Minute) {
		t.Error("the time without a check is not an interruption from its beginning")
	}
	if u.excuses(now, now.Add(time.Minute), time.Minute) {
		t.Error("it excuses for longer than one timeout")
	}
}
