package caddylogout

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/redisstore"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// openRedis opens the store that config describes, provisioned and validated.
func openRedis(t *testing.T, config RedisStore, now func() time.Time) *redisstore.Store {
	t.Helper()
	storetest.NoError(t, config.Provision(caddy.Context{}))
	storetest.NoError(t, config.Validate())
	options, err := config.options()
	storetest.NoError(t, err)
	options.Now = now
	return redisstore.Open(options)
}

func openRedisForBench(b *testing.B, addr string) *redisstore.Store {
	b.Helper()
	config := RedisStore{Address: addr}
	if err := config.Provision(caddy.Context{}); err != nil {
		b.Fatal(err)
	}
	options, err := config.options()
	if err != nil {
		b.Fatal(err)
	}
	store := redisstore.Open(options)
	b.Cleanup(func() { _ = store.Close() })
	return store
}

func armedForBench(b *testing.B, store *redisstore.Store) *nearcache.Cache {
	b.Helper()
	cache := nearcache.New(nearcache.DefaultEntries, 0)
	redistest.Arm(b, store, cache)
	return cache
}

// unhurried is a timeout that a busy machine never reaches.
const unhurried = caddy.Duration(10 * time.Second)

// redisKey is the name of a key of a session in Redis.
func redisKey(kind string, key session.Key) string {
	return defaultRedisKeyPrefix + kind + ":{" + key.String() + "}"
}

// secondLook is the time after which a store has checked twice where its connections
// lead.
const secondLook = 6 * time.Second
