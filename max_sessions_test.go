package caddylogout

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// onEachStore runs a test with apps on one store of each kind, as many as it asks
// for: servers that share it. The embedded store is one app's alone.
func onEachStore(t *testing.T, apps int, configure func(*App), test func(t *testing.T, apps []*testApp)) {
	t.Helper()
	onRedis := func(t *testing.T, config RedisStore) {
		t.Helper()
		config.Timeout = unhurried
		all := make([]*testApp, apps)
		for i := range all {
			all[i] = newTestApp(t, configure)
			store := openRedis(t, config, all[i].time)
			t.Cleanup(func() { _ = store.Close() })
			all[i].reopen(func(o *manager.Opened) { o.Store = store })
		}
		test(t, all)
	}
	t.Run("embedded", func(t *testing.T) { test(t, []*testApp{newTestApp(t, configure)}) })
	t.Run("redis", func(t *testing.T) { onRedis(t, RedisStore{Address: redistest.Start(t).Addr()}) })
	t.Run("cluster", func(t *testing.T) {
		cluster := redistest.StartCluster(t)
		onRedis(t, RedisStore{Cluster: []string{cluster.Nodes[0].Addr()}})
	})
}

func atMost(n int) func(*App) { return func(a *App) { a.MaxSessions = &n } }

// live returns which of the sessions are live, by their place.
func (a *testApp) live(t *testing.T, sessions []*session.Session) []int {
	t.Helper()
	var live []int
	for i, s := range sessions {
		found, err := a.LookupKey(t.Context(), s.Key)
		storetest.NoError(t, err)
		if found.Session != nil {
			live = append(live, i)
		}
	}
	return live
}

func TestMaxSessions(t *testing.T) {
	t.Parallel()
	onEachStore(t, 1, atMost(3), func(t *testing.T, apps []*testApp) {
		a := apps[0]
		st := a.withStreams(t)
		var alice []*session.Session
		issue := func(n manager.NewSession) {
			a.advance(time.Second)
			n.Identity = "alice"
			_, s, err := a.Issue(t.Context(), n)
			storetest.NoError(t, err)
			alice = append(alice, s)
		}
		want := func(want ...int) {
			t.Helper()
			if got := a.live(t, alice); !slices.Equal(got, want) {
				t.Fatalf("of %d sessions those are live: %v, want %v", len(alice), got, want)
			}
		}
		_, bob := a.signIn(t, "bob", "")
		for range 3 {
			issue(manager.NewSession{})
		}
		want(0, 1, 2)

		// An open request ends with its session, and the tombstone stays.
		oldest := alice[0]
		r, _ := st.Open(nil, newRequest(t, "GET", "/"), streams.Admission{Session: oldest, Changes: st.ChangesOf(oldest.Key)})
		issue(manager.NewSession{})
		want(1, 2, 3)
		if r.Context().Err() == nil {
			t.Error("what is open in the oldest session goes on")
		}
		if found, err := a.LookupKey(t.Context(), oldest.Key); err != nil || found.RevokedAt.IsZero() {
			t.Errorf("no tombstone: %v", err)
		}

		// By when they were made, not by when they end.
		issue(manager.NewSession{Lifespan: time.Hour})
		want(2, 3, 4)
		issue(manager.NewSession{Lifespan: 48 * time.Hour})
		want(3, 4, 5)

		// The caller ends one itself: no other has to go.
		issue(manager.NewSession{Ending: []session.Key{alice[4].Key}})
		want(3, 4, 5, 6)
		_, err := a.Revoke(t.Context(), alice[4])
		storetest.NoError(t, err)
		want(3, 5, 6)

		// One that was ended leaves its place.
		_, err = a.Revoke(t.Context(), alice[6])
		storetest.NoError(t, err)
		issue(manager.NewSession{})
		want(3, 5, 7)
		if !slices.Equal(a.live(t, []*session.Session{bob}), []int{0}) {
			t.Error("a session of somebody else was ended")
		}
	})
}

