package redisstore

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/caddy-logout/caddy-logout/session"
)

// tripsInFlight is how many round trips of a kind are on their way at one time
// before further requests wait for one of them to come back.
const tripsInFlight = 2

// batches puts requests of one kind together. The zero value is ready. A
// request that finds a free place is sent at once. Any other waits in a queue;
// when a round trip comes back, the first of the queue takes its place and
// sends all that wait. No request waits for others to join, so a few requests
// cost the same as alone.
type batches[T batchable] struct {
	mu      sync.Mutex
	flying  int
	waiting []T
}

// batchable is a request that may go with others: a pointer to a type that
// embeds [request].
type batchable interface {
	comparable
	own() *request
}

// request is a request's part in a round trip.
type request struct {
	// operation is what errors are to say.
	operation string
	// turn tells a request that waits that it was answered (false), or that it is
	// to ask for all who wait (true).
	turn chan bool
	err  error
}

func (t *request) own() *request { return t }

// inBatch has ask answer mine, perhaps together with at most atOnce-1 others. In a
// Cluster each asks for itself: a round trip to several servers would be as slow
// as the slowest.
func inBatch[T batchable](ctx context.Context, s *Store, q *batches[T], mine T, atOnce int,
	ask func(*Store, context.Context, []T),
) error {
	t := mine.own()
	if s.inCluster {
		ask(s, ctx, []T{mine})
		return t.err
	}
	q.mu.Lock()
	if q.flying < tripsInFlight {
		q.flying++
		q.mu.Unlock()
		lead(ctx, s, q, []T{mine}, ask)
		return t.err
	}
	t.turn = make(chan bool, 1)
	q.waiting = append(q.waiting, mine)
	q.mu.Unlock()

	// To wait and to ask take no longer together than to ask alone.
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	select {
	case first := <-t.turn:
		if first {
			lead(ctx, s, q, q.take(mine, atOnce), ask)
		}
		return t.err
	case <-ctx.Done():
		q.leave(mine)
		return failure(t.operation, ctx.Err())
	}
}

// take returns the first of the queue, and as many others as go along.
func (q *batches[T]) take(first T, atOnce int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), atOnce-1)
	batch := make([]T, 0, n+1)
	batch = append(append(batch, first), q.waiting[:n]...)
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// leave takes a request out whose caller has given up. If it was just told to ask
// for the others, the next one does.
func (q *batches[T]) leave(mine T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, mine); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	select {
	case first := <-mine.own().turn:
		if first {
			q.next()
		}
	default: // in a round trip that goes on without it
	}
}

// next gives the place of a round trip to the first who waits, or gives it up.
func (q *batches[T]) next() {
	if len(q.waiting) == 0 {
		q.flying--
		return
	}
	first := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	first.own().turn <- true
}

// lead asks for a batch, the first of which is the caller's own, and answers the
// others. The caller's deadline holds for all: it has waited longest. But that
// its client goes away is nothing to the others.
func lead[T batchable](ctx context.Context, s *Store, q *batches[T], batch []T,
	ask func(*Store, context.Context, []T),
) {
	defer func() {
		if cause := recover(); cause != nil {
			for _, each := range batch {
				each.own().err = fmt.Errorf("redis: %s: %w", each.own().operation, session.ErrUnavailable)
			}
			defer panic(cause)
		}
		for _, each := range batch[1:] {
			each.own().turn <- false
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.next()
	}()
	if len(batch) > 1 {
		together := context.WithoutCancel(ctx)
		if deadline, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			together, cancel = context.WithDeadline(together, deadline)
			defer cancel()
		}
		ctx = together
	}
	ask(s, ctx, batch)
}
