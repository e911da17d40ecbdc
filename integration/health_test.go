// This file asks whether a node can be used, while its store comes and goes.

package integration_test

import (
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

func TestHealth(t *testing.T) {
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
		if took := time.Since(began); took > 2*time.Second {
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
