package caddylogout

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// twoClocks returns two servers on one Redis; the clock of the second is off.
func twoClocks(t *testing.T, off time.Duration, configure func(*App)) (right, wrong *testApp) {
	t.Helper()
	server := redistest.Start(t)
	apps := [2]*testApp{}
	for i := range apps {
		a := newTestApp(t, configure)
		store := openRedis(t, RedisStore{Address: server.Addr(), Timeout: unhurried}, a.time)
		t.Cleanup(func() { _ = store.Close() })
		a.reopen(func(o *manager.Opened) { o.Store = store })
		apps[i] = a
	}
	apps[1].advance(apps[0].time().Sub(apps[1].time()) + off)
	return apps[0], apps[1]
}

// skews are how far clocks may be apart, both ways.
var skews = []time.Duration{-session.ClockTolerance + time.Second, -time.Minute, 0, time.Minute, session.ClockTolerance - time.Second}

// A sign-in gives a session that is live, whatever the clock of its server, and there
// are never more sessions than max_sessions, nor fewer.
func TestMaxSessionsOfTwoClocks(t *testing.T) {
	t.Parallel()
	for _, off := range skews {
		for _, most := range []int{1, 3} {
			t.Run(fmt.Sprintf("%v off, at most %d", off, most), func(t *testing.T) {
				t.Parallel()
				right, wrong := twoClocks(t, off, atMost(most))
				var all []*session.Session
				for i := range 12 {
					a := right
					if i%4 > 1 {
						a = wrong
					}
					right.advance(time.Second)
					wrong.advance(time.Second)
					_, s := a.signIn(t, "alice", "")
					all = append(all, s)
					live := right.live(t, all)
					if len(live) != min(i+1, most) || !slices.Contains(live, i) {
						t.Errorf("after sign-in %d those are live: %v", i, live)
					}
				}
			})
		}
	}
}

// Sign-ins at once on two servers leave as many as there may be.
func TestMaxSessionsAtOnceOfTwoClocks(t *testing.T) {
	t.Parallel()
	const most = 2
	right, wrong := twoClocks(t, -3*time.Minute, atMost(most))
	for round := range 10 {
		identity := fmt.Sprintf("alice %d", round)
		for range most {
			right.signIn(t, identity, "")
		}
		var wg sync.WaitGroup
		for _, a := range []*testApp{wrong, wrong, right, wrong} {
			wg.Go(func() {
				if _, _, err := a.Issue(t.Context(), manager.NewSession{Identity: identity}); err != nil && !errors.Is(err, session.ErrExists) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		sessions, err := right.SessionsOf(t.Context(), identity)
		if err != nil || len(sessions) != most {
			t.Errorf("round %d: %d live sessions (%v), want %d", round, len(sessions), err, most)
		}
	}
}

// "Log out everywhere" finds sessions that have expired by a fast clock, and that
// a server with a fast clock has seen in the index.
func TestAttackFastClock(t *testing.T) {
	t.Parallel()
	tries, through := 0, 0
	for _, off := range skews {
		for _, who := range []string{"the right one", "the wrong one"} {
			right, wrong := twoClocks(t, off, nil)
			short, _, err := right.Issue(t.Context(), manager.NewSession{Identity: "alice", Lifespan: 4 * time.Minute})
			storetest.NoError(t, err)
			// Its sign-in clears the index of what has expired by its clock.
			wrong.signIn(t, "alice", "")
			ends := right
			if who == "the wrong one" {
				ends = wrong
			}
			_, err = ends.RevokeKeys(t.Context(), "alice", func(session.Key) bool { return true })
			storetest.NoError(t, err)
			tries++
			if right.alive(t, short) {
				through++
				t.Errorf("%v off, ended by %s: the session lives", off, who)
			}
		}
	}
	t.Logf("attack: logged out everywhere by a fast clock: %d tries, %d got through", tries, through)
}

// A session that is written back after its logout stays revoked by a clock that is
// behind, too: the tombstone outlives it there.
func TestTombstoneOutlivesSlowClocks(t *testing.T) {
	t.Parallel()
	server, right := redistest.Start(t), newTestApp(t, nil)
	right.onRedis(t, server)
	for name, end := range map[string]func(s *session.Session) error{
		"one": func(s *session.Session) error { _, err := right.Revoke(t.Context(), s); return err },
		"all": func(s *session.Session) error {
			_, err := right.RevokeKeys(t.Context(), s.Identity, func(session.Key) bool { return true })
			return err
		},
	} {
		_, s := right.signIn(t, name, "")
		storetest.NoError(t, end(s))
		left, err := strconv.ParseInt(server.CLI(t, "PEXPIRETIME", redisKey("revoked", s.Key)), 10, 64)
		storetest.NoError(t, err)
		if until := time.UnixMilli(left); until.Before(s.ExpiresAt.Add(session.ClockTolerance)) {
			t.Errorf("%s: the tombstone lasts until %v after the session", name, until.Sub(s.ExpiresAt))
		}
	}
}
