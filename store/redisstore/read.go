package redisstore

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/session"
)

// readsAtOnce bounds the reads of one round trip.
const readsAtOnce = 64

// readRequest is one read.
type readRequest struct {
	request
	key     session.Key
	withUse bool
	rec     session.Record
}

// Get reads the session and the tombstone of key.
func (s *Store) Get(ctx context.Context, key session.Key) (session.Record, error) {
	return s.get(ctx, &readRequest{request: request{operation: "get"}, key: key})
}

// GetWithUse reads the session, the tombstone and the last use of key.
func (s *Store) GetWithUse(ctx context.Context, key session.Key) (session.Record, error) {
	return s.get(ctx, &readRequest{request: request{operation: "get"}, key: key, withUse: true})
}

// GetMany is GetWithUse for many keys, in pipelines of readsAtOnce keys. The
// client of a Cluster parts each by the nodes that have the keys.
func (s *Store) GetMany(ctx context.Context, keys []session.Key) ([]session.Record, error) {
	records := make([]session.Record, 0, len(keys))
	for some := range slices.Chunk(keys, readsAtOnce) {
		batch := make([]*readRequest, len(some))
		for i, key := range some {
			batch[i] = &readRequest{request: request{operation: "get"}, key: key, withUse: true}
		}
		s.readAll(ctx, batch)
		for _, read := range batch {
			if read.err != nil {
				return nil, read.err
			}
			records = append(records, read.rec)
		}
	}
	return records, nil
}

func (s *Store) get(ctx context.Context, read *readRequest) (session.Record, error) {
	if err := inBatch(ctx, s, &s.reads, read, readsAtOnce, (*Store).readAll); err != nil {
		return session.Record{}, err
	}
	return read.rec, nil
}

// readAll asks for all reads in one pipeline. What fails as a whole fails for
// each; an error of one key, such as a value of the wrong type, is that key's.
func (s *Store) readAll(ctx context.Context, batch []*readRequest) {
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
			read.err = failure(read.operation, err)
			continue
		}
		read.rec, read.err = readRecord(read.operation, commands[:n])
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
func readRecord(operation string, commands []redis.Cmder) (session.Record, error) {
	var rec session.Record
	for i, command := range commands {
		get := command.(*redis.StringCmd)
		if err := get.Err(); isNil(err) {
			continue // that it is not there is an answer, no error
		} else if err != nil {
			return session.Record{}, failure(operation, err)
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
