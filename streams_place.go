// This file says which requests under way belong together, and which stores are
// asked about their sessions: a reload that changes how the store is reached (a
// password, a certificate) must not leave what is being served uncut.

package caddylogout

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/storehealth"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// streamSource is an open store, as one of those that know the sessions of a place.
type streamSource struct {
	streams *streams
	store   session.Store
	uses    *uses
	place   sessionPlace
	// reported says that the store reports changes.
	reported atomic.Bool
}

// sessionPlace is where sessions are, whatever the password to it.
type sessionPlace struct {
	kind     string
	settings []session.Setting
}

// placeOf says where the sessions of a store are. One that cannot say so is a
// place of its own.
func placeOf(module session.StoreModule) sessionPlace {
	if s, ok := module.(session.Located); ok {
		return sessionPlace{storeKind(module), s.Place()}
	}
	return sessionPlace{storeKind(module), []session.Setting{{Option: "pool key", Value: module.PoolKey()}}}
}

func (p sessionPlace) same(other sessionPlace) bool {
	return p.kind == other.kind && slices.EqualFunc(p.settings, other.settings, same)
}

// places holds the requests under way in this process, by place: one, and two for
// a while after a reload that goes to another one.
var places placePool

type placePool struct {
	mu  sync.Mutex
	all []*streams
}

// join makes an open store a source of its place, until leave.
func (p *placePool) join(store session.Store, uses *uses, place sessionPlace, now func() time.Time) *streamSource {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.all, func(s *streams) bool { return s.holds(place) })
	if i < 0 {
		i = len(p.all)
		p.all = append(p.all, newPlaceStreams(now))
	}
	return p.all[i].add(store, uses, place)
}

// leave takes a source out. What is being served for a place goes on without one
// only when the process ends.
func (p *placePool) leave(source *streamSource) {
	p.mu.Lock()
	s := source.streams
	last := s.remove(source)
	if last {
		p.all = slices.DeleteFunc(p.all, func(have *streams) bool { return have == s })
	}
	p.mu.Unlock()
	if last {
		s.Close()
	}
}

