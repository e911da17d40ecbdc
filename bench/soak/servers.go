//go:build !windows

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// node is one Caddy.
type node struct {
	*rig.Caddy
	name     string
	group    *group
	accounts string
	sessions string // the block of the global option
	app      string
	client   *http.Client

	generation int
	// life is odd while the process is up, and counts its starts and ends.
	life atomic.Int64
}

// write writes the Caddyfile, a little different each time.
func (n *node) write() error {
	n.generation++
	return n.Configure(rig.Site{
		Global: "sessions {\nmax_sessions off\n" + n.sessions + "\n}\n",
		Site: fmt.Sprintf("header X-Generation %d\nlogout\nlogin {\naccounts %s\n}\nsession_auth /app/*\nreverse_proxy %s\n",
			n.generation, n.accounts, n.app),
	})
}

// start starts the Caddy and waits until it serves.
func (n *node) start(ctx context.Context) error {
	if err := n.write(); err != nil {
		return err
	}
	if err := n.Start(ctx, func() bool { return n.serves(ctx) }); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	n.life.Add(1)
	return nil
}

// serves reports whether both of its listeners answer.
func (n *node) serves(ctx context.Context) bool {
	for _, url := range []string{n.AdminURL("/sessions/liveness"), n.URL("/self-service/login/api")} {
		status, _, err := rig.Fetch(ctx, url)
		if err != nil || status != http.StatusOK {
			return false
		}
	}
	return true
}

// ready reports whether its store is available.
func (n *node) ready(ctx context.Context) bool {
	status, _, err := rig.Fetch(ctx, n.AdminURL("/sessions/readiness"))
	return err == nil && status == http.StatusOK
}

// kill ends the Caddy as a power cut would.
func (n *node) kill() {
	n.life.Add(1)
	n.Process().End(syscall.SIGKILL)
}

// reload has it load a changed configuration.
func (n *node) reload(ctx context.Context) error {
	if err := n.write(); err != nil {
		return err
	}
	if err := n.Reload(ctx); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

// serveApp is the app: a page that names the person, and endless events.
func serveApp(ctx context.Context) (addr string, closeApp func(), err error) {
	if addr, err = rig.FreeAddr(ctx); err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/app/page", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "user "+r.Header.Get("X-User-Id"))
	})
	mux.HandleFunc("/app/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(w, "data: tick\n\n"); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	})
	// It goes on until it is closed: the last checks need it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done, err := rig.Serve(ctx, addr, &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute})
	return addr, func() {
		cancel()
		if err := <-done; err != nil {
			fmt.Fprintln(os.Stderr, "soak: the app:", err)
		}
	}, err
}
