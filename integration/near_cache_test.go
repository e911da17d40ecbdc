package integration_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// redisReads returns how many GET commands the server has run.
func redisReads(t *testing.T, redis *redistest.Server) int {
	t.Helper()
	match := regexp.MustCompile(`cmdstat_get:calls=(\d+)`).FindStringSubmatch(redis.CLI(t, "INFO", "commandstats"))
	if match == nil {
		return 0
	}
	reads, err := strconv.Atoi(match[1])
	if err != nil {
		t.Fatal(err)
	}
	return reads
}

// assertServed sends ten requests and checks whether they query Redis. A first
// request warms the cache; one that comes too early, while the server begins to
// listen, is not kept.
func assertServed(t *testing.T, s *caddyServer, redis *redistest.Server, header string, fromMemory bool) {
	t.Helper()
	ask := func() int {
		before := redisReads(t, redis)
		for range 10 {
			if got := whoami(t, s, header); got != 200 {
				t.Fatalf("whoami: %d", got)
			}
		}
		return redisReads(t, redis) - before
	}
	if !fromMemory {
		if reads := ask(); reads < 10 {
			t.Errorf("10 requests made Redis run %d GET, want one for each at least", reads)
		}
		return
	}
	eventually(t, "requests are served from memory", func() bool { return ask() == 0 })
}

func TestNearCache(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a, b := startWith(t, patientRedis(redis)), startWith(t, patientRedis(redis))
	strict := startWith(t, patientRedis(redis)+"\n\t\tnear_cache off")

	t.Run("a logout is seen by all", func(t *testing.T) {
		token := signIn(t, a)
		header := "X-Session-Token: " + token
		for _, s := range []*caddyServer{a, b} {
			assertServed(t, s, redis, header, true)
		}
		assertServed(t, strict, redis, header, false)
		logout := call(t, "DELETE", a.URL("/self-service/logout/api"), `{"session_token":"`+token+`"}`, acceptJSON, sendsJSON)
		if logout.status != 204 {
			t.Fatalf("logout: %d %s", logout.status, logout.body)
		}
		for _, s := range []*caddyServer{a, strict} {
			if got := whoami(t, s, header); got != 401 {
				t.Errorf("whoami after the logout: %d", got)
			}
		}
		eventually(t, "the logout is seen by the other server", func() bool { return whoami(t, b, header) == 401 })
	})
	t.Run("a session is deleted by hand", func(t *testing.T) {
		header := "X-Session-Token: " + signIn(t, a)
		assertServed(t, b, redis, header, true)
		redis.CLI(t, "FLUSHALL")
		eventually(t, "that is seen", func() bool { return whoami(t, b, header) == 401 })
	})
	t.Run("a reload keeps the cache", func(t *testing.T) {
		header := "X-Session-Token: " + signIn(t, b)
		assertServed(t, b, redis, header, true)
		reads := redisReads(t, redis)
		b.Reload(caddyfile(patientRedis(redis), `header X-Reloaded yes`))
		if got := whoami(t, b, header); got != 200 {
			t.Fatalf("whoami after the reload: %d", got)
		}
		if got := redisReads(t, redis); got != reads {
			t.Errorf("after the reload, Redis was asked %d times", got-reads)
		}
	})
	t.Run("Redis ends", func(t *testing.T) {
		header := "X-Session-Token: " + signIn(t, b)
		assertServed(t, b, redis, header, true)
		redis.Stop(t)
		eventually(t, "an outage is told", func() bool { return whoami(t, b, header) == 503 })
	})
}

// TestNearCacheRefused runs on a Redis whose user may not receive change
// notifications.
func TestNearCacheRefused(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--user", "narrow", "on", ">narrow", "~*", "+@all", "-client")
	store := redisStore(redis) + " {\n\t\t\ttimeout 2s\n\t\t\tdial_timeout 5s\n\t\t\tusername narrow\n\t\t\tpassword narrow\n\t\t}"
	strict := startWith(t, store)
	stale := startWith(t, store+"\n\t\tnear_cache {\n\t\t\tmax_stale 2s\n\t\t}")
	for _, s := range []*caddyServer{strict, stale} {
		const warning = "redis does not report changes"
		eventually(t, "a warning", func() bool { return strings.Contains(s.Logs(), warning) })
		if got := strings.Count(s.Logs(), warning); got != 1 {
			t.Errorf("%d warnings, want one", got)
		}
	}
	header := "X-Session-Token: " + signIn(t, strict)
	assertServed(t, strict, redis, header, false)
	assertServed(t, stale, redis, header, true)
	redis.CLI(t, "FLUSHALL")
	if got := whoami(t, strict, header); got != 401 {
		t.Errorf("whoami without the cache: %d", got)
	}
	eventually(t, "max_stale is over", func() bool { return whoami(t, stale, header) == 401 })
}
