package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// crowd is many streams that are open.
type crowd struct {
	bodies []io.ReadCloser
	ended  sync.WaitGroup
}

// openCrowd opens them and waits for the first event of each.
func openCrowd(t *testing.T, s *caddyServer, path, token string, many int) *crowd {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	c, results, places := &crowd{}, make(chan *http.Response), make(chan struct{}, 16)
	for range many {
		go func() {
			places <- struct{}{}
			resp, err := openEvents(t, transport, s.URL(path), token)
			<-places
			if err != nil {
				t.Error(err)
			}
			results <- resp
		}()
	}
	for range many {
		if resp := <-results; resp != nil {
			c.bodies = append(c.bodies, resp.Body)
			c.ended.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
		}
	}
	t.Cleanup(c.close)
	if t.Failed() {
		t.FailNow()
	}
	return c
}

func openEvents(t *testing.T, transport *http.Transport, url, token string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	first, err := bufio.NewReader(io.LimitReader(resp.Body, int64(len(event)))).ReadString(0)
	if first != event {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("status %d, first event %q: %w", resp.StatusCode, first, err)
	}
	return resp, nil
}

const event = "data: first\n\n"

// close ends them as their clients do.
func (c *crowd) close() {
	for _, body := range c.bodies {
		_ = body.Close()
	}
	c.ended.Wait()
}

// goroutines counts those of a Caddy.
func goroutines(t *testing.T, s *caddyServer) int {
	t.Helper()
	a := call(t, http.MethodGet, s.AdminURL("/debug/pprof/goroutine?debug=1"), "")
	var n int
	if _, err := fmt.Sscanf(a.body, "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("%v: %s", err, tail(a.body, 200))
	}
	return n
}

// TestManyEventStreams opens hundreds of streams with streams keep, and as many
// without: these must not cost more goroutines. Then it ends their session.
func TestManyEventStreams(t *testing.T) {
	t.Parallel()
	const many, margin = 500, 100
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, event)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(app.Close)
	// A busy machine must not make the proxy give up.
	proxy := "reverse_proxy " + app.Listener.Addr().String() + " {\n transport http {\n dial_timeout 60s\n }\n }\n"
	s := start(t, serverOptions{
		caddyfile: withHTTP2(caddyfile(embeddedStore,
			"handle /kept/* {\n session_auth {\n streams keep\n }\n "+proxy+" }",
			"handle /cut/* {\n session_auth\n "+proxy+" }")),
		files: map[string]string{"accounts.txt": accountsFile()},
	})
	token, other := signIn(t, s), signIn(t, s)
	idle := goroutines(t, s)
	kept := openCrowd(t, s, "/kept/events", token, many)
	with := goroutines(t, s)
	if with < idle+many {
		t.Fatalf("%d goroutines with %d streams, %d without: they are not open", with, many, idle)
	}
	kept.close()
	eventually(t, "the end of the streams", func() bool { return goroutines(t, s) < idle+margin })

	cut := openCrowd(t, s, "/cut/events", token, many)
	eventually(t, fmt.Sprintf("at most %d goroutines for %d streams", with+margin, many), func() bool { return goroutines(t, s) < with+margin })

	ended := make(chan struct{})
	since := time.Now()
	if a := call(t, http.MethodDelete, s.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
		t.Fatalf("logout: %d", a.status)
	}
	go func() {
		cut.ended.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		t.Logf("%d streams: closed within %v", many, time.Since(since).Round(time.Millisecond))
	case <-time.After(startTimeout):
		t.Fatal("some go on after the end of their session")
	}
	if got := whoami(t, s, "X-Session-Token: "+other); got != http.StatusOK {
		t.Errorf("whoami of somebody else: %d", got)
	}
}