// count says how many places there are.
func (p *placePool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

// streamSources are the stores of one place.
type streamSources struct {
	mu  sync.Mutex
	all []*streamSource
	// users are the sources of the configurations that run, in that order. When a
	// reload fails, the one before is the last again.
	users []*streamSource
	// kept gives back the only source there is, when nothing is served for it any
	// more. It is nil if nobody wants to.
	kept *deferred.Close
}

func (s *streams) holds(place sessionPlace) bool {
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	return slices.ContainsFunc(s.sources.all, func(have *streamSource) bool { return have.place.same(place) })
}

// add makes a store a source. There is a newer one for the place now, so the one
// that was kept is not needed.
func (s *streams) add(store session.Store, uses *uses, place sessionPlace) *streamSource {
	source := &streamSource{streams: s, store: store, uses: uses, place: place}
	s.sources.mu.Lock()
	s.sources.all = append(s.sources.all, source)
	kept := s.sources.kept
	s.sources.kept = nil
	s.sources.mu.Unlock()
	deferred.Closes.Release(kept)
	return source
}

// remove takes a source out, and reports whether it was the last one.
func (s *streams) remove(source *streamSource) bool {
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	is := func(have *streamSource) bool { return have == source }
	s.sources.all = slices.DeleteFunc(s.sources.all, is)
	s.sources.users = slices.DeleteFunc(s.sources.users, is)
	return len(s.sources.all) == 0
}

// use says that a configuration runs with the source from now on.
func (source *streamSource) use() {
	source.streams.changeUsers(func(users []*streamSource) []*streamSource { return append(users, source) })
}

// drop says that a configuration which ran with the source does not any more.
func (source *streamSource) drop() {
	source.streams.changeUsers(func(users []*streamSource) []*streamSource {
		if i := slices.Index(users, source); i >= 0 {
			return slices.Delete(users, i, i+1)
		}
		return users
	})
}

// changeUsers changes who uses the sources. If another store is to be asked then,
// it may know what the one before did not hear of.
func (s *streams) changeUsers(change func([]*streamSource) []*streamSource) {
	s.sources.mu.Lock()
	before := s.sources.order()
	s.sources.users = change(s.sources.users)
	after := s.sources.order()
	s.sources.mu.Unlock()
	if before[0] != after[0] {
		s.ChangedAll()
	}
}

// giveBack gives back one use of the store, a minute after a reload. If no other
// store knows the place, and requests of it are being served, it waits for the
// last of them: else no logout would reach them any more.
func (source *streamSource) giveBack(giveBack func()) {
	s := source.streams
	s.sources.mu.Lock()
	keep := len(s.sources.all) == 1 && s.sources.kept == nil && s.count() > 0
	if keep {
		s.sources.kept = deferred.Closes.Hold(giveBack)
	}
	s.sources.mu.Unlock()
	if !keep {
		giveBack()
	}
}

// giveBackKept gives back what waits for the last request, when that has ended.
func (s *streams) giveBackKept() {
	s.sources.mu.Lock()
	kept := s.sources.kept
	if kept == nil || s.count() > 0 {
		s.sources.mu.Unlock()
		return
	}
	s.sources.kept = nil
	s.sources.mu.Unlock()
	deferred.Closes.Release(kept)
}

// toAsk returns the sources in the order in which to ask them.
func (s *streams) toAsk() []*streamSource {
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	return s.sources.order()
}

// order is that of the newest configuration first, then those of older ones, then
// those that no configuration uses.
func (ss *streamSources) order() []*streamSource {
	var order []*streamSource
	for _, from := range [][]*streamSource{ss.users, ss.all} {
		for _, source := range slices.Backward(from) {
			if !slices.Contains(order, source) {
				order = append(order, source)
			}
		}
	}
	return order
}

// reported says whether the store that is asked first reports changes, so that
// nothing has to be looked up without one.
func (s *streams) reported() bool {
	order := s.toAsk()
	return len(order) > 0 && order[0].reported.Load()
}

// get asks the newest store that answers: the password of an older one may be
// gone, that of a newer one may be wrong.
func (s *streams) get(key session.Key) (record session.Record, err error) {
	err = session.ErrUnavailable
	for _, source := range s.toAsk() {
		ctx, cancel := context.WithTimeout(context.Background(), streamsTimeout)
		record, err = source.store.Get(ctx, key)
		cancel()
		if err == nil {
			break
		}
	}
	return record, err
}

// Changed implements [WatchSink].
func (source *streamSource) Changed(key session.Key) { source.streams.Changed(key) }

// ChangedAll implements [WatchSink].
func (source *streamSource) ChangedAll() { source.streams.ChangedAll() }

// Armed implements [WatchSink].
func (source *streamSource) Armed(time.Time) {
	source.reported.Store(true)
	source.streams.ChangedAll()
}

// Alive implements [WatchSink].
func (source *streamSource) Alive(time.Time) {}

// Disarmed implements [WatchSink].
func (source *streamSource) Disarmed() { source.reported.Store(false) }

// Refused implements [WatchSink].
func (source *streamSource) Refused() { source.reported.Store(false) }

// pooledStore is an open store with what lives as long as it does: its part in
// the requests that are served for its sessions, and who is told when something
// changes.
type pooledStore struct {
	session.Store
	source  *streamSource
	reports *reports
	health  *storehealth.Monitor
}

func newPooledStore(store session.Store, place sessionPlace) *pooledStore {
	p := &pooledStore{Store: telemetry.MeasuredStore{Store: store}, reports: newReports(store)}
	p.source = places.join(p.Store, newUses(p.Store, time.Now), place, time.Now)
	p.reports.subscribe(p.source)
	p.health = storehealth.Start(store)
	return p
}

// Destruct implements caddy.Destructor.
func (p *pooledStore) Destruct() error {
	p.health.Stop()
	p.reports.close()
	places.leave(p.source)
	p.source.uses.close()
	return p.Close()
}

// Interface guards.
var (
	_ session.WatchSink = (*streamSource)(nil)
	_ caddy.Destructor  = (*pooledStore)(nil)
)
