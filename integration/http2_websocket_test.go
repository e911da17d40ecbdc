package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// connectWebSocket asks for a WebSocket by extended CONNECT, and returns the
// status of the answer with a stream that says hello.
func connectWebSocket(t *testing.T, s *caddyServer, path string, header ...string) (string, openStream) {
	t.Helper()
	c := dialHTTP2(t, s)
	if !c.extendedConnect {
		t.Fatal("the server does not take WebSockets over HTTP/2")
	}
	lines := append([]string{
		":method: CONNECT", ":protocol: websocket", ":scheme: http", ":path: " + path, ":authority: 127.0.0.1:" + s.port,
		"origin: http://127.0.0.1", "sec-websocket-version: 13",
	}, header...)
	if err := c.headers(false, false, lines...); err != nil {
		t.Fatal(err)
	}
	answer, _, _, err := c.next()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(answer, "\n")
	return strings.TrimPrefix(first, ":status: "), openStream{"WebSocket over HTTP/2 on " + path, func() error {
		// One frame with a text, under a mask of zeros, and the same text back
		// without one (RFC 6455, section 5.2).
		if err := c.data(false, "\x81\x85\x00\x00\x00\x00hello"); err != nil {
			return err
		}
		got := ""
		for len(got) < len("\x81\x05hello") {
			_, data, ended, err := c.next()
			if err != nil {
				return err
			}
			if ended {
				return errors.New("the stream has ended")
			}
			got += data
		}
		if got != "\x81\x05hello" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	}}
}

func TestWebSocketOverHTTP2(t *testing.T) {
	t.Parallel()
	store, app := patientRedis(redistest.Start(t)), newStreamingApp(t)
	begin := func() *caddyServer {
		return start(t, serverOptions{
			caddyfile: withHTTP2(caddyfile(store,
				"handle /kept/* {\n session_auth {\n streams keep\n }\n uri replace /kept /app\n reverse_proxy "+app+"\n }",
				"handle /app/* {\n reverse_proxy "+app+"\n }")),
			files: map[string]string{"accounts.txt": accountsFile()},
			env:   []string{"GODEBUG=http2xconnect=1"},
		})
	}
	one, two := begin(), begin()
	token := signIn(t, one)
	for name, credential := range map[string]string{"none": "x-other: 1", "unknown": "authorization: Bearer ory_st_" + strings.Repeat("a", 32)} {
		if status, _ := connectWebSocket(t, one, "/app/ws", credential); status != "401" {
			t.Errorf("credential %s: status %s, want 401", name, status)
		}
	}
	openBoth := func(header string) (cut, kept openStream) {
		t.Helper()
		status, cut := connectWebSocket(t, one, "/app/ws", header)
		keptStatus, kept := connectWebSocket(t, one, "/kept/ws", header)
		if status != "200" || keptStatus != "200" {
			t.Fatalf("status %s and %s, want 200", status, keptStatus)
		}
		wantOpen(t, []openStream{cut, kept})
		return cut, kept
	}
	cut, kept := openBoth("cookie: " + cookieName + "=" + token)
	other := signIn(t, one)
	others, _ := openBoth("authorization: Bearer " + other)

	since := time.Now()
	if a := call(t, http.MethodDelete, two.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
		t.Fatalf("logout: %d", a.status)
	}
	wantClosed(t, []openStream{cut}, since)
	for range 3 {
		wantOpen(t, []openStream{kept, others})
	}
	if status, _ := connectWebSocket(t, one, "/app/ws", "cookie: "+cookieName+"="+token); status != "401" {
		t.Errorf("after the logout: status %s, want 401", status)
	}
}
