package caddylogout

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/formats/native"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// armedCache is a cache that relies on notifications of every change.
func armedCache(entries int) *nearcache.Cache {
	c := nearcache.New(entries, 0)
	c.Armed(time.Now().Add(24 * time.Hour))
	return c
}

// countingStore counts reads, and can stop them between what they read and what
// they return.
type countingStore struct {
	session.Store
	reads atomic.Int64
	pause func() // called with the record in hand
}

func (s *countingStore) Get(ctx context.Context, key session.Key) (session.Record, error) {
	rec, err := s.Store.Get(ctx, key)
	s.reads.Add(1)
	if s.pause != nil {
		s.pause()
	}
	return rec, err
}

func (s *countingStore) GetWithUse(ctx context.Context, key session.Key) (session.Record, error) {
	s.reads.Add(1)
	return s.Store.GetWithUse(ctx, key)
}

// newCachedApp is a test app with an armed cache over a store that counts.
func newCachedApp(t *testing.T, configure func(*App)) (*testApp, *countingStore) {
	t.Helper()
	a := newTestApp(t, configure)
	store, err := a.OpenStore()
	storetest.NoError(t, err)
	counting := &countingStore{Store: store}
	a.use(&manager.Opened{Store: counting, Cache: armedCache(1000)})
	return a, counting
}

func (a *testApp) wantLive(t *testing.T, c session.Credential, want bool) {
	t.Helper()
	found, err := a.Lookup(t.Context(), c)
	storetest.NoError(t, err)
	if live := found.Session != nil; live != want {
		t.Fatalf("live %v, want %v", live, want)
	}
}

func (s *countingStore) wantReads(t *testing.T, want int64) {
	t.Helper()
	if got := s.reads.Load(); got != want {
		t.Fatalf("the store was read %d times, want %d", got, want)
	}
}

func TestNearCacheHits(t *testing.T) {
	a, store := newCachedApp(t, nil)
	c, s := a.signIn(t, "alice", "")
	a.wantLive(t, c, true)
	a.wantLive(t, c, true)
	store.wantReads(t, 1)

	a.open().Cache.Changed(s.Key)
	a.wantLive(t, c, true)
	store.wantReads(t, 2)
	a.open().Cache.ChangedAll()
	a.wantLive(t, c, true)
	store.wantReads(t, 3)

	bringBack := a.takeStoreAway()
	a.wantLive(t, c, true) // armed: the store would have notified
	a.open().Cache.Disarmed()
	if _, err := a.Lookup(t.Context(), c); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("not armed and no store: %v, want ErrUnavailable", err)
	}
	bringBack()
	a.wantLive(t, c, true)
	a.wantLive(t, c, true)
	store.wantReads(t, 5) // not armed: each reads
	a.open().Cache.Armed(time.Now().Add(time.Hour))
	a.wantLive(t, c, true)
	store.wantReads(t, 6) // armed again, and empty
	a.open().Cache.Alive(time.Now().Add(-time.Nanosecond))
	a.wantLive(t, c, true)
	store.wantReads(t, 7) // the proof is too old, though the cache is armed
}

// TestNearCacheRevoke ends sessions on this server, without a change notification:
// the server itself updates its cache.
func TestNearCacheRevoke(t *testing.T) {
	a, store := newCachedApp(t, nil)
	one, sess := a.signIn(t, "alice", "")
	two, _ := a.signIn(t, "alice", "")
	three, _ := a.signIn(t, "bob", "")
	for _, c := range []session.Credential{one, two, three} {
		a.wantLive(t, c, true)
	}
	_, err := a.Revoke(t.Context(), sess)
	storetest.NoError(t, err)
	reads := store.reads.Load()
	a.wantLive(t, one, false)
	if found, _ := a.Lookup(t.Context(), one); found.RevokedAt.IsZero() {
		t.Error("the tombstone is not in the cache")
	}
	store.wantReads(t, reads)
	if count, err := a.RevokeKeys(t.Context(), "alice", func(session.Key) bool { return true }); count != 1 || err != nil {
		t.Fatalf("%d ended, %v", count, err)
	}
	a.wantLive(t, two, false)
	a.wantLive(t, three, true)

	a.takeStoreAway()
	found, err := a.Lookup(t.Context(), three)
	storetest.NoError(t, err)
	if _, err := a.Revoke(t.Context(), found.Session); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("revoked without a store: %v", err)
	}
	if _, err := a.Lookup(t.Context(), three); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("after a revocation that may have been: %v, want to ask the store", err)
	}
}

