package redisstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
)

const (
	// breakerFailures is how many commands in a row must fail before a
	// server counts as unavailable: more than one broken connection.
	breakerFailures = 3
	// probeEvery is the pause between two probes, up to half as long again,
	// so that many proxies do not send them in step.
	probeEvery = 100 * time.Millisecond
)

// breakers holds the breakers of a store and the probes that they send.
type breakers struct {
	timeout time.Duration
	logger  func() *zap.Logger
	tell    func(open bool)

	ctx         context.Context //nolint:containedctx // the life of the probes
	cancel      context.CancelFunc
	mu          sync.Mutex // guards closed and probes.Add
	closed      bool
	probes      sync.WaitGroup
	unavailable unavailableServers
}

func newBreakers(o Options) *breakers {
	b := &breakers{timeout: o.Timeout, logger: func() *zap.Logger { return o.Logger("redis") }, tell: o.Breaker}
	if b.tell == nil {
		b.tell = func(bool) {}
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// close ends all probes and waits for them.
func (b *breakers) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.probes.Wait()
}

// guard returns the breaker of one server: a hook of the client. The hook is
// around the library's own attempts, and sees the final result of a command.
// Reload, if there is one, is called with each probe.
func (b *breakers) guard(client *redis.Client, server string, reload func(context.Context)) *breaker {
	return &breaker{all: b, client: client, server: server, reload: reload}
}

// breaker refuses commands to one server while it is unavailable. It opens when
// some commands in a row could not reach the server, and closes when the server
// answers a PING in the background: no request is spent on finding out.
type breaker struct {
	all    *breakers
	client *redis.Client
	server string
	reload func(context.Context)

	failures atomic.Int32 // in a row
	open     atomic.Bool
}

// probing marks the context of a probe, which passes an open breaker.
type probing struct{}

func (b *breaker) refuses(ctx context.Context) bool {
	return b.open.Load() && ctx.Value(probing{}) == nil
}

// note records the result of a command.
func (b *breaker) note(err error) {
	switch {
	case isAway(err):
		if b.failures.Add(1) >= breakerFailures && b.open.CompareAndSwap(false, true) {
			b.trip(err)
		}
	case errors.Is(err, context.Canceled):
		// The caller gave up, which says nothing about the server.
	case b.failures.Load() != 0:
		b.failures.Store(0)
	}
}

// isAway reports whether an error says that the server can answer nothing now.
// A server that refuses to write (OOM, READONLY, MISCONF, NOREPLICAS) or that
// redirects us (MOVED, CLUSTERDOWN) is available: it answers at once, and reads
// go on.
func isAway(err error) bool {
	var reply redis.Error
	switch {
	case err == nil, isNil(err), errors.Is(err, context.Canceled), errors.Is(err, redis.ErrClosed):
		return false
	case errors.Is(err, redis.Nil):
		// Not an answer to our command: Sentinel knows no master of that name.
		return true
	case redis.IsLoadingError(err), redis.IsMasterDownError(err), redis.IsAuthError(err), redis.IsMaxClientsError(err):
		return true
	case errors.As(err, &reply):
		return false
	}
	return true
}

// trip starts the probes.
func (b *breaker) trip(cause error) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if b.all.closed {
		return
	}
	// The cause is one that shows no key and no password.
	b.all.logger().Warn("redis is unavailable", zap.String("server", b.server), zap.Error(causeOf(cause)))
	b.all.tell(true)
	b.all.probes.Go(b.probe)
}

// probe sends PINGs until the server answers, or is no longer one of ours.
func (b *breaker) probe() {
	defer b.all.tell(false)
	since := time.Now()
	ctx := context.WithValue(b.all.ctx, probing{}, true)
	defer b.all.unavailable.note(b.server, since)()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeEvery + rand.N(probeEvery/2)): //nolint:gosec // no secret
		}
		if b.reload != nil {
			b.reload(ctx)
		}
		err := b.ping(ctx)
		if errors.Is(err, redis.ErrClosed) || ctx.Err() != nil {
			return
		}
		if !isAway(err) {
			b.failures.Store(0)
			b.open.Store(false)
			b.all.logger().Info("redis is available again", zap.String("server", b.server), zap.Duration("unavailable_for", time.Since(since)))
			return
		}
	}
}

func (b *breaker) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.all.timeout)
	defer cancel()
	return b.client.Ping(ctx).Err()
}

// DialHook implements [redis.Hook].
func (b *breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if isHandshake(cmd) {
			return next(ctx, cmd)
		}
		if b.refuses(ctx) {
			cmd.SetErr(session.ErrNotQueried)
			return session.ErrNotQueried
		}
		err := next(ctx, cmd)
		b.note(err)
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (b *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if isHandshake(cmds[0]) {
			return next(ctx, cmds)
		}
		if b.refuses(ctx) {
			for _, cmd := range cmds {
				cmd.SetErr(session.ErrNotQueried)
			}
			return session.ErrNotQueried
		}
		err := next(ctx, cmds)
		worst := err
		for _, cmd := range cmds {
			// The error of the whole is that of the first command that has one.
			if isAway(cmd.Err()) {
				worst = cmd.Err()
				break
			}
		}
		b.note(worst)
		return err
	}
}

// isHandshake reports whether the library sends cmd by itself on a new
// connection, on behalf of a command that is recorded already.
func isHandshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "client", "role", "readonly":
		return true
	}
	return false
}

// deadlineHook bounds each round trip, its attempts and the wait for a
// connection together.
type deadlineHook time.Duration

// DialHook implements [redis.Hook].
func (deadlineHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (h deadlineHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(h))
		defer cancel()
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (h deadlineHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(h))
		defer cancel()
		return next(ctx, cmds)
	}
}

// Interface guards.
var (
	_ redis.Hook      = (*breaker)(nil)
	_ redis.Hook      = deadlineHook(0)
	_ session.Servers = (*Store)(nil)
)

// unavailableServers are the servers whose breaker is open. The zero value is ready.
type unavailableServers struct{ since sync.Map } // server → time.Time

// note says that a server is unavailable until the function that it returns is called.
func (u *unavailableServers) note(server string, since time.Time) (back func()) {
	u.since.Store(server, since)
	return func() { u.since.CompareAndDelete(server, since) }
}

// UnavailableServers implements [session.Servers].
func (s *Store) UnavailableServers() []session.UnavailableServer {
	out := []session.UnavailableServer{}
	s.breakers.unavailable.since.Range(func(server, since any) bool {
		out = append(out, session.UnavailableServer{Server: server.(string), Since: since.(time.Time).UTC()})
		return true
	})
	slices.SortFunc(out, func(x, y session.UnavailableServer) int { return strings.Compare(x.Server, y.Server) })
	return out
}
