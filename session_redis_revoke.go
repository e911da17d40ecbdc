// This file holds "log out everywhere" in Redis: many sessions of one person in
// few round trips.

package caddylogout

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// revokeAtOnce is how many sessions one round trip ends: enough to make the
// round trips few, and not so many that others wait long behind it.
const revokeAtOnce = 200

// RevokeAll revokes the keys some at a time: the tombstones of all of them, and
// only when every one is known to be written, the sessions and their entries in
// the index. So the order holds on a Cluster too, where the keys of a pipeline
// are on several servers and one of them may fail, or move.
func (s *redisStore) RevokeAll(
	ctx context.Context, identity string, keys []IndexedKey, at, least time.Time,
) (int, error) {
	value, err := json.Marshal(tombstone{Version: 1, RevokedAt: at.UTC().Format(tombstoneTime)})
	if err != nil {
		return 0, redisError("revoke all", err)
	}
	count := 0
	for some := range slices.Chunk(keys, revokeAtOnce) {
		pipe := s.client.Pipeline()
		for _, key := range some {
			name, end := s.tombstoneKey(key.Key), later(key.ExpiresAt, least).UnixMilli()
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
func (s *redisStore) deleteAll(ctx context.Context, identity string, keys []IndexedKey) (int, error) {
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
	// They are dead. What stays in the index if this fails is an entry of
	// something gone, which readers expect, and it expires.
	_ = s.client.ZRem(ctx, s.indexKey(identity), members...).Err()
	return count, nil
}
