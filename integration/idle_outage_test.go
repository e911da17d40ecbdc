package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// idleServer is a proxy whose idle_timeout is short.
func idleServer(t *testing.T, redis *redistest.Server, timeout string, options ...string) *caddyServer {
	t.Helper()
	return startWith(t, patientRedis(redis)+"\n\t\tidle_timeout "+timeout+"\n\t\t"+strings.Join(options, "\n\t\t"))
}

// TestAttackOutageOfWrites has people use two proxies in turn while Redis refuses
// writes, as without the replica that it wants, for longer than the idle_timeout: the
// gate must refuse no session then, nor after it, and clear no cookie.
func TestAttackOutageOfWrites(t *testing.T) {
	t.Parallel()
	const timeout = 5 * time.Second
	redis := redistest.Start(t)
	// What the near cache knows of a use is forgotten within a minute: the second
	// proxy shows what comes after that.
	proxies := []*caddyServer{idleServer(t, redis, "5s"), idleServer(t, redis, "5s", "near_cache off")}
	var people []string
	for range 3 {
		people = append(people, signInBrowser(t, proxies[0]))
	}
	tries, through, turn := 0, 0, 0
	use := func(d time.Duration) {
		t.Helper()
		end := time.After(d)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			turn++
			for i, cookie := range people {
				a := call(t, "GET", proxies[(turn+i)%2].URL("/app/page"), "", acceptJSON, "Cookie: "+cookie)
				tries++
				if a.status == 401 || a.header.Values("Set-Cookie") != nil {
					through++
				}
			}
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}
	use(time.Second)
	redis.CLI(t, "CONFIG", "SET", "min-replicas-to-write", "1")
	use(timeout + 2*time.Second)
	redis.CLI(t, "CONFIG", "SET", "min-replicas-to-write", "0")
	use(2 * time.Second)
	attacktest.Report(t, "people who are there are found idle as Redis refuses writes", tries, through)
	for _, s := range proxies {
		eventually(t, "the log says that uses are recorded again", func() bool { return s.logs.contains("uses of sessions are recorded again") })
		// More than one only if Redis was slow to answer, too.
		if n := strings.Count(s.Logs(), "uses of sessions cannot be recorded"); n == 0 || n > 3 {
			t.Errorf("one outage is told of %d times", n)
		}
	}
}

// TestAttackOutageLongerThanIdle has Redis be gone for longer than the idle_timeout:
// the first request after it finds no session idle.
func TestAttackOutageLongerThanIdle(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := idleServer(t, redis, "3s")
	people := []string{signInBrowser(t, s), signInBrowser(t, s)}
	redis.Stop(t)
	gone := time.Now()
	eventually(t, "the outage to be longer than the timeout", func() bool { return time.Since(gone) > 4*time.Second })
	redis.Restart(t)
	tries, through := 0, 0
	for _, cookie := range people {
		eventually(t, "Redis is asked again", func() bool {
			a := call(t, "GET", s.URL("/app/page"), "", acceptJSON, "Cookie: "+cookie)
			tries++
			if a.status == 401 || a.header.Values("Set-Cookie") != nil {
				through++
			}
			return a.status != 503
		})
	}
	attacktest.Report(t, "people are found idle by the first request after an outage", tries, through)
}
