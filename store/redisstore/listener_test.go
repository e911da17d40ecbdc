package redisstore

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// TestListenerWantsNode gives a listener the address of another server than that
// of the node it is meant for.
func TestListenerWantsNode(t *testing.T) {
	t.Parallel()
	meant := redistest.Start(t, "--cluster-enabled", "yes")
	id := meant.CLI(t, "CLUSTER", "MYID")
	for name, test := range map[string]struct {
		server *redistest.Server
		armed  bool
	}{
		"the node":        {meant, true},
		"another node":    {redistest.Start(t, "--cluster-enabled", "yes"), false},
		"no node at all":  {redistest.Start(t), false},
		"is no more here": {redistest.Start(t, "--requirepass", "else"), false},
	} {
		cache := nearcache.New(10, 0)
		w := &watch{logger: func(string) *zap.Logger { return zap.NewNop() }, sink: cache, session: "session:", revoked: "revoked:", topology: forever}
		client := redis.NewClient(&redis.Options{Addr: test.server.Addr()})
		l := &listener{watch: w, options: *client.Options(), node: id}
		w.nodes = map[string]*listener{id: l}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.listen(ctx) }()
		if test.armed {
			storetest.WaitFor(t, name+": armed", cache.IsArmed)
			cancel()
		}
		err := <-ended
		cancel()
		if !test.armed && cache.IsArmed() || errors.Is(err, errOtherNode) != (name == "another node") {
			t.Errorf("%s: armed %v, want %v; %v", name, cache.IsArmed(), test.armed, err)
		}
		storetest.NoError(t, client.Close())
	}
}

// TestWatchFollowsSentinel has Sentinel name another master while the old one
// lives on and answers, cut off from everybody but us.
func TestWatchFollowsSentinel(t *testing.T) {
	t.Parallel()
	before, after := redistest.Start(t), redistest.Start(t)
	var master atomic.Pointer[redistest.Server]
	master.Store(before)
	cache := nearcache.New(10, 0)
	w := &watch{logger: func(string) *zap.Logger { return zap.NewNop() }, sink: cache, session: "session:", revoked: "revoked:", topology: forever}
	l := &listener{watch: w, options: redis.Options{Addr: sentinelAddr}}
	l.options.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", master.Load().Addr())
	}
	w.nodes = map[string]*listener{"": l}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.run(ctx) })
	defer running.Wait()
	defer cancel()
	storetest.WaitFor(t, "armed", func() bool { return cache.Stats().Armed })
	before.TrackingClient(t)
	epoch := cache.Epoch()
	master.Store(after)
	storetest.WaitFor(t, "cleared, and armed again", func() bool { return cache.Epoch() > epoch && cache.Stats().Armed })
	after.TrackingClient(t)
}
