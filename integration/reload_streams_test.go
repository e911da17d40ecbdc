package integration_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// TestAttackReloadRotatesThePasswordUnderStreams changes the password of Redis, as
// docs/redis.md has it, under a WebSocket, server-sent events and a download, with
// the connections of the old password cut off, and logs out on another server.
func TestAttackReloadRotatesThePasswordUnderStreams(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.CLI(t, "ACL", "SETUSER", "caddy", "on", ">first", "~*", "&*", "+@all")
	store := func(password string) string {
		return "store redis " + redis.Addr() + " {\n\t\t\tusername caddy\n\t\t\tpassword " + password + "\n\t\t\ttimeout 5s\n\t\t\tdial_timeout 5s\n\t\t}"
	}
	// Caddy closes WebSockets at a reload, unless it is told to leave them.
	site := "handle /app/* {\n session_auth\n reverse_proxy " + newStreamingApp(t) + " {\n stream_close_delay 1h\n }\n }"
	one, other := startWith(t, store("first"), site), startWith(t, patient(redisStore(redis), "10s"), site)
	token := signIn(t, one)
	streams := openStreams(t, one, token)
	wantOpen(t, streams)

	redis.CLI(t, "ACL", "SETUSER", "caddy", ">second")
	one.Reload(caddyfile(store("second"), site))
	redis.CLI(t, "ACL", "SETUSER", "caddy", "<first")
	redis.CLI(t, "CLIENT", "KILL", "USER", "caddy")
	eventually(t, "the new password is used", func() bool { return whoami(t, one, "X-Session-Token: "+token) == http.StatusOK })
	wantOpen(t, streams)
	since := time.Now()
	if a := call(t, http.MethodDelete, other.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
		t.Fatalf("logout: %d", a.status)
	}
	attacktest.Report(t, "a stream that outlives a new password of Redis", len(streams), len(stillOpen(t, streams, since)))
	if strings.Contains(one.Logs(), "panic") {
		t.Error("a panic is in the log")
	}
}
