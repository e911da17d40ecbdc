package redisstore

import (
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// The bound costs a sign-in no round trip.
func TestMaxSessionsRoundTrips(t *testing.T) {
	_, c := startRedis(t)
	store := c.Store.(*Store)
	storetest.NoError(t, store.Create(t.Context(), storetest.NewKey(), c.NewEntry("alice"))) // and what a connection begins with
	trips := new(redistest.Trips)
	store.AddHook(trips)
	var counts []int64
	for _, bound := range []*session.Bound{nil, {Max: 1}, {Max: 4}} {
		e := c.NewEntry("alice")
		e.Bound = bound
		trips.Store(0)
		storetest.NoError(t, store.Create(t.Context(), storetest.NewKey(), e))
		counts = append(counts, trips.Load())
		if bound != nil && bound.Exceeded != (bound.Max == 1) { // four are there
			t.Errorf("bound: %+v", *bound)
		}
	}
	if counts[0] == 0 || counts[0] != counts[1] || counts[0] != counts[2] {
		t.Errorf("round trips without a bound, beyond it and below it: %v", counts)
	}
}