// TestNearCacheFillRace ends a session between the read of it and what the read
// is kept as, in each way there is.
func TestNearCacheFillRace(t *testing.T) {
	tests := map[string]func(a *testApp, s *session.Session){
		"the key changed": func(a *testApp, s *session.Session) { a.open().Cache.Changed(s.Key) },
		"all changed":     func(a *testApp, _ *session.Session) { a.open().Cache.ChangedAll() },
		"disarmed and armed": func(a *testApp, _ *session.Session) {
			a.open().Cache.Disarmed()
			a.open().Cache.Armed(time.Now().Add(time.Hour))
		},
		"revoked here": func(a *testApp, s *session.Session) { a.open().Cache.Revoked(s.Key, a.time()) },
	}
	for name, report := range tests {
		t.Run(name, func(t *testing.T) {
			a, store := newCachedApp(t, nil)
			c, s := a.signIn(t, "alice", "")
			inner := store.Store
			store.pause = func() {
				store.pause = nil
				// The read has the live session in hand.
				_, err := inner.Revoke(t.Context(), s.Key, "alice", a.time(), s.ExpiresAt)
				storetest.NoError(t, err)
				report(a, s)
				// A request that comes now must not get the result of that read.
				a.wantLive(t, c, false)
			}
			a.wantLive(t, c, true) // it came before
			a.wantLive(t, c, false)
		})
	}
	// The test of the test: without a change notification, the stale session is kept.
	a, store := newCachedApp(t, nil)
	c, s := a.signIn(t, "alice", "")
	inner := store.Store
	store.pause = func() {
		store.pause = nil
		_, err := inner.Revoke(t.Context(), s.Key, "alice", a.time(), s.ExpiresAt)
		storetest.NoError(t, err)
	}
	a.wantLive(t, c, true)
	a.wantLive(t, c, true)
}

func TestNearCacheCoalesces(t *testing.T) {
	const requests = 50
	a, store := newCachedApp(t, nil)
	known, _ := a.signIn(t, "alice", "")
	for name, c := range map[string]session.Credential{"a session": known, "an unknown credential": session.NewCredential("ory_st_unknown", session.FromHeader)} {
		t.Run(name, func(t *testing.T) {
			store.reads.Store(0)
			hold := make(chan struct{})
			store.pause = func() { <-hold }
			joined := a.open().Cache.Stats().Joined
			// The first client disconnects while the others wait.
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = a.Lookup(ctx, c) })
			storetest.WaitFor(t, "the first read", func() bool { return store.reads.Load() == 1 })
			cancel()
			for range requests {
				wg.Go(func() {
					if _, err := a.Lookup(t.Context(), c); err != nil {
						t.Errorf("%v", err)
					}
				})
			}
			storetest.WaitFor(t, "the others", func() bool { return a.open().Cache.Stats().Joined == joined+requests })
			late, cancelLate := context.WithCancel(t.Context())
			cancelLate()
			if _, err := a.Lookup(late, c); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("a request that ends does not wait: %v", err)
			}
			close(hold)
			wg.Wait()
			store.wantReads(t, 1)
			store.pause = nil
			_, err := a.Lookup(t.Context(), c)
			storetest.NoError(t, err)
			store.wantReads(t, 1)
		})
	}
}

