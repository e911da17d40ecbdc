package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"go.etcd.io/bbolt"
)

// terminate asks Caddy to end, as systemd and Kubernetes do.
func (s *caddyServer) terminate() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
}

// wantCleanEnd waits for the end of the process.
func (s *caddyServer) wantCleanEnd() {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(startTimeout):
		s.t.Fatal("caddy does not end")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("exit code %d", code)
	}
	if !s.logs.contains("shutdown complete") {
		s.t.Error("caddy does not say that the shutdown is complete")
	}
}

// wantIntact opens a file that Caddy had open, and checks every page of it.
func wantIntact(t *testing.T, file string) {
	t.Helper()
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(file), err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	}); err != nil {
		t.Errorf("%s: %v", filepath.Base(file), err)
	}
}

// withGrace is the Caddyfile of the tests with a grace period.
func withGrace(period, store string, site ...string) string {
	return strings.Replace(caddyfile(store, site...), "{\n", "{\n\tgrace_period "+period+"\n", 1)
}

// TestShutdownFinishesRequests ends Caddy while a request is with the app: it
// gets its answer, and what it does then still finds the store.
func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		arrived, release := make(chan struct{}), make(chan struct{})
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-release
			w.Header().Set("X-Sign-In", `{"identity":"bob"}`)
			fmt.Fprintf(w, "user %s", r.Header.Get("X-User-Id"))
		}))
		t.Cleanup(app.Close)
		s := start(t, serverOptions{
			caddyfile: withGrace("1m", store, "route /slow {\n\t\tsession_auth {\n\t\t\tissue_on_header X-Sign-In\n\t\t}\n\t\treverse_proxy "+app.URL+"\n\t}"),
			files:     map[string]string{"accounts.txt": accountsFile()},
		})
		kept, token := signIn(t, s), signIn(t, s)
		answered := make(chan answer, 1)
		go func() {
			a, err := tryCall(t, "GET", s.URL("/slow"), "", "X-Session-Token: "+token)
			if err != nil {
				a.body = err.Error()
			}
			answered <- a
		}()
		select {
		case <-arrived:
		case a := <-answered:
			t.Fatalf("answered before the app was asked: %d %s", a.status, a.body)
		}
		client.CloseIdleConnections() // one that was never used holds Caddy up for 5 s
		s.terminate()
		eventually(t, "caddy to wait", func() bool { return s.logs.contains("grace period initiated") })
		close(release)
		a := <-answered
		if a.status != 200 || a.body != "user "+account {
			t.Errorf("status %d, body %.60q", a.status, a.body)
		}
		s.wantCleanEnd()

		// The session that was made at the very end is there after the start.
		s.Restart()
		for name, header := range map[string]string{"another": "X-Session-Token: " + kept, "the new": "Cookie: " + cookieHeader(a)} {
			if got := whoami(t, s, header); got != 200 {
				t.Errorf("%s session: %d", name, got)
			}
		}
	})
}

// TestShutdownEndsStreams ends Caddy while streams are open: they go on for the
// grace period, and end with it. What is pending stays, and the files are whole.
func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	store := redisStore(redis) + "\n\t\tdurable_logout {\n\t\t\tjournal {$DIR}/pending.db\n\t\t}"
	site := "handle /app/* {\n session_auth\n reverse_proxy " + newStreamingApp(t) + "\n }"
	s := start(t, serverOptions{
		caddyfile: withGrace("2s", store, site),
		files:     map[string]string{"accounts.txt": accountsFile()},
	})
	token, pending := signIn(t, s), signIn(t, s)
	// Those of the configuration before a reload are ended, too. (A WebSocket of
	// that one is closed by reverse_proxy, with the reload.)
	streams := openStreams(t, s, token)[1:]
	s.Reload(withGrace("2s", store, site, "header X-Generation 2"))
	streams = append(streams, openStreams(t, s, token)...)
	wantOpen(t, streams)
	redis.Pause(t)
	eventually(t, "the outage", func() bool { return whoami(t, s, "X-Session-Token: "+pending) == 503 })
	if a := call(t, "DELETE", s.URL("/self-service/logout/api"), "", "Authorization: Bearer "+pending); a.status != 202 {
		t.Fatalf("logout: %d", a.status)
	}

	client.CloseIdleConnections()
	since := time.Now()
	s.terminate()
	wantClosed(t, streams, since)
	s.wantCleanEnd()
	if took := time.Since(since); took < time.Second {
		t.Errorf("ended after %v: streams had no grace period", took)
	}
	wantIntact(t, filepath.Join(s.dir, "pending.db"))

	redis.Resume(t)
	s.Restart()
	eventually(t, "the session to be there", func() bool { return whoami(t, s, "X-Session-Token: "+token) == 200 })
	eventually(t, "the logout to be done", func() bool {
		return pendingLogouts(t, s) == "0" && whoami(t, s, "X-Session-Token: "+pending) == 401
	})
}

// TestShutdownFreesTheFile ends Caddy right after a reload, and starts another
// on its file.
func TestShutdownFreesTheFile(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	token := signIn(t, s)
	for i := range 3 {
		s.Reload(caddyfile(embeddedStore, fmt.Sprintf("header X-Generation %d", i)))
	}
	client.CloseIdleConnections()
	s.terminate()
	s.wantCleanEnd()
	if strings.Contains(s.Logs(), "closing session store failed") {
		t.Error("the store was not closed well")
	}
	wantIntact(t, filepath.Join(s.dir, "sessions.db"))
	s.Restart()
	if got := whoami(t, s, "X-Session-Token: "+token); got != 200 {
		t.Errorf("the session: %d", got)
	}
}
