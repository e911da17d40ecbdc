// This file tests the near cache on a machine whose clocks do not go on alike:
// one that was suspended, and one whose clock was set.

package caddylogout

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/redisstore"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// suspended returns now as it is read after the machine was suspended for d: the
// wall clock went on, and the monotonic one stood still. Package time has no way
// to make such a time, which only a kernel does.
func suspended(now time.Time, d time.Duration) time.Time {
	type layout struct {
		wall uint64
		ext  int64 // the monotonic reading
		loc  *time.Location
	}
	later := now.Add(d)
	(*layout)(unsafe.Pointer(&later)).ext -= int64(d)
	return later
}

// setBack returns now as it is read after the wall clock was set back by d.
func setBack(now time.Time, d time.Duration) time.Time { return suspended(now, -d) }

// skewedClock is a clock with both readings.
type skewedClock struct{ now time.Time }

func (c *skewedClock) read() time.Time { return c.now }

// The test of the test: its clocks are what it says.
func TestSuspendedClock(t *testing.T) {
	now := time.Now()
	later := suspended(now, time.Hour)
	if later.Sub(now) != 0 {
		t.Errorf("%v passed by the monotonic clock, want none", later.Sub(now))
	}
	if wall := later.Round(0).Sub(now.Round(0)); wall != time.Hour {
		t.Errorf("%v passed by the wall clock, want an hour", wall)
	}
}

// TestAttackSuspend revokes sessions elsewhere while this machine is suspended,
// so that nothing reports them here: what is in memory must not be served after.
func TestAttackSuspend(t *testing.T) {
	tests := map[string]struct {
		maxStale time.Duration
		begin    func(c *nearcache.Cache, now time.Time)
		// pass is what becomes of the clocks before the sessions are used.
		pass func(now time.Time) time.Time
		want bool // still served
	}{
		"a moment":           {0, arm, func(now time.Time) time.Time { return now.Add(redisstore.WatchProof / 2) }, true},
		"the proof ends":     {0, arm, func(now time.Time) time.Time { return now.Add(redisstore.WatchProof) }, false},
		"a suspend":          {0, arm, func(now time.Time) time.Time { return suspended(now, redisstore.WatchProof) }, false},
		"a suspend of hours": {0, arm, func(now time.Time) time.Time { return suspended(now, 5*time.Hour) }, false},
		"set back":           {0, arm, func(now time.Time) time.Time { return setBack(now.Add(redisstore.WatchProof), time.Hour) }, false},
		"max_stale":          {5 * time.Second, refuse, func(now time.Time) time.Time { return now.Add(4 * time.Second) }, true},
		"max_stale, ended":   {5 * time.Second, refuse, func(now time.Time) time.Time { return now.Add(5 * time.Second) }, false},
		"max_stale, suspend": {5 * time.Second, refuse, func(now time.Time) time.Time { return suspended(now, 5*time.Second) }, false},
		"max_stale, set back": {5 * time.Second, refuse, func(now time.Time) time.Time {
			return setBack(now.Add(5*time.Second), time.Hour)
		}, false},
	}
	tries, through := 0, 0
	for name, test := range tests {
		clock := &skewedClock{now: time.Now()}
		cache := nearcache.New(100, test.maxStale)
		cache.Clock = clock.read
		test.begin(cache, clock.now)
		served := 0
		keys := make([]session.Key, 20)
		for i := range keys {
			keys[i] = storetest.NewKey()
			_, err := cache.Fill(t.Context(), keys[i], clock.now, func(context.Context) (*nearcache.Entry, error) {
				return &nearcache.Entry{Session: &session.Session{ExpiresAt: clock.now.Add(24 * time.Hour)}}, nil
			})
			storetest.NoError(t, err)
			if cache.Get(keys[i], clock.now) == nil {
				t.Fatalf("%s: nothing is kept", name)
			}
		}
		clock.now = test.pass(clock.now)
		for _, key := range keys {
			if cache.Get(key, clock.now) != nil {
				served++
			}
		}
		if !test.want {
			tries, through = tries+len(keys), through+served
		}
		if want := len(keys); test.want && served != want || !test.want && served != 0 {
			t.Errorf("%s: %d of %d sessions are served from memory, want all to be %v", name, served, len(keys), test.want)
		}
	}
	t.Logf("attack: sessions revoked while the machine is suspended or its clock set back: %d tries, %d got through", tries, through)
}

func arm(c *nearcache.Cache, now time.Time) { c.Armed(now.Add(redisstore.WatchProof)) }

func refuse(c *nearcache.Cache, _ time.Time) { c.Refused() }
