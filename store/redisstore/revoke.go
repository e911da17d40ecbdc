package redisstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/session"
)

// endsAtOnce bounds the revocations of one transaction: others wait behind it.
const endsAtOnce = 32

// revokeRequest is one revocation.
type revokeRequest struct {
	request
	key       session.Key
	identity  string
	at, until time.Time

	buried  *redis.Cmd
	deleted *redis.IntCmd
	ended   bool
}

// Revoke writes the tombstone, then deletes the session: never the second without
// the first, which a server that is full, or may not write, would refuse. One
// transaction does it in one round trip, and does it for all that are revoked
// meanwhile. In a Cluster it takes two round trips, as a transaction sees only
// half of a slot that is being moved.
func (s *Store) Revoke(ctx context.Context, key session.Key, identity string, at, until time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	x := &revokeRequest{request: request{operation: "revoke"}, key: key, identity: identity, at: at, until: until}
	if err := inBatch(ctx, s, &s.ends, x, endsAtOnce, (*Store).revokeTogether); err != nil {
		return false, err
	}
	return x.ended, nil
}

// revokeTogether revokes a batch in one transaction.
func (s *Store) revokeTogether(ctx context.Context, batch []*revokeRequest) {
	pipe := s.client.TxPipeline()
	if s.inCluster {
		pipe = s.client.Pipeline()
	}
	for _, x := range batch {
		name, end := s.tombstoneKey(x.key), x.until.UnixMilli()
		x.buried = pipe.Do(ctx, "set", name, encodeTombstone(x.at), "nx", "pxat", end)
		pipe.Do(ctx, "pexpireat", name, end, "gt")
	}
	if s.inCluster {
		if err := execPipeline(ctx, "revoke", pipe); err != nil {
			batch[0].err = err
			return
		}
		pipe = s.client.Pipeline()
	}
	for _, x := range batch {
		x.deleted = pipe.Del(ctx, s.sessionKey(x.key))
		pipe.Del(ctx, s.useKey(x.key))
		if x.identity != "" {
			pipe.ZRem(ctx, s.indexKey(x.identity), x.key.String())
		}
	}
	err := execPipeline(ctx, "revoke", pipe)
	for _, x := range batch {
		switch {
		case x.dead():
			x.ended = x.deleted.Val() > 0
		case err != nil:
			x.err = err
		default:
			x.err = failure("revoke", errors.New("the server's answer says nothing of it"))
		}
	}
}

// dead reports whether the session has its tombstone and is deleted. That holds
// even if the index fails: it then keeps an entry without a session, which
// readers expect, and which expires. A transaction that was refused as a whole
// leaves commands that were never done without an error, and without an answer:
// whether there is a tombstone, only the answer to SET says, which is OK, or
// nothing if there was one.
func (x *revokeRequest) dead() bool {
	hasTombstone := isNil(x.buried.Err()) || x.buried.Err() == nil && x.buried.Val() != nil
	return hasTombstone && x.deleted.Err() == nil
}

// revokeAtOnce is how many sessions one round trip ends: enough to make the
// round trips few, and not so many that others wait long behind it.
const revokeAtOnce = 200

// RevokeAll revokes the keys some at a time: the tombstones of all of them, and
// only when every one is known to be written, the sessions and their entries in
// the index. So the order holds on a Cluster too, where the keys of a pipeline
// are on several servers and one of them may fail, or move.
func (s *Store) RevokeAll(
	ctx context.Context, identity string, keys []session.IndexedKey, at, least time.Time,
) (int, error) {
	value, count := encodeTombstone(at), 0
	for some := range slices.Chunk(keys, revokeAtOnce) {
		pipe := s.client.Pipeline()
		for _, key := range some {
			name, end := s.tombstoneKey(key.Key), session.Later(key.ExpiresAt, least).UnixMilli()
			pipe.Do(ctx, "set", name, value, "nx", "pxat", end)
			pipe.Do(ctx, "pexpireat", name, end, "gt")
		}
		if err := execPipeline(ctx, "revoke all", pipe); err != nil {
			return count, err
		}
		ended, err := s.deleteAll(ctx, identity, some)
		count += ended
		if err != nil {
			return count, err
		}
	}
	return count, nil
}

// deleteAll deletes sessions that have their tombstones.
func (s *Store) deleteAll(ctx context.Context, identity string, keys []session.IndexedKey) (int, error) {
	pipe := s.client.Pipeline()
	deleted, members := make([]*redis.IntCmd, 0, len(keys)), make([]any, 0, len(keys))
	for _, key := range keys {
		deleted = append(deleted, pipe.Del(ctx, s.sessionKey(key.Key)))
		pipe.Del(ctx, s.useKey(key.Key))
		members = append(members, key.Key.String())
	}
	err := execPipeline(ctx, "revoke all", pipe)
	count := 0
	for _, command := range deleted {
		count += int(command.Val())
	}
	if err != nil {
		return count, err
	}
	// They are revoked. If this fails, the index keeps entries without a
	// session, which readers expect, and which expire.
	_ = s.client.ZRem(ctx, s.indexKey(identity), members...).Err()
	return count, nil
}
