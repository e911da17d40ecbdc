package integration_test

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := startWith(t, redisStore(redis))
	want := func(path string, status int, body string) {
		t.Helper()
		began := time.Now()
		a := call(t, "GET", s.AdminURL(path), "")
		if a.status != status || a.body != body {
			t.Errorf("%s: %d %q, want %d %q", path, a.status, a.body, status, body)
		}
		if (a.header.Get("Retry-After") != "") != (status == 503) {
			t.Errorf("%s: %d with Retry-After %q", path, a.status, a.header.Get("Retry-After"))
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: took %v", path, took)
		}
	}
	ready := func() bool { return call(t, "GET", s.AdminURL("/sessions/readiness"), "").status == 200 }
	eventually(t, "the node is ready", ready)
	want("/sessions/readiness", 200, `{"status":"ready"}`+"\n")
	want("/sessions/liveness", 200, `{"status":"alive"}`+"\n")

	redis.Pause(t)
	for range 3 {
		want("/sessions/readiness", 503, `{"status":"store unavailable"}`+"\n")
		want("/sessions/liveness", 200, `{"status":"alive"}`+"\n")
	}
	redis.Resume(t)
	eventually(t, "the node is ready again", ready)

	if a := call(t, "POST", s.AdminURL("/sessions/readiness"), ""); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
}

// TestOutageIsQuick counts how long people wait while Redis is frozen, from the
// first request on.
func TestOutageIsQuick(t *testing.T) {
	redis := redistest.Start(t)
	s := startWith(t, redisStore(redis))
	eventually(t, "an answer of Redis", func() bool { return whoami(t, s, "X-Session-Token: "+madeUp()) == 401 })
	redis.Pause(t)
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		took []time.Duration
	)
	for range 8 {
		wg.Go(func() {
			for range 50 {
				began := time.Now()
				a, err := tryCall(t, "GET", s.URL("/app/page"), "", acceptJSON, "X-Session-Token: "+madeUp())
				lasted := time.Since(began)
				mu.Lock()
				took = append(took, lasted)
				mu.Unlock()
				if err != nil || a.status != 503 || a.header.Get("Retry-After") == "" || a.header.Values("Set-Cookie") != nil {
					t.Errorf("%v: %d %v, want 503 with Retry-After and no cookie", err, a.status, a.header)
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	slow := 0
	for _, d := range took {
		if d > 300*time.Millisecond {
			slow++
		}
	}
	t.Logf("%d requests: median %v, longest %v, %d over 300 ms", len(took), took[len(took)/2], took[len(took)-1], slow)
	if longest := took[len(took)-1]; longest > 4*time.Second {
		t.Errorf("a request took %v", longest)
	}
	if median := took[len(took)/2]; median > 200*time.Millisecond {
		t.Errorf("half of all requests took %v or more: the breaker did not open", median)
	}
}

// madeUp returns a credential without a session.
func madeUp() string { return "ory_st_" + strings.ToLower(rand.Text()) + "aaaaaa" }
