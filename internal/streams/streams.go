// Package streams holds the requests that are being served for a session, so that those
// which last (WebSockets, server-sent events, long downloads) end with it.
package streams

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

// StreamsTick is how often streams looks for expired sessions, and looks all up while
// the store does not notify of changes.
const StreamsTick = 500 * time.Millisecond

// streamsTimeout bounds a look-up.
const streamsTimeout = 2 * time.Second

// streamsAtOnce is how many sessions are looked up together.
const streamsAtOnce = 128

// ErrSessionEnded is why the context of a request that is cut is done. A proxy sees a
// client that disconnected: it neither counts a failure of the app, nor tries again,
// nor marks the app unhealthy.
var ErrSessionEnded = fmt.Errorf("the session of this request has ended: %w", context.Canceled)

// Streams holds every request that is being served for a session. It has one
// goroutine, whatever the number of requests, and a few more for as long as it
// takes to look sessions up. It lives as long as any store of the place where the
// sessions are, so that what a former configuration still serves is cut as well.
type Streams struct {
	sources streamSources
	now     func() time.Time
	Stripes [256]streamStripe
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
	Sessions map[session.Key]*openSession // nil: closed
	// changes counts the change notifications of these keys. Otherwise a request that
	// was let in before a notification and registers after it would be missed.
	changes atomic.Uint64
}

// openSession is a session with requests that are being served, a list.
type openSession struct {
	expiresAt time.Time
	first     *Stream
	// by is the configuration that let the last request in, and known what it knows
	// of the last use; nil without idle_timeout. See idle.go.
	by        Judge
	known     *nearcache.Entry
	idleAgain time.Time
}

// Stream is one such request.
type Stream struct {
	key        session.Key
	session    *openSession
	prev, next *Stream
	ctx        context.Context // of the request
	cancel     context.CancelCauseFunc
	cut        *telemetry.StreamCut // set when it is cut
	over       bool                 // it has been served; for the goroutine that serves it

	Sent   atomic.Bool         // its response has begun: the two below are set
	writer http.ResponseWriter // of the server, while it is being served
	major  int                 // of the HTTP version
}

// streamVar is the request variable that holds the stream that a request is.
const streamVar = "sessions.stream"

// Admission is what a gate knows of a request that it lets in.
type Admission struct {
	Session *session.Session
	// Changes is [streams.changesOf] of the time of the look-up.
	Changes uint64
	By      Judge
	Known   *nearcache.Entry
}

// New starts to watch the sessions of a place.
func New(now func() time.Time) *Streams {
	s := &Streams{
		now: now, dirty: make(map[session.Key]struct{}),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	for i := range s.Stripes {
		s.Stripes[i].Sessions = make(map[session.Key]*openSession)
	}
	go s.lookAfter()
	return s
}

// Close ends the goroutine and waits for it. Open requests go on, and no more are
// registered: nothing would cut them.
func (s *Streams) Close() {
	close(s.stop)
	<-s.done
	s.cuts.work.Wait()
	for i := range s.Stripes {
		stripe := &s.Stripes[i]
		stripe.mu.Lock()
		stripe.Sessions = nil
		stripe.mu.Unlock()
	}
}

// ChangesOf returns the count of change notifications for Open. The caller reads it
// before it looks the session up.
func (s *Streams) ChangesOf(key session.Key) uint64 {
	if s == nil {
		return 0
	}
	return s.Stripes[key[0]].changes.Load()
}

// Open registers a request of a session, and returns it with a context that is done
// when the session ends: a proxy then closes both of its connections, and the writer
// of the gate takes nothing more. If a handler does not end the request then, abort
// does. The caller calls Done when the request has been served. Open returns nil when
// nothing would cut the request any more.
func (s *Streams) Open(w http.ResponseWriter, r *http.Request, found Admission) (*http.Request, *Stream) {
	ctx, cancel := context.WithCancelCause(r.Context())
	session := found.Session
	st := &Stream{key: session.Key, ctx: ctx, cancel: cancel, writer: w, major: r.ProtoMajor}
	stripe := &s.Stripes[session.Key[0]]
	stripe.mu.Lock()
	if stripe.Sessions == nil {
		stripe.mu.Unlock()
		cancel(nil)
		return r, nil
	}
	open := stripe.Sessions[session.Key]
	if open == nil {
		open = &openSession{expiresAt: session.ExpiresAt}
		stripe.Sessions[session.Key] = open
	}
	open.add(st)
	open.used(found.By, found.Known)
	stripe.mu.Unlock()
	if _, ok := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		caddyhttp.SetVar(ctx, streamVar, st)
	}
	if stripe.changes.Load() != found.Changes {
		s.lookUp(session.Key)
	}
	return r.WithContext(ctx), st
}

// Done takes a served request out.
func (s *Streams) Done(st *Stream) {
	s.unregister(st)
	if st.cut != nil {
		s.cuts.remove(st)
	}
	st.over = true
	st.cancel(nil)
	st.cut.Ended(s.now)
}

