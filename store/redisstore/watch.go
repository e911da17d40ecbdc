package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
)

// Watch implements [Watcher] with CLIENT TRACKING in broadcast mode: a server
// reports every change of a key under the prefixes of sessions and tombstones.
// There is a listener for one server, one for the master that Sentinel names,
// and one for each master of a Cluster.
func (s *Store) Watch(sink session.WatchSink) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{
		sink:    sink,
		session: s.prefix + "session:",
		revoked: s.prefix + "revoked:",
		settle:  s.servers.settle,
		logger:  s.logger,
	}
	s.servers.watch(w.servers)
	var running sync.WaitGroup
	switch client := s.client.(type) {
	case *redis.ClusterClient:
		w.nodes = make(map[string]*listener)
		running.Go(func() { w.followCluster(ctx, client) })
	case *redis.Client:
		l := &listener{watch: w, options: *client.Options()}
		l.mark.key = s.prefix + "mark:" + rand.Text()
		w.nodes, w.topology = map[string]*listener{"": l}, forever
		running.Go(func() { l.run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
		s.servers.watch(nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.disarm(nil)
	}
}

// forever is the proof of a view that cannot change.
var forever = time.Now().Add(100 * 365 * 24 * time.Hour)

// watch is armed while all of its listeners are.
type watch struct {
	sink             session.WatchSink
	session, revoked string // prefixes
	settle           func() // nil: nothing to settle
	logger           func(name string) *zap.Logger

	mu       sync.Mutex
	nodes    map[string]*listener // by the id of the node
	topology time.Time            // until when nodes are proven to be all of them
	several  error                // what keeps pool and listeners from proving anything for each other
	armed    bool
	refused  bool
}

// servers notes whether the connections that read lead to the servers that are
// listened to. When it returns, nothing is served from memory unless they do.
func (w *watch) servers(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.several = err
	if errors.Is(err, errNoRunID) {
		w.refuse(err)
		return
	}
	w.update(nil)
}

// proven records that a listener has received every change, and until when that
// holds.
func (w *watch) proven(l *listener, until time.Time) {
	if w.settle != nil {
		w.settle()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.until = until
	w.update(nil)
}

// lost records that a listener receives nothing any more.
func (w *watch) lost(ctx context.Context, l *listener, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.until = time.Time{}
	if ctx.Err() != nil {
		err = nil
	}
	if errors.Is(err, errRefused) {
		w.refuse(err)
		return
	}
	w.update(err)
}

// update passes the result of all proofs together to the sink. The lock is
// held.
func (w *watch) update(err error) {
	until := w.topology
	for _, l := range w.nodes {
		if l.until.Before(until) {
			until = l.until
		}
	}
	switch {
	case w.several != nil:
		w.disarm(w.several)
	case until.IsZero() || len(w.nodes) == 0:
		w.disarm(err)
	case w.armed:
		w.sink.Alive(until)
	default:
		w.sink.Armed(until)
		w.armed, w.refused = true, false
		w.logger("near_cache").Debug("near cache is on")
	}
}

func (w *watch) disarm(err error) {
	if !w.armed {
		return
	}
	w.armed = false
	w.sink.Disarmed()
	if err != nil { // else it is being stopped
		w.logger("near_cache").Info("near cache is off until redis reports changes again", zap.Error(failure("watch", err)))
	}
}

func (w *watch) refuse(err error) {
	w.disarm(err)
	if !w.refused {
		w.refused = true
		if cause := zap.Error(failure("watch", err)); errors.Is(err, errNoRunID) {
			w.logger("near_cache").Warn("redis does not say which server it is, so the near cache is off unless max_stale is set", cause)
		} else {
			w.logger("near_cache").Warn("redis does not report changes, so the near cache is off unless max_stale is set", cause)
		}
		w.sink.Refused()
	}
}

// changed reads the name of a key that was reported.
func (w *watch) changed(name any) {
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
	// A key with another name is not one of our sessions.
	if key, err := session.ParseKey(rest); open && closed && err == nil {
		w.sink.Changed(key)
	}
}

// Interface guard.
var _ session.Watcher = (*Store)(nil)
