package redisstore

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// startPatientRedis is startRedis with a store whose round trips may be held for
// as long as a test likes.
func startPatientRedis(t *testing.T) (*redistest.Server, storetest.Contract) {
	t.Helper()
	server := redistest.Start(t)
	clock := storetest.NewClock()
	store := connect(t, config{Address: server.Addr(), Timeout: time.Hour}, clock.Now)
	t.Cleanup(func() { _ = store.Close() })
	return server, storetest.Contract{Clock: clock, Store: store}
}

// heldPipelines is a hook that holds pipelines until they are let go.
type heldPipelines struct {
	arrived chan int // how many commands the pipeline has
	release chan func(ctx context.Context, commands int)
}

func holdPipelines(s *Store) *heldPipelines {
	h := &heldPipelines{arrived: make(chan int, 100), release: make(chan func(context.Context, int), 100)}
	s.client.AddHook(h)
	return h
}

func (*heldPipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*heldPipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *heldPipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if isHandshake(commands[0]) {
			return next(ctx, commands)
		}
		h.arrived <- len(commands)
		(<-h.release)(ctx, len(commands))
		return next(ctx, commands)
	}
}

func letGo(context.Context, int) {}

// heldReads is a store with so many reads on their way that others have to wait.
type heldReads struct {
	*heldPipelines
	store *Store
	wg    sync.WaitGroup
}

func holdReads(t *testing.T, s storetest.Contract) *heldReads {
	t.Helper()
	h := &heldReads{store: s.Store.(*Store)}
	h.heldPipelines = holdPipelines(h.store)
	for range tripsInFlight {
		h.wg.Go(func() { _, _ = h.store.Get(context.Background(), storetest.NewKey()) }) //nolint:usetesting // outlives nothing
		<-h.arrived
	}
	return h
}

// queued waits until n reads wait.
func (h *heldReads) queued(t *testing.T, n int) {
	t.Helper()
	storetest.WaitFor(t, "reads wait", func() bool {
		h.store.reads.mu.Lock()
		defer h.store.reads.mu.Unlock()
		return len(h.store.reads.waiting) == n
	})
}

// idle waits for all reads and wants that no place is taken.
func (h *heldReads) idle(t *testing.T) {
	t.Helper()
	h.wg.Wait()
	h.store.reads.mu.Lock()
	defer h.store.reads.mu.Unlock()
	if h.store.reads.flying != 0 || len(h.store.reads.waiting) != 0 {
		t.Errorf("%d places are taken, %d reads wait", h.store.reads.flying, len(h.store.reads.waiting))
	}
}

// readResult is what a read came to.
type readResult struct {
	rec session.Record
	err error
}

func (h *heldReads) read(ctx context.Context, key session.Key) *readResult {
	result := new(readResult)
	h.wg.Go(func() { result.rec, result.err = h.store.Get(ctx, key) })
	return result
}

// TestReadsTogether lets reads wait and go in one round trip, each with its own
// answer, and one with its own error.
func TestReadsTogether(t *testing.T) {
	server, s := startPatientRedis(t)
	broken := storetest.NewKey()
	server.CLI(t, "RPUSH", "caddy-logout:revoked:{"+broken.String()+"}", "a list")
	keys := make([]session.Key, 10)
	for i := range keys {
		keys[i] = storetest.NewKey()
		e := s.NewEntry("alice")
		e.Value = []byte(strconv.Itoa(i))
		storetest.NoError(t, s.Create(t.Context(), keys[i], e))
	}
	_, err := s.Revoke(t.Context(), keys[3], "alice", s.Now(), s.Now().Add(time.Hour))
	storetest.NoError(t, err)

	h := holdReads(t, s)
	results := make([]*readResult, len(keys))
	for i, key := range keys {
		results[i] = h.read(t.Context(), key)
	}
	failing := h.read(t.Context(), broken)
	h.queued(t, len(keys)+1)
	h.release <- letGo
	if n := <-h.arrived; n != 2*(len(keys)+1) {
		t.Errorf("%d commands went together, want %d", n, 2*(len(keys)+1))
	}
	for range tripsInFlight {
		h.release <- letGo
	}
	h.idle(t)
	for i, result := range results {
		storetest.NoError(t, result.err)
		if i == 3 {
			if result.rec.Value != nil || !result.rec.RevokedAt.Equal(s.Now()) {
				t.Errorf("the revoked one: %+v", result.rec)
			}
		} else if string(result.rec.Value) != strconv.Itoa(i) || !result.rec.RevokedAt.IsZero() {
			t.Errorf("read %d: %+v", i, result.rec)
		}
	}
	if !errors.Is(failing.err, session.ErrUnavailable) {
		t.Errorf("a list for a tombstone: %v, want ErrUnavailable", failing.err)
	}
}