// WasCut reports whether the session of the request has ended. A request without a
// response so far then gets that of a new request.
func (st *Stream) WasCut() bool {
	return st != nil && st.ctx.Err() != nil && errors.Is(context.Cause(st.ctx), ErrSessionEnded)
}

// IsOver reports whether the request was registered and has been served: nothing cuts
// it any more.
func (st *Stream) IsOver() bool { return st != nil && st.over }

func (s *Streams) unregister(st *Stream) {
	stripe := &s.Stripes[st.key[0]]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	open := st.session
	if open == nil {
		return
	}
	open.remove(st)
	if open.first == nil && stripe.Sessions[st.key] == open {
		delete(stripe.Sessions, st.key)
	}
}

// Spare keeps a request that ends its own session from being cut: it still has to
// send its response.
func (s *Streams) Spare(ctx context.Context, key session.Key) {
	if s == nil {
		return
	}
	if st, ok := caddyhttp.GetVar(ctx, streamVar).(*Stream); ok && st.key == key {
		s.unregister(st)
	}
}

func (o *openSession) add(st *Stream) {
	st.session, st.next = o, o.first
	if o.first != nil {
		o.first.prev = st
	}
	o.first = st
}

func (o *openSession) remove(st *Stream) {
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

// Cut ends all requests of a session that was revoked at the given time, zero if
// it was not, and reports how many.
func (s *Streams) Cut(key session.Key, revokedAt time.Time) int {
	if s == nil {
		return 0
	}
	stripe := &s.Stripes[key[0]]
	stripe.changes.Add(1)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	open := stripe.Sessions[key]
	if open == nil {
		return 0
	}
	delete(stripe.Sessions, key)
	count, all := 0, &telemetry.StreamCut{RevokedAt: revokedAt}
	for open.first != nil {
		st := open.first
		open.remove(st)
		st.cut = all.Add()
		s.cuts.add(st)
		st.cancel(ErrSessionEnded)
		count++
	}
	return count
}

// Changed has the session of a key looked up, if it is open.
func (s *Streams) Changed(key session.Key) {
	if s == nil {
		return
	}
	stripe := &s.Stripes[key[0]]
	stripe.changes.Add(1)
	stripe.mu.Lock()
	_, open := stripe.Sessions[key]
	stripe.mu.Unlock()
	if open {
		s.lookUp(key)
	}
}

// ChangedAll has all sessions that are open looked up.
func (s *Streams) ChangedAll() {
	for i := range s.Stripes {
		s.Stripes[i].changes.Add(1)
	}
	s.mu.Lock()
	s.all = true
	s.mu.Unlock()
	s.wakeUp()
}

func (s *Streams) lookUp(key session.Key) {
	s.mu.Lock()
	s.dirty[key] = struct{}{}
	s.mu.Unlock()
	s.wakeUp()
}

func (s *Streams) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lookAfter is the goroutine, until Close.
func (s *Streams) lookAfter() {
	defer close(s.done)
	ticker := time.NewTicker(StreamsTick)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
			s.Check(false)
		case <-ticker.C:
			s.Check(true)
			s.cuts.abort()
			s.giveBackKept()
		}
	}
}

// Check cuts the sessions that have ended: on a tick those that have expired or are
// idle, and always those that change notifications named.
func (s *Streams) Check(tick bool) {
	s.mu.Lock()
	dirty, all := s.dirty, s.all || (tick && !s.reported())
	s.dirty, s.all = make(map[session.Key]struct{}), false
	s.mu.Unlock()
	if tick || all {
		now := s.now()
		var idle []idleSession
		for i := range s.Stripes {
			stripe := &s.Stripes[i]
			stripe.mu.Lock()
			var expired []session.Key
			for key, open := range stripe.Sessions {
				switch {
				case !now.Before(open.expiresAt):
					expired = append(expired, key)
				case open.seemsIdle():
					idle = append(idle, idleSession{key, open.by})
				case all:
					dirty[key] = struct{}{}
				}
			}
			stripe.mu.Unlock()
			for _, key := range expired {
				s.Cut(key, time.Time{})
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

// lookUpSome looks some sessions up at once, so that they share round trips, cuts
// those that have ended, and takes those that it found out of dirty. It reports
// whether the store has answered for all: an outage is not a logout, so the others go
// on, and are looked up again.
func (s *Streams) lookUpSome(dirty map[session.Key]struct{}) bool {
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
				s.Cut(key, revokedAt)
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

// ended looks up whether a session is over, and since when if it was revoked.
func (s *Streams) ended(key session.Key) (over bool, revokedAt time.Time, err error) {
	record, err := s.get(key)
	if err != nil {
		return false, time.Time{}, err
	}
	return record.Value == nil || !record.RevokedAt.IsZero(), record.RevokedAt, nil
}

// Count returns how many requests are being served for a session.
func (s *Streams) Count() int {
	if s == nil {
		return 0
	}
	count := 0
	for i := range s.Stripes {
		stripe := &s.Stripes[i]
		stripe.mu.Lock()
		for _, open := range stripe.Sessions {
			for st := open.first; st != nil; st = st.next {
				count++
			}
		}
		stripe.mu.Unlock()
	}
	return count
}
