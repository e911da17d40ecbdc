// This file holds the requests that are being served by session, so that those
// which last (WebSockets, server-sent events, long downloads) end with it.

package caddylogout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// streamsTick is how often expired sessions are looked for, and how often all
// are looked up while the store does not report changes.
const streamsTick = 500 * time.Millisecond

// streamsTimeout bounds a look-up.
const streamsTimeout = 2 * time.Second

// streamsAtOnce is how many sessions are looked up together.
const streamsAtOnce = 128

// errSessionEnded is why the context of a request that is cut is done. To a proxy
// it is as if the client had gone: the app has not failed, is not asked again, and
// is not taken for ill.
var errSessionEnded = fmt.Errorf("the session of this request has ended: %w", context.Canceled)

// streams holds every request that is being served for a session. It has one
// goroutine, whatever the number of requests, and a few more for as long as it
// takes to look sessions up. It lives as long as any store of the place where the
// sessions are, so that what a former configuration still serves is cut as well.
type streams struct {
	sources streamSources
	now     func() time.Time
	stripes [256]streamStripe
	cuts    unfinished

	mu    sync.Mutex
	dirty map[session.Key]struct{} // to be looked up
	all   bool                     // all are
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

// streamStripe holds the sessions whose key begins with one byte.
type streamStripe struct {
	mu       sync.Mutex
	sessions map[session.Key]*openSession // nil: closed
	// changes counts the reports of these keys. A request that was let in before
	// a report and registers after it would be missed otherwise.
	changes atomic.Uint64
}

// openSession is a session with requests that are being served, a list.
type openSession struct {
	expiresAt time.Time
	first     *stream
	// app is the configuration that let the last request in, and known what it
	// knows of the last use; nil without idle_timeout. See streams_idle.go.
	app       *App
	known     *nearcache.Entry
	idleAgain time.Time
}

// stream is one such request.
type stream struct {
	key        session.Key
	session    *openSession
	prev, next *stream
	ctx        context.Context // of the request
	cancel     context.CancelCauseFunc
	cut        *telemetry.StreamCut // set when it is cut
	over       bool                 // it has been served; for the goroutine that serves it

	sent   atomic.Bool         // its response has begun: the two below are set
	writer http.ResponseWriter // of the server, while it is being served
	major  int                 // of the HTTP version
}

// newPlaceStreams starts to look after the requests for the sessions of a place.
func newPlaceStreams(now func() time.Time) *streams {
	s := &streams{
		now: now, dirty: make(map[session.Key]struct{}),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	for i := range s.stripes {
		s.stripes[i].sessions = make(map[session.Key]*openSession)
	}
	go s.lookAfter()
	return s
}

// Close ends the goroutine and waits for it. Requests go on, and no more are let
// in: nobody would cut them.
func (s *streams) Close() {
	close(s.stop)
	<-s.done
	s.cuts.work.Wait()
	for i := range s.stripes {
		stripe := &s.stripes[i]
		stripe.mu.Lock()
		stripe.sessions = nil
		stripe.mu.Unlock()
	}
}

// changesOf returns the count of reports that open wants, to be read before the
// session is looked up.
func (s *streams) changesOf(key session.Key) uint64 {
	if s == nil {
		return 0
	}
	return s.stripes[key[0]].changes.Load()
}

// open registers a request of a session, and returns it with a context that is
// done when the session ends: a proxy then closes both of its connections, and
// the writer of the gate takes nothing more. What a handler does not end then is
// ended by abort. close has to be called when the request has been served. It returns
// nil when nobody would cut the request any more.
func (s *streams) open(r *http.Request, res *authResult) (*http.Request, *stream) {
	ctx, cancel := context.WithCancelCause(r.Context())
	session, changes := res.session, res.changes
	st := &stream{key: session.Key, ctx: ctx, cancel: cancel}
	stripe := &s.stripes[session.Key[0]]
	stripe.mu.Lock()
	if stripe.sessions == nil {
		stripe.mu.Unlock()
		cancel(nil)
		return r, nil
	}
	open := stripe.sessions[session.Key]
	if open == nil {
		open = &openSession{expiresAt: session.ExpiresAt}
		stripe.sessions[session.Key] = open
	}
	open.add(st)
	open.used(res.app, res.known)
	stripe.mu.Unlock()
	res.stream = st
	if stripe.changes.Load() != changes {
		s.lookUp(session.Key)
	}
	return r.WithContext(ctx), st
}

// close takes a request that has been served out.
func (s *streams) close(st *stream) {
	s.unregister(st)
	if st.cut != nil {
		s.cuts.remove(st)
	}
	st.over = true
	st.cancel(nil)
	st.cut.Ended(s.now)
}

// wasCut reports whether the session of the request has ended. What was not
// answered until then is answered as a request that comes now.
func (st *stream) wasCut() bool {
	return st != nil && st.ctx.Err() != nil && errors.Is(context.Cause(st.ctx), errSessionEnded)
}

// isOver reports whether the request was registered and has been served: nobody
// cuts it any more.
func (st *stream) isOver() bool { return st != nil && st.over }

func (s *streams) unregister(st *stream) {
	stripe := &s.stripes[st.key[0]]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	open := st.session
	if open == nil {
		return
	}
	open.remove(st)
	if open.first == nil && stripe.sessions[st.key] == open {
		delete(stripe.sessions, st.key)
	}
}

// spare keeps a request that ends its own session from being cut by that: its
// answer is still to be sent.
func (s *streams) spare(ctx context.Context, key session.Key) {
	if s == nil {
		return
	}
	if res, ok := caddyhttp.GetVar(ctx, authVar).(*authResult); ok && res.stream != nil && res.stream.key == key {
		s.unregister(res.stream)
	}
}

func (o *openSession) add(st *stream) {
	st.session, st.next = o, o.first
	if o.first != nil {
		o.first.prev = st
	}
	o.first = st
}

func (o *openSession) remove(st *stream) {
	if st.prev == nil {
		o.first = st.next
	} else {
		st.prev.next = st.next
	}
	if st.next != nil {
		st.next.prev = st.prev
	}
	st.session, st.prev, st.next = nil, nil, nil
}

// cut ends all requests of a session that was revoked at the given time, zero if
// it was not, and reports how many.
func (s *streams) cut(key session.Key, revokedAt time.Time) int {
	if s == nil {
		return 0
	}
	stripe := &s.stripes[key[0]]
	stripe.changes.Add(1)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	open := stripe.sessions[key]
	if open == nil {
		return 0
	}
	delete(stripe.sessions, key)
	count, all := 0, &telemetry.StreamCut{RevokedAt: revokedAt}
	for open.first != nil {
		st := open.first
		open.remove(st)
		st.cut = all.Add()
		s.cuts.add(st)
		st.cancel(errSessionEnded)
		count++
	}
	return count
}

// Changed has the session of a key looked up, if it is open.
func (s *streams) Changed(key session.Key) {
	if s == nil {
		return
	}
	stripe := &s.stripes[key[0]]
	stripe.changes.Add(1)
	stripe.mu.Lock()
	_, open := stripe.sessions[key]
	stripe.mu.Unlock()
	if open {
		s.lookUp(key)
	}
}

// ChangedAll has all sessions that are open looked up.
func (s *streams) ChangedAll() {
	for i := range s.stripes {
		s.stripes[i].changes.Add(1)
	}
	s.mu.Lock()
	s.all = true
	s.mu.Unlock()
	s.wakeUp()
}

func (s *streams) lookUp(key session.Key) {
	s.mu.Lock()
	s.dirty[key] = struct{}{}
	s.mu.Unlock()
	s.wakeUp()
}

func (s *streams) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lookAfter is the goroutine, until Close.
func (s *streams) lookAfter() {
	defer close(s.done)
	ticker := time.NewTicker(streamsTick)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
			s.check(false)
		case <-ticker.C:
			s.check(true)
			s.cuts.abort()
			s.giveBackKept()
		}
	}
}

