// This file tests the Redis store against a real server.

package caddylogout

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// openRedis opens the store that config describes, provisioned and validated.
func openRedis(t *testing.T, config RedisStore, now func() time.Time) *redisStore {
	t.Helper()
	noError(t, config.Provision(caddy.Context{}))
	noError(t, config.Validate())
	store, err := config.open(now)
	noError(t, err)
	return store
}

func TestRedisContract(t *testing.T) {
	server := redistest.Start(t)
	testStore(t, func(t *testing.T, now func() time.Time) Store {
		t.Helper()
		return openRedis(t, RedisStore{Address: server.Addr()}, now)
	})
}
