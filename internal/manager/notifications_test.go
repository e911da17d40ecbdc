package manager

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// scriptedWatcher is a store whose reports the test makes.
type scriptedWatcher struct {
	session.Store
	sink    session.WatchSink
	watches int
	stopped bool
}

func (w *scriptedWatcher) Watch(sink session.WatchSink) func() {
	w.sink = sink
	w.watches++
	return func() { w.stopped = true }
}

// recordingSink keeps the names of what it is told.
type recordingSink []string

func (s *recordingSink) Armed(time.Time)     { *s = append(*s, "armed") }
func (s *recordingSink) Alive(time.Time)     { *s = append(*s, "alive") }
func (s *recordingSink) Disarmed()           { *s = append(*s, "disarmed") }
func (s *recordingSink) Refused()            { *s = append(*s, "refused") }
func (s *recordingSink) Changed(session.Key) { *s = append(*s, "changed") }
func (s *recordingSink) ChangedAll()         { *s = append(*s, "changed all") }

func TestReports(t *testing.T) {
	if newNotifications(struct{ session.Store }{}).subscribe(new(recordingSink)) != nil {
		t.Error("a store that reports nothing can be subscribed to")
	}
	store := new(scriptedWatcher)
	r := newNotifications(store)
	r.close() // nobody has listened yet
	var first, late, later recordingSink
	until := time.Now().Add(time.Hour)
	leave := r.subscribe(&first)
	store.sink.Armed(until)
	store.sink.Alive(until)
	r.subscribe(&late)
	store.sink.Changed(storetest.NewKey())
	leave()
	store.sink.ChangedAll()
	store.sink.Disarmed()
	store.sink.Refused()
	r.subscribe(&later)
	r.close()
	if want := []string{"armed", "alive", "changed", "disarmed"}; !slices.Equal(first, want) {
		t.Errorf("the first heard %q, want %q", first, want)
	}
	if want := []string{"armed", "changed", "changed all", "disarmed", "refused"}; !slices.Equal(late, want) {
		t.Errorf("the late one heard %q, want %q", late, want)
	}
	if want := []string{"refused"}; !slices.Equal(later, want) {
		t.Errorf("the later one heard %q, want %q", later, want)
	}
	if store.watches != 1 || !store.stopped {
		t.Errorf("watched %d times, stopped %v; want once, and so", store.watches, store.stopped)
	}
}