func TestNearCacheBounds(t *testing.T) {
	a, _ := newCachedApp(t, nil)
	a.reopen(func(o *manager.Opened) { o.Cache = armedCache(100) })
	c, _ := a.signIn(t, "alice", "")
	for range 100 { // in use
		a.wantLive(t, c, true)
	}
	for range 2000 {
		a.wantLive(t, session.NewCredential(session.NewToken(), session.FromHeader), false)
	}
	if got := a.open().Cache.Stats().Others; got > 10 {
		t.Errorf("%d unknown keys are kept, want about 6", got)
	}
	if a.open().Cache.Get(session.KeyOf(c.Secret()), a.time()) == nil {
		t.Error("unknown credentials took the place of a session")
	}
	for range 2000 {
		other := &nearcache.Entry{Session: &session.Session{ExpiresAt: a.time().Add(time.Hour)}}
		_, err := a.open().Cache.Fill(t.Context(), storetest.NewKey(), a.time(), func(context.Context) (*nearcache.Entry, error) { return other, nil })
		storetest.NoError(t, err)
	}
	if got := a.open().Cache.Stats().Entries; got > 120 {
		t.Errorf("%d entries, want about 100", got)
	}
}

func TestNearCacheTimes(t *testing.T) {
	t.Run("the session's end", func(t *testing.T) {
		a, store := newCachedApp(t, func(a *App) { a.Lifespan = caddy.Duration(10 * time.Second) })
		c, _ := a.signIn(t, "alice", "")
		a.wantLive(t, c, true)
		a.advance(9 * time.Second)
		a.wantLive(t, c, true)
		store.wantReads(t, 1)
		a.advance(time.Second)
		a.wantLive(t, c, false)
	})
	t.Run("a minute", func(t *testing.T) {
		a, store := newCachedApp(t, nil)
		c, _ := a.signIn(t, "alice", "")
		a.wantLive(t, c, true)
		a.advance(nearcache.MaxLife - time.Millisecond)
		a.wantLive(t, c, true)
		store.wantReads(t, 1)
		a.advance(time.Millisecond)
		a.wantLive(t, c, true)
		store.wantReads(t, 2)
	})
	t.Run("max_stale", func(t *testing.T) {
		a, store := newCachedApp(t, nil)
		a.reopen(func(o *manager.Opened) { o.Cache = nearcache.New(10, 5*time.Second) })
		c, _ := a.signIn(t, "alice", "")
		a.wantLive(t, c, true)
		a.wantLive(t, c, true)
		store.wantReads(t, 2) // not before the server has refused
		a.open().Cache.Refused()
		a.wantLive(t, c, true)
		a.advance(5*time.Second - time.Millisecond)
		a.wantLive(t, c, true)
		store.wantReads(t, 3)
		a.advance(time.Millisecond)
		a.wantLive(t, c, true)
		store.wantReads(t, 4)
	})
	t.Run("refused without max_stale", func(t *testing.T) {
		a, store := newCachedApp(t, nil)
		a.open().Cache.Refused()
		c, _ := a.signIn(t, "alice", "")
		a.wantLive(t, c, true)
		a.wantLive(t, c, true)
		store.wantReads(t, 2)
	})
}

func TestNearCacheKeepsNoError(t *testing.T) {
	a, store := newCachedApp(t, nil)
	c := session.NewCredential("ory_st_broken", session.FromHeader)
	key := a.Format.Key(c)
	storetest.NoError(t, store.Create(t.Context(), key, session.Entry{Identity: "alice", Value: []byte(`{"v":2}`), ExpiresAt: a.time().Add(time.Hour)}))
	for range 2 {
		if _, err := a.Lookup(t.Context(), c); !errors.Is(err, session.ErrUnavailable) {
			t.Fatalf("%v, want ErrUnavailable", err)
		}
	}
	store.wantReads(t, 2)
}