// What has expired does not count, and what was idle for too long goes first,
// though it is newer.
func TestMaxSessionsOfTheDead(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(a *App) {
		atMost(3)(a)
		a.IdleTimeout = caddy.Duration(30 * time.Minute)
	})
	var all []*session.Session
	issue := func(n manager.NewSession) {
		a.advance(time.Second)
		n.Identity = "alice"
		_, s, err := a.Issue(t.Context(), n)
		storetest.NoError(t, err)
		all = append(all, s)
	}
	issue(manager.NewSession{})
	issue(manager.NewSession{Lifespan: time.Minute})
	issue(manager.NewSession{})
	a.advance(2 * time.Minute)
	issue(manager.NewSession{})
	if got := a.live(t, all); !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("live: %v, and one has expired", got)
	}
	// The first and the last go on being used, and that in the middle is not.
	for range 4 {
		a.advance(10 * time.Minute)
		if got := a.live(t, []*session.Session{all[0], all[3]}); len(got) != 2 {
			t.Fatalf("live: %v", got)
		}
	}
	issue(manager.NewSession{})
	if got := a.live(t, all); !slices.Equal(got, []int{0, 3, 4}) {
		t.Errorf("live: %v, and one was idle", got)
	}
}

// Many sign-ins at once, on two servers: the newest of all are left, no more and
// no fewer.
func TestMaxSessionsAtOnce(t *testing.T) {
	t.Parallel()
	const most, people, each = 4, 12, 3
	onEachStore(t, 2, atMost(most), func(t *testing.T, apps []*testApp) {
		core, failed := observer.New(zap.WarnLevel)
		var mu sync.Mutex
		var all []*session.Session
		var wg sync.WaitGroup
		for i := range people {
			a := apps[i%len(apps)]
			a.logTo(zap.New(core))
			a.useClock(time.Now)
		}
		for i := range people {
			a := apps[i%len(apps)]
			wg.Go(func() {
				for range each {
					_, s, err := a.Issue(t.Context(), manager.NewSession{Identity: "alice"})
					if errors.Is(err, session.ErrExists) {
						continue // so many newer ones were made that it has ended already
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					all = append(all, s)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		// On a machine that is too busy one may run out of time; the next sign-in
		// would try again.
		for tried := 0; tried < failed.Len(); {
			tried = failed.Len()
			apps[0].KeepWithin(t.Context(), &session.Session{Identity: "alice"}, nil)
		}
		slices.SortFunc(all, func(x, y *session.Session) int {
			if c := y.IssuedAt.Compare(x.IssuedAt); c != 0 {
				return c
			}
			return strings.Compare(x.ID, y.ID)
		})
		if got := apps[0].live(t, all); !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Errorf("of %d sessions, newest first, those are live: %v", len(all), got)
		}
		store, err := apps[0].OpenStore()
		storetest.NoError(t, err)
		if keys, err := store.Keys(t.Context(), "alice"); err != nil || len(keys) != most {
			t.Errorf("%d are listed (%v), want %d", len(keys), err, most)
		}
	})
}

func TestMaxSessionsOff(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configure func(*App)
		want      int
	}{
		"default": {nil, defaultMaxSessions},
		"off":     {atMost(0), defaultMaxSessions + 5},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, test.configure)
			var all []*session.Session
			for range defaultMaxSessions + 5 {
				a.advance(time.Second)
				_, s := a.signIn(t, "alice", "")
				all = append(all, s)
			}
			if got := a.live(t, all); len(got) != test.want || got[len(got)-1] != len(all)-1 {
				t.Errorf("%d are live, want %d, and the last of them", len(got), test.want)
			}
		})
	}
}

// A store that fails at the end of a sign-in does not fail the sign-in.
func TestMaxSessionsOutage(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, atMost(1))
	store, _ := a.OpenStore()
	a.reopen(func(o *manager.Opened) { o.Store = unlistedStore{store} })
	core, logs := observer.New(zap.WarnLevel)
	a.logTo(zap.New(core))
	_, first := a.signIn(t, "alice", "")
	a.advance(time.Second)
	_, second := a.signIn(t, "alice", "")
	if got := a.live(t, []*session.Session{first, second}); len(got) != 2 {
		t.Errorf("live: %v", got)
	}
	if logs.Len() != 1 || strings.Contains(logs.All()[0].Message, first.Key.String()) {
		t.Errorf("logged: %v", logs.All())
	}
	a.reopen(func(o *manager.Opened) { o.Store = store })
	a.advance(time.Second)
	_, third := a.signIn(t, "alice", "")
	if got := a.live(t, []*session.Session{first, second, third}); !slices.Equal(got, []int{2}) {
		t.Errorf("live after the outage: %v", got)
	}
}

// unlistedStore cannot list.
type unlistedStore struct{ session.Store }

func (unlistedStore) Keys(context.Context, string) ([]session.IndexedKey, error) { return nil, errAway }