// TestReadsBound lets more reads wait than go in one round trip.
func TestReadsBound(t *testing.T) {
	_, s := startPatientRedis(t)
	h := holdReads(t, s)
	for range readsAtOnce + 3 {
		h.read(t.Context(), storetest.NewKey())
	}
	h.queued(t, readsAtOnce+3)
	for _, want := range []int{readsAtOnce, 3} {
		h.release <- letGo
		if n := <-h.arrived; n != 2*want {
			t.Errorf("%d commands went together, want %d", n, 2*want)
		}
	}
	for range tripsInFlight {
		h.release <- letGo
	}
	h.idle(t)
}

// TestReadsGiveUp cancels a read that waits, and the one that asks for others.
func TestReadsGiveUp(t *testing.T) {
	_, s := startPatientRedis(t)
	key := s.Make(t, "alice")
	h := holdReads(t, s)
	leaderCtx, leaderGone := context.WithCancel(t.Context())
	defer leaderGone()
	waiterCtx, waiterGone := context.WithCancel(t.Context())
	defer waiterGone()
	h.read(leaderCtx, key)
	h.queued(t, 1)
	gone := make(chan error)
	go func() {
		_, err := h.store.Get(waiterCtx, key)
		gone <- err
	}()
	h.queued(t, 2)
	stays := h.read(t.Context(), key)
	h.queued(t, 3)
	waiterGone()
	if err := <-gone; !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want ErrUnavailable and context.Canceled", err)
	}
	h.queued(t, 2)

	h.release <- letGo
	if n := <-h.arrived; n != 4 {
		t.Errorf("%d commands went together, want 4", n)
	}
	for range tripsInFlight {
		h.release <- func(ctx context.Context, _ int) {
			leaderGone()
			if err := ctx.Err(); err != nil {
				t.Errorf("the round trip of several ends with one of them: %v", err)
			}
		}
	}
	h.idle(t)
	storetest.NoError(t, stays.err)
	if stays.rec.Value == nil {
		t.Error("who stayed got no answer")
	}
}

// TestRevocationsTogether lets revocations wait and go in one transaction, each
// with its own answer: a broken index is nothing to anybody, and what the server
// refuses is done to none.
func TestRevocationsTogether(t *testing.T) {
	for name, full := range map[string]bool{"done": false, "refused as a whole": true} {
		t.Run(name, func(t *testing.T) {
			server, s := startPatientRedis(t)
			store := s.Store.(*Store)
			keys := make([]session.Key, 6) // the last one has no session
			for i := range keys {
				if keys[i] = storetest.NewKey(); i < len(keys)-1 {
					storetest.NoError(t, s.Create(t.Context(), keys[i], s.NewEntry("person "+strconv.Itoa(i))))
				}
			}
			server.CLI(t, "SET", "caddy-logout:identity:person 2", "no set")
			if full {
				server.CLI(t, "CONFIG", "SET", "maxmemory", "1")
			}
			h := holdPipelines(store)
			var wg sync.WaitGroup
			revoke := func(key session.Key, identity string) *revocation {
				x := new(revocation)
				wg.Go(func() {
					x.ended, x.err = s.Revoke(t.Context(), key, identity, s.Now(), s.Now().Add(time.Hour))
				})
				return x
			}
			for range tripsInFlight {
				revoke(storetest.NewKey(), "nobody")
				<-h.arrived
			}
			var ends []*revocation
			for i, key := range keys {
				ends = append(ends, revoke(key, "person "+strconv.Itoa(i)))
			}
			storetest.WaitFor(t, "revocations wait", func() bool {
				store.ends.mu.Lock()
				defer store.ends.mu.Unlock()
				return len(store.ends.waiting) == len(keys)
			})
			h.release <- letGo
			if n := <-h.arrived; n != 2+5*len(keys) {
				t.Errorf("%d commands went together, want %d", n, 2+5*len(keys))
			}
			for range tripsInFlight + len(keys) { // and the reads below
				h.release <- letGo
			}
			wg.Wait()
			for i, x := range ends {
				rec, err := s.Get(t.Context(), keys[i])
				storetest.NoError(t, err)
				switch {
				case full && (!errors.Is(x.err, session.ErrUnavailable) || !rec.RevokedAt.IsZero() || (rec.Value == nil) != (i == 5)):
					t.Errorf("%d: %+v, %+v, want nothing to be done", i, x, rec)
				case !full && (x.err != nil || x.ended != (i != 5) || rec.RevokedAt.IsZero() || rec.Value != nil):
					t.Errorf("%d: %+v, %+v, want it revoked", i, x, rec)
				}
			}
		})
	}
}