// TestNearCacheIdle lets another server use a session that this one has in its
// cache and would take to be idle.
func TestNearCacheIdle(t *testing.T) {
	a, store := newCachedApp(t, func(a *App) { a.IdleTimeout = caddy.Duration(30 * time.Second) })
	c, s := a.signIn(t, "alice", "")
	a.wantLive(t, c, true)
	a.advance(20 * time.Second)
	storetest.NoError(t, store.Touch(t.Context(), s.Key, a.time(), a.time().Add(time.Minute)))
	store.wantReads(t, 1)
	a.advance(15 * time.Second)
	a.wantLive(t, c, true) // 35 s after what the cache knows, 15 s after the touch
	store.wantReads(t, 2)
	rec, err := store.Store.GetWithUse(t.Context(), s.Key)
	storetest.NoError(t, err)
	if !rec.LastUsed.Equal(a.time()) {
		t.Errorf("last used %v, want now, %v", rec.LastUsed, a.time())
	}
	a.advance(2 * time.Second) // less than a tenth
	a.wantLive(t, c, true)
	if rec, _ := store.Store.GetWithUse(t.Context(), s.Key); rec.LastUsed.Equal(a.time()) {
		t.Error("a use was noted twice in a tenth of idle_timeout")
	}
	store.wantReads(t, 2)
	a.advance(30 * time.Second)
	a.wantLive(t, c, false)
}

func TestNearCacheHitAllocatesNothing(t *testing.T) {
	a, store := newCachedApp(t, func(a *App) { a.IdleTimeout = caddy.Duration(time.Hour) })
	live, _ := a.signIn(t, "alice", "")
	for name, c := range map[string]session.Credential{"live": live, "unknown": session.NewCredential(session.NewToken(), session.FromHeader)} {
		_, err := a.Lookup(t.Context(), c)
		storetest.NoError(t, err)
		ctx, reads := t.Context(), store.reads.Load()
		if allocs := testing.AllocsPerRun(1000, func() { _, _ = a.Lookup(ctx, c) }); allocs != 0 {
			t.Errorf("%s: a hit allocates %v times", name, allocs)
		}
		store.wantReads(t, reads)
	}
}

// TestNearCacheAtOnce is for the race detector: requests, change notifications and
// logouts at once; a revoked session stays revoked.
func TestNearCacheAtOnce(t *testing.T) {
	a, _ := newCachedApp(t, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				c, s, err := a.Issue(t.Context(), manager.NewSession{Identity: "alice"})
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				var users sync.WaitGroup
				for range 4 {
					users.Go(func() { _, _ = a.Lookup(t.Context(), c) })
				}
				if _, err := a.Revoke(t.Context(), s); err != nil {
					t.Errorf("%v", err)
				}
				if found, err := a.Lookup(t.Context(), c); err != nil || found.Session != nil {
					t.Errorf("after the logout: %v, %v", found.Session, err)
				}
				users.Wait()
				if found, err := a.Lookup(t.Context(), c); err != nil || found.Session != nil {
					t.Errorf("a moment after the logout: %v, %v", found.Session, err)
				}
			}
		})
	}
	stop := make(chan struct{})
	var reports sync.WaitGroup
	reports.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				a.open().Cache.ChangedAll()
				a.open().Cache.Changed(storetest.NewKey())
			}
		}
	})
	wg.Wait()
	close(stop)
	reports.Wait()
}

func BenchmarkLookup(b *testing.B) {
	a := appForBench()
	a.use(&manager.Opened{Store: awayStore{}, Cache: armedCache(1000)})
	c := session.NewCredential(session.NewToken(), session.FromHeader)
	s := &session.Session{Key: session.KeyOf(c.Secret()), Identity: "alice", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(24 * time.Hour)}
	_, err := a.open().Cache.Fill(b.Context(), s.Key, time.Now().Add(time.Hour), func(context.Context) (*nearcache.Entry, error) { return &nearcache.Entry{Session: s}, nil })
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found, err := a.Lookup(ctx, c); err != nil || found.Session == nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hit, one session at once", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if found, err := a.Lookup(ctx, c); err != nil || found.Session == nil {
					b.Error(err)
				}
			}
		})
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Cookie", web.DefaultCookieName+"="+c.Secret())
	a.Format = native.New(web.DefaultCookieName)
	b.Run("hit, with the cookie", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if res, err := a.Authenticate(r); err != nil || res.Session == nil {
				b.Fatal(err)
			}
		}
	})
}
