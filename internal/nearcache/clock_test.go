package nearcache

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/clocktest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// proof is for how long changes are proven to be reported.
const proof = time.Second

// TestAttackSuspend revokes sessions elsewhere while this machine is suspended,
// so that nothing reports them here: what is in memory must not be served after.
func TestAttackSuspend(t *testing.T) {
	tests := map[string]struct {
		maxStale time.Duration
		begin    func(c *Cache, now time.Time)
		// pass sets the clocks before the sessions are used.
		pass func(now time.Time) time.Time
		want bool // still served
	}{
		"a moment":           {0, arm, func(now time.Time) time.Time { return now.Add(proof / 2) }, true},
		"the proof ends":     {0, arm, func(now time.Time) time.Time { return now.Add(proof) }, false},
		"a suspend":          {0, arm, func(now time.Time) time.Time { return clocktest.Suspended(now, proof) }, false},
		"a suspend of hours": {0, arm, func(now time.Time) time.Time { return clocktest.Suspended(now, 5*time.Hour) }, false},
		"set back":           {0, arm, func(now time.Time) time.Time { return clocktest.SetBack(now.Add(proof), time.Hour) }, false},
		"max_stale":          {5 * time.Second, refuse, func(now time.Time) time.Time { return now.Add(4 * time.Second) }, true},
		"max_stale, ended":   {5 * time.Second, refuse, func(now time.Time) time.Time { return now.Add(5 * time.Second) }, false},
		"max_stale, suspend": {5 * time.Second, refuse, func(now time.Time) time.Time { return clocktest.Suspended(now, 5*time.Second) }, false},
		"max_stale, set back": {5 * time.Second, refuse, func(now time.Time) time.Time {
			return clocktest.SetBack(now.Add(5*time.Second), time.Hour)
		}, false},
	}
	tries, through := 0, 0
	for name, test := range tests {
		clock := &clocktest.Clock{Time: time.Now()}
		cache := New(100, test.maxStale)
		cache.clock = clock.Now
		test.begin(cache, clock.Time)
		served := 0
		keys := make([]session.Key, 20)
		for i := range keys {
			keys[i] = storetest.NewKey()
			_, err := cache.Fill(t.Context(), keys[i], clock.Time, func(context.Context) (*Entry, error) {
				return &Entry{Session: &session.Session{ExpiresAt: clock.Time.Add(24 * time.Hour)}}, nil
			})
			storetest.NoError(t, err)
			if cache.Get(keys[i], clock.Time) == nil {
				t.Fatalf("%s: nothing is kept", name)
			}
		}
		clock.Time = test.pass(clock.Time)
		for _, key := range keys {
			if cache.Get(key, clock.Time) != nil {
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

func arm(c *Cache, now time.Time) { c.Armed(now.Add(proof)) }

func refuse(c *Cache, _ time.Time) { c.Refused() }
