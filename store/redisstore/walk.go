// Only requests by an operator walk all keys: the time grows with the database.

package redisstore

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/session"
)

// scanAtOnce is how many keys one step of SCAN looks at: well below a millisecond
// in which the server does nothing else.
const scanAtOnce = 1000

// WalkIdentities implements [Store].
func (s *Store) WalkIdentities(ctx context.Context, found func([]string) error) error {
	return s.walk(ctx, s.indexKey(""), found)
}

// WalkKeys implements [Store].
func (s *Store) WalkKeys(ctx context.Context, found func([]session.Key) error) error {
	return s.walk(ctx, s.prefix+"session:", func(names []string) error {
		keys := make([]session.Key, 0, len(names))
		for _, name := range names {
			if key, err := session.ParseKey(strings.Trim(name, "{}")); err == nil {
				keys = append(keys, key)
			}
		}
		return found(keys)
	})
}

// walk calls found with what comes behind prefix in the names of keys, some at a
// time. SCAN finds all that is there from its beginning to its end
// (https://redis.io/docs/latest/commands/scan/, "Scan guarantees").
func (s *Store) walk(ctx context.Context, prefix string, found func([]string) error) error {
	nodes, err := s.masters(ctx)
	if err != nil {
		return failure("walk", err)
	}
	for _, node := range nodes {
		if err := s.scan(ctx, node, prefix, found); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) scan(ctx context.Context, node redis.Cmdable, prefix string, found func([]string) error) error {
	pattern := globEscaper.Replace(prefix) + "*"
	for cursor := uint64(0); ; {
		step, cancel := context.WithTimeout(ctx, s.timeout)
		keys, next, err := node.Scan(step, cursor, pattern, scanAtOnce).Result()
		cancel()
		if err != nil {
			return failure("walk", err)
		}
		for i := range keys {
			keys[i] = strings.TrimPrefix(keys[i], prefix)
		}
		if len(keys) > 0 {
			if err := found(keys); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// globEscaper makes a text one that patterns of Redis take as it is.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// masters returns a client of each server that has keys.
func (s *Store) masters(ctx context.Context) ([]redis.Cmdable, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return []redis.Cmdable{s.client}, nil
	}
	var mu sync.Mutex // they are called at once
	var nodes []redis.Cmdable
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node)
		return nil
	})
	return nodes, err
}
