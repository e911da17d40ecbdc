package caddylogout

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/internal/admin"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// countedPipelines is a hook that counts round trips.
type countedPipelines struct{ n atomic.Int64 }

func (*countedPipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*countedPipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *countedPipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, commands)
	}
}

// TestSessionsOfInFewRoundTrips lists 2,000 sessions of a person, for the person
// and for the admin endpoint: not one round trip after the other for each.
func TestSessionsOfInFewRoundTrips(t *testing.T) {
	t.Parallel()
	const sessions = 2000
	server := redistest.Start(t)
	a := newTestApp(t, func(a *App) { a.MaxSessions = new(int) })
	store := openRedis(t, RedisStore{Address: server.Addr(), Timeout: unhurried}, a.time)
	t.Cleanup(func() { _ = store.Close() })
	a.use(&manager.Opened{Store: store})
	for range sessions {
		_, _, err := a.Issue(t.Context(), manager.NewSession{Identity: "alice", Method: "password"})
		storetest.NoError(t, err)
	}
	count := new(countedPipelines)
	store.AddHook(count)
	for _, test := range []struct {
		name  string
		want  int
		trips int64
		list  func() (int, error)
	}{
		{"the person", sessions, sessions/64 + 1, func() (int, error) {
			found, err := a.SessionsOf(t.Context(), "alice")
			return len(found), err
		}},
		{"the admin endpoint", signout.MaxPageSize, signout.MaxPageSize/64 + 1, func() (int, error) {
			page, err := admin.ReadPage(t.Context(), a.Site, "alice", admin.Cursor{Size: signout.MaxPageSize})
			return len(page.Sessions), err
		}},
	} {
		count.n.Store(0)
		began := time.Now()
		n, err := test.list()
		storetest.NoError(t, err)
		t.Logf("%s: %d sessions in %d round trips, %v", test.name, n, count.n.Load(), time.Since(began))
		if n != test.want {
			t.Errorf("%s: %d sessions, want %d", test.name, n, test.want)
		}
		if got := count.n.Load(); got > test.trips {
			t.Errorf("%s: %d round trips, want at most %d", test.name, got, test.trips)
		}
	}
}
