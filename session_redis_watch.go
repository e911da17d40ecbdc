// This file listens to what Redis reports of changes, with a connection of its
// own that proves five times a second that it is alive.

package caddylogout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
	"go.uber.org/zap"
)

// How the listener proves that nothing is lost. TCP alone would not tell for
// minutes that a server hangs or a network drops everything.
const (
	// watchPing is the pause between two PINGs. An answer proves that all that
	// was reported before it has arrived: Redis keeps the order.
	watchPing = 200 * time.Millisecond
	// watchProof is how long the answer to a PING counts, from when it was sent.
	watchProof = time.Second
	// watchSilence is how long no answer may come until the connection is given up.
	watchSilence = 800 * time.Millisecond
	// watchRetry and watchRetryMax are the pauses between tries to connect.
	watchRetry    = 10 * time.Millisecond
	watchRetryMax = time.Second
	// watchRefused is the pause after the server refused to report changes: it
	// may have been allowed in the meantime.
	watchRefused = 30 * time.Second
)

// errRefused says that the server answers, but does not report changes.
var errRefused = errors.New("the server does not report changes")

// Watch implements [Watcher] with CLIENT TRACKING in broadcast mode: the server
// reports every key under the prefixes of sessions and tombstones, whoever
// changes it.
func (s *redisStore) Watch(sink WatchSink) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w := &redisWatch{
		sink:    sink,
		options: *s.client.Options(),
		session: s.prefix + "session:",
		revoked: s.prefix + "revoked:",
	}
	go func() {
		defer close(done)
		w.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// redisWatch listens to one server.
type redisWatch struct {
	sink             WatchSink
	options          redis.Options
	session, revoked string // prefixes
	armed            bool
	refused          bool
}

// run listens until ctx ends, and connects again when a connection is lost.
func (w *redisWatch) run(ctx context.Context) {
	pause := watchRetry
	for {
		err := w.listen(ctx)
		if ctx.Err() != nil {
			w.sink.Disarmed()
			return
		}
		switch wasArmed := w.armed; {
		case errors.Is(err, errRefused):
			w.refuse(err)
			pause = watchRefused
		case wasArmed:
			w.disarm(err)
			pause = watchRetry
		default:
			pause = min(2*pause, watchRetryMax)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (w *redisWatch) refuse(err error) {
	if w.armed || !w.refused {
		watchLog().Warn("redis does not report changes, so the near cache is off or goes by max_stale; "+
			"it needs version 7, RESP3 and the right to CLIENT TRACKING", zap.Error(err))
		w.sink.Refused()
	}
	w.armed, w.refused = false, true
}

func (w *redisWatch) disarm(err error) {
	w.sink.Disarmed()
	w.armed = false
	watchLog().Info("near cache is off until redis reports changes again", zap.Error(redisError("watch", err)))
}

func (w *redisWatch) alive(until time.Time) {
	if w.armed {
		w.sink.Alive(until)
		return
	}
	w.sink.Armed(until)
	w.armed, w.refused = true, false
	watchLog().Debug("near cache is on")
}

// listen opens a connection and reports what arrives on it, until it fails.
func (w *redisWatch) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := redis.NewClient(w.connectOnce())
	defer client.Close()
	if err := client.RegisterPushNotificationHandler("invalidate", w, false); err != nil {
		return err
	}
	// A subscription to nothing: a connection that reads all the time.
	connection := client.Subscribe(ctx)
	defer connection.Close()
	if err := ping(ctx, connection); err != nil {
		return err
	}

	var pinging sync.WaitGroup
	defer pinging.Wait()
	defer cancel()
	pinging.Go(func() { keepPinging(ctx, connection) })
	stopReading := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stopReading()
	for {
		// Reports are handled in here; what is returned is an answer to a PING.
		message, err := connection.ReceiveTimeout(ctx, watchSilence)
		if err != nil {
			return err
		}
		if pong, ok := message.(*redis.Pong); ok {
			sent, err := strconv.ParseInt(pong.Payload, 10, 64)
			if err != nil {
				return fmt.Errorf("answer to PING: %w", err)
			}
			w.alive(watchStart.Add(time.Duration(sent) + watchProof))
		}
	}
}

// connectOnce returns the store's options for one connection that turns on
// tracking. The library would open another one by itself, and nobody would know
// what was missed in between.
func (w *redisWatch) connectOnce() *redis.Options {
	options, dial := w.options, w.options.Dialer
	var dialed atomic.Bool
	options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, net.ErrClosed
		}
		return dial(ctx, network, addr)
	}
	options.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		err := conn.ClientTrackingOn(ctx, &redis.ClientTrackingOptions{
			Bcast:    true,
			Prefixes: []string{w.session, w.revoked},
		}).Err()
		return refusal(err)
	}
	options.PoolSize, options.MinIdleConns, options.Limiter = 1, 0, nil
	// The store's own would be given reports to as well.
	options.PushNotificationProcessor = redis.NewPushNotificationProcessor()
	return &options
}

// refusal makes errRefused of an answer that will be the same next time: the
// user may not, or the server does not know how. LOADING and the like pass.
func refusal(err error) error {
	var reply redis.Error
	if errors.As(err, &reply) && (strings.HasPrefix(reply.Error(), "NOPERM") || strings.HasPrefix(reply.Error(), "ERR")) {
		return fmt.Errorf("%w: %w", errRefused, redisCause(err))
	}
	return err
}

// watchStart is what the times in PINGs count from: its clock is monotonic.
var watchStart = time.Now()

func ping(ctx context.Context, connection *redis.PubSub) error {
	return connection.Ping(ctx, strconv.FormatInt(int64(time.Since(watchStart)), 10))
}

func keepPinging(ctx context.Context, connection *redis.PubSub) {
	tick := time.NewTicker(watchPing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = ping(ctx, connection) // if it fails, no answer comes
		}
	}
}

// HandlePushNotification takes one report: the names of keys, or nothing for
// all. One that cannot be understood may be about any.
func (w *redisWatch) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, report []any) error {
	if len(report) == 2 {
		if names, ok := report[1].([]any); ok {
			for _, name := range names {
				w.changed(name)
			}
			return nil
		}
	}
	w.sink.ChangedAll()
	return nil
}

func (w *redisWatch) changed(name any) {
	text, ok := name.(string)
	if !ok {
		w.sink.ChangedAll()
		return
	}
	rest, ok := strings.CutPrefix(text, w.session)
	if !ok {
		rest, _ = strings.CutPrefix(text, w.revoked)
	}
	rest, open := strings.CutPrefix(rest, "{")
	rest, closed := strings.CutSuffix(rest, "}")
	// What has another name is no session of ours.
	if key, err := ParseKey(rest); open && closed && err == nil {
		w.sink.Changed(key)
	}
}

func watchLog() *zap.Logger { return caddy.Log().Named("sessions.near_cache") }

// Interface guards.
var (
	_ Watcher                  = (*redisStore)(nil)
	_ push.NotificationHandler = (*redisWatch)(nil)
)