// check cuts the sessions that have ended: on a tick those that have expired or
// are idle, and always those that are to be looked up.
func (s *streams) check(tick bool) {
	s.mu.Lock()
	dirty, all := s.dirty, s.all || (tick && !s.reported())
	s.dirty, s.all = make(map[session.Key]struct{}), false
	s.mu.Unlock()
	if tick || all {
		now := s.now()
		var idle []idleSession
		for i := range s.stripes {
			stripe := &s.stripes[i]
			stripe.mu.Lock()
			var expired []session.Key
			for key, open := range stripe.sessions {
				switch {
				case !now.Before(open.expiresAt):
					expired = append(expired, key)
				case open.seemsIdle():
					idle = append(idle, idleSession{key, open.app})
				case all:
					dirty[key] = struct{}{}
				}
			}
			stripe.mu.Unlock()
			for _, key := range expired {
				s.cut(key, time.Time{})
			}
		}
		s.cutIdle(idle)
	}
	for len(dirty) > 0 && s.lookUpSome(dirty) {
	}
	s.mu.Lock()
	maps.Copy(s.dirty, dirty)
	s.mu.Unlock()
}

// lookUpSome asks the store about some sessions at once, so that they share round
// trips, cuts those that have ended, and takes out of dirty what it knows of now.
// It reports whether the store has answered for all of them: an outage is not a
// logout, so what is left goes on, and is looked up again.
func (s *streams) lookUpSome(dirty map[session.Key]struct{}) bool {
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		answered []session.Key
		asked    int
	)
	for key := range dirty {
		if asked++; asked > streamsAtOnce {
			break
		}
		wg.Go(func() {
			ended, revokedAt, err := s.ended(key)
			if err != nil {
				return
			}
			if ended {
				s.cut(key, revokedAt)
			}
			mu.Lock()
			answered = append(answered, key)
			mu.Unlock()
		})
	}
	wg.Wait()
	for _, key := range answered {
		delete(dirty, key)
	}
	return len(answered) == min(asked, streamsAtOnce)
}

// ended asks the store whether a session is over, and since when if it was revoked.
func (s *streams) ended(key session.Key) (over bool, revokedAt time.Time, err error) {
	record, err := s.get(key)
	if err != nil {
		return false, time.Time{}, err
	}
	return record.Value == nil || !record.RevokedAt.IsZero(), record.RevokedAt, nil
}
