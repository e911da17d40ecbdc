// This file hands what a store reports on to all who have to know.

package caddylogout

import (
	"slices"
	"sync"
	"time"
)

// watchHub is a [WatchSink] that passes on to others, so that a store has one
// listener however many there are. One that comes late is told how things are.
type watchHub struct {
	mu    sync.RWMutex // held for reading while reports are passed on
	sinks []WatchSink
	state func(WatchSink) // tells a sink how things are; nil: nothing was reported
	stop  func()
}

// add passes on to sink until remove is called.
func (h *watchHub) add(sink WatchSink) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sinks = append(h.sinks, sink)
	if h.state != nil {
		h.state(sink)
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sinks = slices.DeleteFunc(h.sinks, func(have WatchSink) bool { return have == sink })
	}
}

// settle passes on a report about how things are.
func (h *watchHub) settle(state, late func(WatchSink)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = late
	for _, sink := range h.sinks {
		state(sink)
	}
}

// Armed implements [WatchSink].
func (h *watchHub) Armed(until time.Time) {
	armed := func(sink WatchSink) { sink.Armed(until) }
	h.settle(armed, armed)
}

// Alive implements [WatchSink]. To one that comes later it is armed from now.
func (h *watchHub) Alive(until time.Time) {
	h.settle(func(sink WatchSink) { sink.Alive(until) }, func(sink WatchSink) { sink.Armed(until) })
}

// Disarmed implements [WatchSink].
func (h *watchHub) Disarmed() { h.settle(WatchSink.Disarmed, nil) }

// Refused implements [WatchSink].
func (h *watchHub) Refused() { h.settle(WatchSink.Refused, WatchSink.Refused) }

// Changed implements [WatchSink].
func (h *watchHub) Changed(key Key) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, sink := range h.sinks {
		sink.Changed(key)
	}
}

// ChangedAll implements [WatchSink].
func (h *watchHub) ChangedAll() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, sink := range h.sinks {
		sink.ChangedAll()
	}
}

// Interface guard.
var _ WatchSink = (*watchHub)(nil)
