//go:build !windows

// This file holds the servers of a run: Redis with a log of all that it has
// acknowledged, the app behind the proxies, and the Caddys.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// startWithin is how long a server may take to be up, on a machine that is busy.
const startWithin = time.Minute

// redisServer is a Redis that keeps what it has acknowledged: it is synced to
// the disk before the answer is sent.
type redisServer struct {
	addr, dir string
	*process
}

func (r *redisServer) start(ctx context.Context) error {
	_, port, _ := net.SplitHostPort(r.addr)
	p, err := startProcess(r.dir, filepath.Join(r.dir, "redis.log"), os.Environ(), "redis-server", "--port", port,
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir", r.dir)
	if err != nil {
		return fmt.Errorf("%w (apt-get install redis-server)", err)
	}
	r.process = p
	if err := p.until(ctx, startWithin, r.answers); err != nil {
		return fmt.Errorf("redis-server %w", err)
	}
	return nil
}

// answers reports whether Redis has its data and answers.
func (r *redisServer) answers() bool {
	conn, err := net.DialTimeout("tcp", r.addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(conn, "PING\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, "+PONG")
}

// node is one Caddy.
type node struct {
	name        string
	group       *group
	addr, admin string
	dir         string
	caddy       string
	env         []string
	sessions    string // the block of the global option
	app         string
	client      *http.Client

	proc       atomic.Pointer[process]
	generation int
	// life is odd while the process is up, and counts its starts and ends.
	life atomic.Int64
}

// write writes the Caddyfile, a little different each time.
func (n *node) write() error {
	_, port, _ := net.SplitHostPort(n.addr)
	n.generation++
	text := fmt.Sprintf(`{
	admin %s
	auto_https off
	persist_config off
	servers {
		protocols h1
	}
	sessions {
		max_sessions off
		%s
	}
}
http://:%s {
	bind 127.0.0.1
	header X-Generation %d
	logout
	login {
		accounts %s
	}
	session_auth /app/*
	reverse_proxy %s
}
`, n.admin, n.sessions, port, n.generation, filepath.Join(n.dir, "..", "accounts"), n.app)
	return os.WriteFile(n.caddyfile(), []byte(text), 0o600)
}

func (n *node) caddyfile() string { return filepath.Join(n.dir, "Caddyfile") }
func (n *node) log() string       { return filepath.Join(n.dir, "caddy.log") }

// start starts the Caddy and waits until it serves.
func (n *node) start(ctx context.Context) error {
	if err := n.write(); err != nil {
		return err
	}
	p, err := startProcess(n.dir, n.log(), n.environ(), n.caddy, "run", "--adapter", "caddyfile", "--config", n.caddyfile())
	if err != nil {
		return err
	}
	n.proc.Store(p)
	if err := p.until(ctx, startWithin, func() bool { return n.serves(ctx) }); err != nil {
		return fmt.Errorf("caddy %s %w; its log is %s", n.name, err, n.log())
	}
	n.life.Add(1)
	return nil
}

// environ gives the Caddy a home of its own.
func (n *node) environ() []string {
	return append(append(os.Environ(), "HOME="+n.dir, "XDG_CONFIG_HOME="+n.dir, "XDG_DATA_HOME="+n.dir), n.env...)
}

// serves reports whether both of its listeners answer.
func (n *node) serves(ctx context.Context) bool {
	for _, url := range []string{n.adminURL("/sessions/liveness"), n.url("/self-service/login/api")} {
		status, _, err := fetch(ctx, url)
		if err != nil || status != http.StatusOK {
			return false
		}
	}
	return true
}

// ready reports whether it can ask its store.
func (n *node) ready(ctx context.Context) bool {
	status, _, err := fetch(ctx, n.adminURL("/sessions/readiness"))
	return err == nil && status == http.StatusOK
}

// kill ends the Caddy as a power cut would.
func (n *node) kill() {
	n.life.Add(1)
	n.proc.Load().end(syscall.SIGKILL)
}

// reload has it load a configuration that has changed.
func (n *node) reload(ctx context.Context) error {
	if err := n.write(); err != nil {
		return err
	}
	// One that has begun is not cut short by the end of the run.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.caddy, "reload", "--adapter", "caddyfile", "--config", n.caddyfile(), "--address", n.admin)
	cmd.Env, cmd.Dir = n.environ(), n.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("caddy reload of %s: %w\n%s", n.name, err, out)
	}
	return nil
}

func (n *node) url(path string) string      { return "http://" + n.addr + path }
func (n *node) adminURL(path string) string { return "http://" + n.admin + path }

// watcher asks admin endpoints, over a connection of its own each time.
var watcher = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func fetch(ctx context.Context, url string) (status int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := watcher.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// serveApp is the app: a page that says who is asking, and events without end.
func serveApp(ctx context.Context) (addr string, closeApp func(), err error) {
	if addr, err = freeAddr(ctx); err != nil {
		return "", nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
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
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "soak: the app:", err)
		}
	}()
	return addr, func() { _ = server.Close(); <-ended }, nil
}
