package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
)

// The proof that no change notification is lost. With TCP alone, a server that
// hangs or a network that drops everything would go unnoticed for minutes.
const (
	// watchPing is the pause between two PINGs. An answer proves that all that
	// was reported before it has arrived: Redis keeps the order.
	watchPing = 200 * time.Millisecond
	// watchProof is how long the answer to a PING counts, from when it was sent.
	watchProof = time.Second
	// watchSilence is how long no reply may come before the connection is closed.
	watchSilence = 800 * time.Millisecond
	// watchRetry and watchRetryMax are the pauses between attempts to
	// connect.
	watchRetry    = 10 * time.Millisecond
	watchRetryMax = time.Second
	// watchRefused is the pause after the server refused to report changes: it
	// may have been allowed in the meantime.
	watchRefused = 30 * time.Second
	// watchMaster is how often Sentinel is asked whether the master is
	// still the same: the old one may still run, cut off from Sentinel but
	// not from us.
	watchMaster = time.Second
	// watchServer is how often a fresh connection checks which server it
	// leads to: after a name was switched, the existing connections would
	// not show it.
	watchServer = 3 * time.Second
)

// errRefused says that the server answers, but does not report changes.
var errRefused = errors.New("the server does not report changes")

// listener listens to one server.
type listener struct {
	watch   *watch
	options redis.Options
	// node is the id of the node of a Cluster that is meant; empty elsewhere.
	// Another server may have its address by now.
	node string
	// mark is left in the database; without a key there is none. markMu guards it.
	mark   databaseMark
	markMu sync.Mutex
	// until is when the proof ends; zero if there is none. The watch's lock
	// guards it.
	until time.Time
}

// run listens until ctx ends, and connects again when a connection is lost.
func (l *listener) run(ctx context.Context) {
	pause := watchRetry
	for {
		began := time.Now()
		err := l.listen(ctx)
		l.watch.lost(ctx, l, err)
		switch {
		case errors.Is(err, errRefused):
			pause = watchRefused
		case time.Since(began) > watchRetryMax:
			pause = watchRetry // that one held
		default:
			pause = min(2*pause, watchRetryMax)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// listen opens a connection and reports what arrives on it, until it fails.
func (l *listener) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var remote atomic.Value
	client := redis.NewClient(l.connectOnce(&remote))
	defer client.Close()
	if err := client.RegisterPushNotificationHandler("invalidate", l, false); err != nil {
		return err
	}
	// A subscription to nothing: a connection that reads all the time.
	connection := client.Subscribe(ctx)
	defer connection.Close()
	pings := newPings(time.Now)
	if err := pings.send(ctx, connection); err != nil {
		return err
	}

	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel()
	helpers.Go(func() { pings.keep(ctx, connection) })
	if l.options.Addr == sentinelAddr {
		helpers.Go(func() {
			l.compareMaster(ctx, &remote)
			_ = connection.Close()
		})
	}
	helpers.Go(func() { l.compareServer(ctx) })
	stopReading := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stopReading()
	for {
		// Reports are handled in here; what is returned is an answer to a PING.
		message, err := connection.ReceiveTimeout(ctx, watchSilence)
		if err != nil {
			return err
		}
		if pong, ok := message.(*redis.Pong); ok {
			sent, err := pings.answered(pong.Payload)
			if err != nil {
				return err
			}
			l.watch.proven(l, sent.Add(watchProof))
		}
	}
}

// connectOnce returns the store's options for one connection that turns on
// tracking. The library would open another one by itself, and notifications in
// between would be lost without a sign. It records which server the connection
// leads to.
func (l *listener) connectOnce(remote *atomic.Value) *redis.Options {
	options, dial, connected := l.options, l.options.Dialer, l.options.OnConnect
	var dialed atomic.Bool
	options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, net.ErrClosed
		}
		conn, err := dial(ctx, network, addr)
		if err == nil {
			remote.Store(conn.RemoteAddr().String())
		}
		return conn, err
	}
	options.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if connected != nil {
			if err := connected(ctx, conn); err != nil {
				return err
			}
		}
		if err := l.wantNode(ctx, conn); err != nil {
			return err
		}
		return refusal(conn.ClientTrackingOn(ctx, &redis.ClientTrackingOptions{
			Bcast:    true,
			Prefixes: []string{l.watch.session, l.watch.revoked},
		}).Err())
	}
	options.PoolSize, options.MinIdleConns, options.Limiter = 1, 0, nil
	// The store's own would be given reports to as well.
	options.PushNotificationProcessor = redis.NewPushNotificationProcessor()
	return &options
}

// errOtherNode says that another server has the address of the node that is meant.
var errOtherNode = errors.New("another server has the address of this node")

// wantNode refuses the connection to another node of a Cluster than the one that
// is meant: what that one does not report is no proof of anything.
func (l *listener) wantNode(ctx context.Context, conn *redis.Conn) error {
	if l.node == "" {
		return nil
	}
	nodes, err := conn.ClusterNodes(ctx).Result()
	if err != nil {
		return fmt.Errorf("cluster nodes: %w", err)
	}
	view, err := parseClusterView(nodes)
	if err != nil {
		return err
	}
	if view.id != l.node {
		return errOtherNode
	}
	return nil
}

// refusal makes errRefused of an answer that will be the same next time: the
// user may not, or the server does not know how. LOADING and the like pass.
func refusal(err error) error {
	var reply redis.Error
	if errors.As(err, &reply) && (strings.HasPrefix(reply.Error(), "NOPERM") || strings.HasPrefix(reply.Error(), "ERR")) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// sentinelAddr is what the library calls the address of a master that Sentinel
// names.
const sentinelAddr = "FailoverClient"

// compareMaster returns when Sentinel names another master than the one that is
// listened to, or ctx ends. No answer changes nothing.
func (l *listener) compareMaster(ctx context.Context, remote *atomic.Value) {
	for range ticks(ctx, watchMaster) {
		// How the library finds the master; there is no other way to ask it.
		conn, err := l.options.Dialer(ctx, l.options.Network, l.options.Addr)
		if err != nil {
			continue
		}
		addr := conn.RemoteAddr().String()
		_ = conn.Close()
		if addr != remote.Load() {
			return
		}
	}
}

// compareServer opens a connection now and then, which is asked where it leads, as
// all are, and looks whether the database is still the same.
func (l *listener) compareServer(ctx context.Context) {
	look := func() {
		options := l.options
		options.PoolSize, options.MinIdleConns, options.Limiter = 1, 0, nil
		client := redis.NewClient(&options)
		defer client.Close()
		if l.mark.key == "" {
			_ = client.Ping(ctx).Err()
			return
		}
		l.checkMark(ctx, client)
	}
	look()
	for range ticks(ctx, watchServer) {
		look()
	}
}

// ticks yields after each pause, until ctx ends.
func ticks(ctx context.Context, pause time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				if !yield(now) {
					return
				}
			}
		}
	}
}

// HandlePushNotification takes one change notification: the names of keys, or
// nothing for all. One that cannot be parsed may be about any key.
func (l *listener) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, report []any) error {
	if len(report) == 2 {
		if names, ok := report[1].([]any); ok {
			for _, name := range names {
				l.watch.changed(name)
			}
			return nil
		}
	}
	l.forgetMark()
	l.watch.sink.ChangedAll()
	return nil
}

// Interface guard.
var _ push.NotificationHandler = (*listener)(nil)
