// This file holds the read path of the Redis store: what every check asks. A read
// that is alone goes at once; those that come while others are on their way go
// together, in one round trip.

package caddylogout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// readsInFlight is how many round trips of reads are on their way at one
	// time before further reads wait for one of them to come back.
	readsInFlight = 2
	// readsAtOnce bounds the reads of one round trip.
	readsAtOnce = 64
)

// redisReads puts reads together. The zero value is ready.
//
// Whoever finds a free place asks at once. Whoever finds none waits in a queue;
// when a round trip comes back, the first of the queue takes its place and asks
// for all that wait. Nothing waits for company, so reads that are few cost what
// they would cost alone.
type redisReads struct {
	mu      sync.Mutex
	flying  int
	waiting []*redisRead
}

// redisRead is one read.
type redisRead struct {
	key     Key
	withUse bool
	// turn tells a read that waits that it was answered (false), or that it is
	// to ask for all who wait (true).
	turn chan bool
	rec  Record
	err  error
}

// Get reads the session and the tombstone of key.
func (s *redisStore) Get(ctx context.Context, key Key) (Record, error) {
	return s.get(ctx, "get", &redisRead{key: key})
}

// GetWithUse reads the session, the tombstone and the last use of key.
func (s *redisStore) GetWithUse(ctx context.Context, key Key) (Record, error) {
	return s.get(ctx, "get", &redisRead{key: key, withUse: true})
}

func (s *redisStore) get(ctx context.Context, operation string, read *redisRead) (Record, error) {
	if s.inCluster {
		// A round trip to several servers would be as slow as the slowest.
		s.readAll(ctx, operation, []*redisRead{read})
		return read.rec, read.err
	}
	reads := &s.reads
	reads.mu.Lock()
	if reads.flying < readsInFlight {
		reads.flying++
		reads.mu.Unlock()
		s.lead(ctx, operation, []*redisRead{read})
		return read.rec, read.err
	}
	read.turn = make(chan bool, 1)
	reads.waiting = append(reads.waiting, read)
	reads.mu.Unlock()

	// To wait and to ask take no longer together than to ask alone.
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	select {
	case lead := <-read.turn:
		if lead {
			s.lead(ctx, operation, reads.take(read))
		}
		return read.rec, read.err
	case <-ctx.Done():
		reads.leave(read)
		return Record{}, redisError(operation, ctx.Err())
	}
}

// take returns the first of the queue, and as many others as go along.
func (q *redisReads) take(first *redisRead) []*redisRead {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), readsAtOnce-1)
	batch := make([]*redisRead, 0, n+1)
	batch = append(append(batch, first), q.waiting[:n]...)
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// leave takes a read out whose caller has given up. If it was just told to ask
// for the others, the next one does.
func (q *redisReads) leave(read *redisRead) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, read); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	select {
	case lead := <-read.turn:
		if lead {
			q.next()
		}
	default: // in a round trip that goes on without it
	}
}

// next gives the place of a round trip to the first who waits, or gives it up.
func (q *redisReads) next() {
	if len(q.waiting) == 0 {
		q.flying--
		return
	}
	first := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	first.turn <- true
}

// lead asks for a batch, the first of which is the caller's own, and answers the
// others. The caller's deadline holds for all: it has waited longest. But that
// its client goes away is nothing to the others.
func (s *redisStore) lead(ctx context.Context, operation string, batch []*redisRead) {
	defer func() {
		if cause := recover(); cause != nil {
			err := fmt.Errorf("redis: %s: %w", operation, ErrUnavailable)
			for _, read := range batch {
				read.rec, read.err = Record{}, err
			}
			defer panic(cause)
		}
		for _, read := range batch[1:] {
			read.turn <- false
		}
		s.reads.mu.Lock()
		defer s.reads.mu.Unlock()
		s.reads.next()
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
	s.readAll(ctx, operation, batch)
}

// readAll asks for all reads in one pipeline. What fails as a whole fails for
// each; an error of one key, such as a value of the wrong type, is that key's.
func (s *redisStore) readAll(ctx context.Context, operation string, batch []*redisRead) {
	pipe := s.client.Pipeline()
	for _, read := range batch {
		tag := "{" + read.key.String() + "}"
		pipe.Get(ctx, s.prefix+"session:"+tag)
		pipe.Get(ctx, s.prefix+"revoked:"+tag)
		if read.withUse {
			pipe.Get(ctx, s.prefix+"used:"+tag)
		}
	}
	commands, err := pipe.Exec(ctx)
	err = pipelineError(commands, err)
	for _, read := range batch {
		n := 2
		if read.withUse {
			n = 3
		}
		if err != nil {
			read.err = redisError(operation, err)
			continue
		}
		read.rec, read.err = readRecord(operation, commands[:n])
		commands = commands[n:]
	}
}

// pipelineError returns the error that is all commands': any but the server's
// answer to one of them. Of a login that failed, the commands know nothing, and
// would say that there is a session, and that it is empty.
func pipelineError(commands []redis.Cmder, err error) error {
	if err == nil || isNil(err) {
		return nil
	}
	_, isReply := errors.AsType[redis.Error](err)
	if isReply && slices.ContainsFunc(commands, func(c redis.Cmder) bool { return errors.Is(err, c.Err()) }) {
		return nil
	}
	return err
}

// readRecord reads the answers for one key: session, tombstone and perhaps use.
func readRecord(operation string, commands []redis.Cmder) (Record, error) {
	var rec Record
	for i, command := range commands {
		get := command.(*redis.StringCmd)
		if err := get.Err(); isNil(err) {
			continue // that it is not there is an answer, no error
		} else if err != nil {
			return Record{}, redisError(operation, err)
		}
		switch i {
		case 0:
			rec.Value, _ = get.Bytes()
		case 1:
			rec.RevokedAt = readTombstone(get.Val())
		case 2:
			if at, err := strconv.ParseInt(get.Val(), 10, 64); err == nil {
				rec.LastUsed = time.UnixMilli(at).UTC()
			}
		}
	}
	return rec, nil
}

// readTombstone returns the time of a tombstone. Whatever is under its key, it is
// a tombstone: one that was set by hand and cannot be read is as old as can be.
func readTombstone(value string) time.Time {
	var t tombstone
	if json.Unmarshal([]byte(value), &t) == nil {
		if at, err := time.Parse(time.RFC3339, t.RevokedAt); err == nil && !at.IsZero() {
			return at.UTC()
		}
	}
	return time.Unix(0, 0).UTC()
}
