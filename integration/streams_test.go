package integration_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"golang.org/x/net/websocket"
)

// newStreamingApp starts an app that never stops talking.
func newStreamingApp(t *testing.T) string {
	t.Helper()
	talk := func(w http.ResponseWriter, r *http.Request, text string) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/app/ws", websocket.Handler(func(ws *websocket.Conn) {
		_, _ = io.Copy(ws, ws) // says back what it hears
	}))
	mux.HandleFunc("/app/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		talk(w, r, "data: tick\n\n")
	})
	mux.HandleFunc("/app/download", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		talk(w, r, strings.Repeat("x", 4096))
	})
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

// openStream is a connection that is open: say makes sure of it, and fails when
// it is not any more.
type openStream struct {
	name string
	say  func() error
}

// openStreams opens one of each kind with the credential.
func openStreams(t *testing.T, s *caddyServer, token string) []openStream {
	t.Helper()
	config, err := websocket.NewConfig("ws://127.0.0.1:"+s.port+"/app/ws", "http://127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Authorization", "Bearer "+token)
	ws, err := config.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	streams := []openStream{{"WebSocket", func() error {
		if err := websocket.Message.Send(ws, "hello"); err != nil {
			return err
		}
		var back string
		return websocket.Message.Receive(ws, &back)
	}}}
	for _, name := range []string{"events", "download"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL("/app/"+name), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d", name, resp.StatusCode)
		}
		body := bufio.NewReader(resp.Body)
		streams = append(streams, openStream{name, func() error {
			_, err := io.ReadFull(body, make([]byte, 12))
			return err
		}})
	}
	return streams
}

// wantOpen checks that all streams live.
func wantOpen(t *testing.T, streams []openStream) {
	t.Helper()
	for _, stream := range streams {
		if err := stream.say(); err != nil {
			t.Fatalf("%s: %v", stream.name, err)
		}
	}
}

// wantClosed reads all streams to their end, and says how long that took.
func wantClosed(t *testing.T, streams []openStream, since time.Time) {
	t.Helper()
	for _, name := range stillOpen(t, streams, since) {
		t.Errorf("%s goes on after the end of its session", name)
	}
}

// stillOpen reads all streams to their end and returns the names of those that have
// none.
func stillOpen(t *testing.T, streams []openStream, since time.Time) []string {
	t.Helper()
	var through []string
	for _, stream := range streams {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for stream.say() == nil {
			}
		}()
		select {
		case <-ended:
			t.Logf("%s: closed within %v", stream.name, time.Since(since).Round(time.Millisecond))
		case <-time.After(20 * time.Second):
			through = append(through, stream.name)
		}
	}
	return through
}

func TestStreamsAreCut(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	site := "handle /app/* {\n session_auth\n reverse_proxy " + newStreamingApp(t) + "\n }"
	store := patient(redisStore(redis), "10s")
	one, two := startWith(t, store, site), startWith(t, store, site)
	end := []struct {
		name string
		end  func(token string)
	}{
		{"logout on the other server", func(token string) {
			if a := call(t, http.MethodDelete, two.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
				t.Fatalf("logout: %d", a.status)
			}
		}},
		{"logout on the same server", func(token string) {
			if a := call(t, http.MethodDelete, one.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
				t.Fatalf("logout: %d", a.status)
			}
		}},
		{"another device ends all", func(string) {
			if a := call(t, http.MethodDelete, two.URL("/sessions?all=true"), "", "Authorization: Bearer "+signIn(t, two)); a.status != http.StatusOK {
				t.Fatalf("end all: %d", a.status)
			}
		}},
		{"redis-cli DEL", func(string) {
			keys := strings.Fields(redis.CLI(t, "--raw", "KEYS", "caddy-logout:session:*"))
			redis.CLI(t, append([]string{"DEL"}, keys...)...)
		}},
		{"redis-cli FLUSHALL", func(string) { redis.CLI(t, "FLUSHALL") }},
		{"expiry", nil},
	}
	for _, test := range end {
		t.Run(test.name, func(t *testing.T) {
			token := signIn(t, one)
			if test.end == nil {
				var got issued
				decode(t, call(t, http.MethodPost, one.AdminURL("/sessions"), `{"identity":"alice","lifespan":"3s"}`).body, &got)
				token = got.Token
			}
			streams := openStreams(t, one, token)
			wantOpen(t, streams)
			since := time.Now()
			if test.end != nil {
				test.end(token)
			}
			wantClosed(t, streams, since)
		})
	}
	// The first three were revoked; for the others no time of their end is known.
	// What the last of the three streams took is known when its handler is done.
	var now map[string]float64
	eventually(t, "the cuts are measured", func() bool {
		now = scrape(t, one)
		return now["stream_cut_duration_seconds_count"] >= 3 && now["streams_cut_total"] >= 18
	})
	count, seconds := now["stream_cut_duration_seconds_count"], now["stream_cut_duration_seconds_sum"]
	if count != 3 || now["streams_cut_total"] != 18 || seconds <= 0 || seconds > 60 {
		t.Errorf("%v cuts of %v streams in %v s", count, now["streams_cut_total"], seconds)
	}
}

// TestFilesAreCut ends the session of a client that downloads a file from Caddy
// itself: without a proxy no handler notices that the request was cancelled.
func TestFilesAreCut(t *testing.T) {
	t.Parallel()
	const size = 256 << 20 // much more than what may be under way
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		t.Fatal(err)
	}
	redis := redistest.Start(t)
	for streams, cut := range map[string]bool{"close": true, "keep": false} {
		t.Run(streams, func(t *testing.T) {
			s := startWith(t, patientRedis(redis), "handle /large {\n session_auth {\n streams "+streams+"\n }\n root "+dir+"\n file_server\n }")
			token := signIn(t, s)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL("/large"), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			resp, err := client.Transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, 1<<20)); err != nil || resp.ContentLength != size {
				t.Fatalf("%d bytes, %v", resp.ContentLength, err)
			}
			if a := call(t, http.MethodDelete, s.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
				t.Fatalf("logout: %d", a.status)
			}
			rest, err := io.Copy(io.Discard, resp.Body)
			t.Logf("%d MiB came after the logout, then %v", rest>>20, err)
			if broke := err != nil && rest < size/2; broke != cut {
				t.Errorf("broke off: %v, want %v", broke, cut)
			}
		})
	}
}
