package streams

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/session"
)

// Sessions are the sessions of an open store, as streams look them up.
type Sessions interface {
	// Get reads what is stored under a key.
	Get(ctx context.Context, key session.Key) (session.Record, error)
	// Idle reads a session anew, and judges whether it is idle.
	Idle(ctx context.Context, key session.Key, by Judge) (known *nearcache.Entry, idle bool, err error)
}

// Source is an open store, as one of those that know the sessions of a place.
type Source struct {
	Streams  *Streams
	sessions Sessions
	place    Place
	// reported says that the store notifies of changes.
	reported atomic.Bool
}

// Place is where sessions are, whatever the password to it. A reload that changes how
// the store is reached (a password, a certificate) must still cut the requests of
// former configurations.
type Place struct {
	Kind     string // of the store
	Settings []session.Setting
}

func (p Place) same(other Place) bool {
	return p.Kind == other.Kind && slices.EqualFunc(p.Settings, other.Settings, session.Setting.Same)
}

// Places holds the requests under way in this process, by place: one, and two for
// a while after a reload that goes to another one.
var Places Pool

// Pool holds the requests under way of a process, by place.
type Pool struct {
	mu  sync.Mutex
	all []*Streams
}

// Join makes an open store a source of its place, until leave.
func (p *Pool) Join(sessions Sessions, place Place, now func() time.Time) *Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.all, func(s *Streams) bool { return s.holds(place) })
	if i < 0 {
		i = len(p.all)
		p.all = append(p.all, New(now))
	}
	return p.all[i].Add(sessions, place)
}

// Leave takes a source out. What is being served for a place goes on without one
// only when the process ends.
func (p *Pool) Leave(source *Source) {
	p.mu.Lock()
	s := source.Streams
	last := s.remove(source)
	if last {
		p.all = slices.DeleteFunc(p.all, func(have *Streams) bool { return have == s })
	}
	p.mu.Unlock()
	if last {
		s.Close()
	}
}

// Count says how many places there are.
func (p *Pool) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

// streamSources are the stores of one place.
type streamSources struct {
	mu  sync.Mutex
	all []*Source
	// users are the sources of the configurations that run, in that order. When a
	// reload fails, the one before is the last again.
	users []*Source
	// kept gives back the only source, when no request of the place is open any more.
	// It is nil if nothing is to be given back.
	kept *deferred.Close
}

func (s *Streams) holds(place Place) bool {
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	return slices.ContainsFunc(s.sources.all, func(have *Source) bool { return have.place.same(place) })
}

// Add makes a store a source. There is a newer one for the place now, so the one
// that was kept is not needed.
func (s *Streams) Add(sessions Sessions, place Place) *Source {
	source := &Source{Streams: s, sessions: sessions, place: place}
	s.sources.mu.Lock()
	s.sources.all = append(s.sources.all, source)
	kept := s.sources.kept
	s.sources.kept = nil
	s.sources.mu.Unlock()
	deferred.Closes.Release(kept)
	return source
}

// remove takes a source out, and reports whether it was the last one.
func (s *Streams) remove(source *Source) bool {
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	is := func(have *Source) bool { return have == source }
	s.sources.all = slices.DeleteFunc(s.sources.all, is)
	s.sources.users = slices.DeleteFunc(s.sources.users, is)
	return len(s.sources.all) == 0
}

// Use says that a configuration runs with the source from now on.
func (source *Source) Use() {
	source.Streams.changeUsers(func(users []*Source) []*Source { return append(users, source) })
}

// Drop says that a configuration which ran with the source does not any more.
func (source *Source) Drop() {
	source.Streams.changeUsers(func(users []*Source) []*Source {
		if i := slices.Index(users, source); i >= 0 {
			return slices.Delete(users, i, i+1)
		}
		return users
	})
}

// changeUsers changes which configurations use the sources. If that puts another
// store first, it may know of changes that the one before missed.
func (s *Streams) changeUsers(change func([]*Source) []*Source) {
	s.sources.mu.Lock()
	before := s.sources.order()
	s.sources.users = change(s.sources.users)
	after := s.sources.order()
	s.sources.mu.Unlock()
	if before[0] != after[0] {
		s.ChangedAll()
	}
}

// GiveBack gives back one use of the store, a minute after a reload. If no other
// store knows the place, and requests of it are being served, it waits for the
// last of them: else no logout would reach them any more.
func (source *Source) GiveBack(giveBack func()) {
	s := source.Streams
	s.sources.mu.Lock()
	keep := len(s.sources.all) == 1 && s.sources.kept == nil && s.Count() > 0
	if keep {
		s.sources.kept = deferred.Closes.Hold(giveBack)
	}
	s.sources.mu.Unlock()
	if !keep {
		giveBack()
	}
}

// giveBackKept gives back what waits for the last request, when that has ended.
func (s *Streams) giveBackKept() {
	s.sources.mu.Lock()
	kept := s.sources.kept
	if kept == nil || s.Count() > 0 {
		s.sources.mu.Unlock()
		return
	}
	s.sources.kept = nil
	s.sources.mu.Unlock()
	deferred.Closes.Release(kept)
}

// ToAsk returns the sources in the order in which to query them.
func (s *Streams) ToAsk() []*Source {
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	return s.sources.order()
}

// order is that of the newest configuration first, then those of older ones, then
// those that no configuration uses.
func (ss *streamSources) order() []*Source {
	var order []*Source
	for _, from := range [][]*Source{ss.users, ss.all} {
		for _, source := range slices.Backward(from) {
			if !slices.Contains(order, source) {
				order = append(order, source)
			}
		}
	}
	return order
}

// reported says whether the store that is queried first notifies of changes, so that
// only changed sessions are looked up.
func (s *Streams) reported() bool {
	order := s.ToAsk()
	return len(order) > 0 && order[0].reported.Load()
}

// get queries the newest store that answers: the password of an older one may be
// gone, that of a newer one may be wrong.
func (s *Streams) get(key session.Key) (record session.Record, err error) {
	err = session.ErrUnavailable
	for _, source := range s.ToAsk() {
		ctx, cancel := context.WithTimeout(context.Background(), streamsTimeout)
		record, err = source.sessions.Get(ctx, key)
		cancel()
		if err == nil {
			break
		}
	}
	return record, err
}

// Changed implements [WatchSink].
func (source *Source) Changed(key session.Key) { source.Streams.Changed(key) }

// ChangedAll implements [WatchSink].
func (source *Source) ChangedAll() { source.Streams.ChangedAll() }

// Armed implements [WatchSink].
func (source *Source) Armed(time.Time) {
	source.reported.Store(true)
	source.Streams.ChangedAll()
}

// Alive implements [WatchSink].
func (source *Source) Alive(time.Time) {}

// Disarmed implements [WatchSink].
func (source *Source) Disarmed() { source.reported.Store(false) }

// Refused implements [WatchSink].
func (source *Source) Refused() { source.reported.Store(false) }

// Interface guards.
var (
	_ session.WatchSink = (*Source)(nil)
)
