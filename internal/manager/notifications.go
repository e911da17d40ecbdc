package manager

import (
	"slices"
	"sync"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
)

// notifications passes what a store reports on to any number of sinks. It begins to
// listen with the first one, and ends with the store.
type notifications struct {
	Watcher session.Watcher // nil: the store reports nothing

	mu       sync.RWMutex // written by all but Changed and ChangedAll
	sinks    []session.WatchSink
	stop     func()
	until    time.Time // of the last proof; zero: not armed
	refused  bool
	starting sync.Once
}

// newNotifications shares what store reports, if it does.
func newNotifications(store session.Store) *notifications {
	watcher, _ := store.(session.Watcher)
	return &notifications{Watcher: watcher}
}

// subscribe tells sink how things stand and then what happens, until the
// function that it returns is called. It returns nil if the store reports nothing.
func (r *notifications) subscribe(sink session.WatchSink) (unsubscribe func()) {
	if r.Watcher == nil {
		return nil
	}
	r.mu.Lock()
	r.sinks = append(r.sinks, sink)
	switch {
	case !r.until.IsZero():
		sink.Armed(r.until)
	case r.refused:
		sink.Refused()
	}
	r.mu.Unlock()
	r.starting.Do(func() {
		stop := r.Watcher.Watch(r)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stop = stop
	})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sinks = slices.DeleteFunc(r.sinks, func(s session.WatchSink) bool { return s == sink })
		sink.Disarmed()
	}
}

// close ends the listening. It comes before the store is closed.
func (r *notifications) close() {
	r.mu.RLock()
	stop := r.stop
	r.mu.RUnlock()
	if stop != nil {
		stop()
	}
}

// pass notes how things stand and tells all sinks.
func (r *notifications) pass(until time.Time, refused bool, tell func(session.WatchSink)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until, r.refused = until, refused
	for _, sink := range r.sinks {
		tell(sink)
	}
}

// Armed implements [WatchSink].
func (r *notifications) Armed(until time.Time) {
	r.pass(until, false, func(sink session.WatchSink) { sink.Armed(until) })
}

// Alive implements [WatchSink].
func (r *notifications) Alive(until time.Time) {
	r.pass(until, false, func(sink session.WatchSink) { sink.Alive(until) })
}

// Disarmed implements [WatchSink].
func (r *notifications) Disarmed() { r.pass(time.Time{}, false, session.WatchSink.Disarmed) }

// Refused implements [WatchSink].
func (r *notifications) Refused() { r.pass(time.Time{}, true, session.WatchSink.Refused) }

// Changed implements [WatchSink].
func (r *notifications) Changed(key session.Key) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, sink := range r.sinks {
		sink.Changed(key)
	}
}

// ChangedAll implements [WatchSink].
func (r *notifications) ChangedAll() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, sink := range r.sinks {
		sink.ChangedAll()
	}
}

// Interface guard.
var _ session.WatchSink = (*notifications)(nil)