// revocation is what a revocation came to.
type revocation struct {
	ended bool
	err   error
}

// TestReadsLeaveWithTurn gives up in the moment in which the turn comes: the
// next one has to get it.
func TestReadsLeaveWithTurn(t *testing.T) {
	leaves, next := &readRequest{request: request{turn: make(chan bool, 1)}}, &readRequest{request: request{turn: make(chan bool, 1)}}
	q := batches[*readRequest]{flying: 1, waiting: []*readRequest{leaves, next}}
	q.next()
	q.leave(leaves)
	select {
	case lead := <-next.turn:
		if !lead {
			t.Error("the next one was told that it was answered")
		}
	default:
		t.Error("nobody asks any more")
	}
	q.next()
	if q.flying != 0 {
		t.Errorf("%d places are taken", q.flying)
	}
}

// TestReadsDeadline wants the caller's deadline to hold for the round trip.
func TestReadsDeadline(t *testing.T) {
	_, s := startPatientRedis(t)
	h := holdReads(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.read(ctx, storetest.NewKey())
	h.queued(t, 1)
	h.read(t.Context(), storetest.NewKey())
	h.queued(t, 2)
	h.release <- letGo
	<-h.arrived
	want, _ := ctx.Deadline()
	for range tripsInFlight {
		h.release <- func(ctx context.Context, commands int) {
			if got, _ := ctx.Deadline(); commands == 4 && !got.Equal(want) {
				t.Errorf("deadline %v, want %v", got, want)
			}
		}
	}
	h.idle(t)
}

// TestReadsTimeout lets a read wait for longer than the store may take.
func TestReadsTimeout(t *testing.T) {
	_, s := startPatientRedis(t)
	h := holdReads(t, s)
	h.store.timeout = time.Millisecond
	if _, err := h.store.Get(t.Context(), storetest.NewKey()); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want ErrUnavailable and context.DeadlineExceeded", err)
	}
	for range tripsInFlight {
		h.release <- letGo
	}
	h.idle(t)
}

// TestReadsPanic lets the caller that sends a batch panic: the others get an error,
// and the next reads go on.
func TestReadsPanic(t *testing.T) {
	_, s := startPatientRedis(t)
	h := holdReads(t, s)
	panicked := make(chan any)
	go func() {
		defer func() { panicked <- recover() }()
		_, _ = h.store.Get(context.Background(), storetest.NewKey()) //nolint:usetesting // outlives nothing
	}()
	h.queued(t, 1)
	other := h.read(t.Context(), storetest.NewKey())
	h.queued(t, 2)
	h.release <- letGo
	<-h.arrived
	for range tripsInFlight {
		h.release <- func(_ context.Context, commands int) {
			if commands == 4 {
				panic("in the library")
			}
		}
	}
	if cause := <-panicked; cause != "in the library" {
		t.Errorf("recovered %v", cause)
	}
	h.idle(t)
	if !errors.Is(other.err, session.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", other.err)
	}
	h.release <- letGo
	if _, err := h.store.Get(t.Context(), storetest.NewKey()); err != nil {
		t.Error(err)
	}
}

// TestReadsRace reads at once what is there, what is revoked and what is not
// there, with callers that give up.
func TestReadsRace(t *testing.T) {
	_, s := startPatientRedis(t)
	live, dead := s.Make(t, "alice"), s.Make(t, "alice")
	_, err := s.Revoke(t.Context(), dead, "alice", s.Now(), s.Now().Add(time.Hour))
	storetest.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%8 == 0 {
					go cancel()
				}
				liveRec, liveErr := s.Get(ctx, live)
				deadRec, deadErr := s.GetWithUse(ctx, dead)
				cancel()
				if i%8 == 0 {
					continue
				}
				if liveErr != nil || liveRec.Value == nil || !liveRec.RevokedAt.IsZero() {
					t.Errorf("live: %+v, %v", liveRec, liveErr)
				}
				if deadErr != nil || deadRec.Value != nil || deadRec.RevokedAt.IsZero() {
					t.Errorf("revoked: %+v, %v", deadRec, deadErr)
				}
			}
		})
	}
	wg.Wait()
	q := &s.Store.(*Store).reads
	storetest.WaitFor(t, "all places are free", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.flying == 0 && len(q.waiting) == 0
	})
}
