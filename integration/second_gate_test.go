package integration_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// TestAttackStreamsInHandleErrors streams from behind a gate in handle_errors,
// after a gate has let the client pass to an app that is down, and logs the
// client out on another server.
func TestAttackStreamsInHandleErrors(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	store := patient(redisStore(redis), "10s")
	site := "handle /app/* {\n session_auth\n reverse_proxy 127.0.0.1:" + freePort(t) + "\n }\n" +
		"handle_errors {\n session_auth\n reverse_proxy " + newStreamingApp(t) + "\n }"
	one, other := startWith(t, store, site), startWith(t, store)
	token := signIn(t, one)
	streams := openStreams(t, one, token)
	wantOpen(t, streams)
	since := time.Now()
	if a := call(t, http.MethodDelete, other.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
		t.Fatalf("logout: %d", a.status)
	}
	attacktest.Report(t, "a stream behind a gate in handle_errors", len(streams), len(stillOpen(t, streams, since)))
}
