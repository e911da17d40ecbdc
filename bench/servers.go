// This file holds the servers of a run: Redis, the app behind the proxy, the
// checker that forward_auth asks, and the Caddys with their Caddyfiles.

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// bench is one run.
type bench struct {
	own
	o         *options
	dir       string
	self      string
	caddy     string
	processes []*process
	redis     *process
	upstream  *process
	client    *redis.Client
	// unavailable counts the requests of the run that were answered 503.
	unavailable int
	// cacheOff turns the near cache off; empty if this Caddy has none.
	cacheOff string
}

// newBench starts what all sections need.
func newBench(ctx context.Context, o *options) (*bench, error) {
	b := &bench{o: o}
	var err error
	if b.caddy, err = filepath.Abs(o.caddy); err != nil {
		return nil, err
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "caddy-logout-bench-"); err != nil {
		return nil, err
	}
	if err := b.startAll(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) startAll(ctx context.Context) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	b.redis, err = b.start(ctx, addr, "redis-server", "--port", port, "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", b.dir)
	if err != nil {
		return fmt.Errorf("%w (apt-get install redis-server)", err)
	}
	b.client = redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: time.Minute})
	if b.upstream, err = b.role(ctx, "upstream"); err != nil {
		return err
	}
	if _, err := os.Stat(b.caddy); err != nil {
		return fmt.Errorf("%w (make build)", err)
	}
	const off = "near_cache off"
	if b.adapts(ctx, b.gate(off)) {
		b.cacheOff = off
	}
	return nil
}

// role starts this program as one of its servers.
func (b *bench) role(ctx context.Context, name string, args ...string) (*process, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	return b.start(ctx, addr, b.self, append([]string{name, addr}, args...)...)
}

// close ends everything.
func (b *bench) close() {
	for _, p := range b.processes {
		b.stop(p)
	}
	if b.client != nil {
		_ = b.client.Close()
	}
	_ = os.RemoveAll(b.dir)
}

// proxy is the same in every Caddyfile. Caddy keeps 32 idle connections to an
// upstream; with more requests than that at once it would dial all the time.
func (b *bench) proxy() string {
	return "reverse_proxy " + b.upstream.addr + " {\n" + transport + "}\n"
}

const transport = "transport http {\nkeepalive_idle_conns_per_host 256\n}\n"

// gate is a site with everything that this project does, and options for the
// global block.
func (b *bench) gate(options string) [2]string {
	return [2]string{
		"sessions {\nstore redis " + b.redis.addr + "\n" + options + "\n}\n",
		"logout\nsession_auth /app/*\n" + b.proxy(),
	}
}

// bare is a site that only proxies.
func (b *bench) bare() [2]string { return [2]string{"", b.proxy()} }

// forwardAuth is a site that asks a checker.
func (b *bench) forwardAuth(checker *process) [2]string {
	return [2]string{"", "forward_auth " + checker.addr + " {\nuri /check\ncopy_headers X-User-Id\n" +
		transport + "}\n" + b.proxy()}
}

// caddyfile takes any Host: one that no site is for would be answered by nobody.
func caddyfile(site [2]string, admin, addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return "{\nadmin " + admin + "\nauto_https off\npersist_config off\n" + site[0] +
		"servers {\nprotocols h1\n}\n}\nhttp://:" + port + " {\nbind 127.0.0.1\n" + site[1] + "}\n"
}

// adapts reports whether this Caddy takes a Caddyfile.
func (b *bench) adapts(ctx context.Context, site [2]string) bool {
	cmd := exec.CommandContext(ctx, b.caddy, "adapt", "--adapter", "caddyfile", "--config", "-")
	cmd.Stdin = strings.NewReader(caddyfile(site, "off", "127.0.0.1:1"))
	cmd.Dir = b.dir
	return cmd.Run() == nil
}

// caddyServer is a Caddy that runs.
type caddyServer struct {
	*process
	admin string
}

// startCaddy starts a Caddy with one site.
func (b *bench) startCaddy(ctx context.Context, site [2]string) (*caddyServer, error) {
	return b.startProgram(ctx, b.caddy, site)
}

func (b *bench) startProgram(ctx context.Context, program string, site [2]string) (*caddyServer, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(b.dir, fmt.Sprintf("Caddyfile-%d", len(b.processes)))
	if err := os.WriteFile(name, []byte(caddyfile(site, admin, addr)), 0o600); err != nil {
		return nil, err
	}
	p, err := b.start(ctx, addr, program, "run", "--adapter", "caddyfile", "--config", name)
	if err != nil {
		return nil, err
	}
	return &caddyServer{process: p, admin: admin}, nil
}

// hello is the app's page.
const hello = "hello"

// upstreamMain is the app behind the proxies.
func upstreamMain(ctx context.Context, args []string) error {
	return serve(ctx, args[0], func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(hello))
	})
}

// checkerMain is a service of its own that forward_auth asks, as lean as one can
// be: one GET, and no look at what it returns.
func checkerMain(ctx context.Context, args []string) error {
	client := redis.NewClient(&redis.Options{Addr: args[1]})
	defer client.Close()
	return serve(ctx, args[0], func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie(cookieName)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		key := sha256.Sum256([]byte(cookie.Value))
		err = client.Get(r.Context(), sessionName(hex.EncodeToString(key[:]))).Err()
		switch {
		case errors.Is(err, redis.Nil):
			w.WriteHeader(http.StatusUnauthorized)
		case err != nil:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.Header().Set("X-User-Id", "somebody")
		}
	})
}

func serve(ctx context.Context, addr string, handle http.HandlerFunc) error {
	return serveOn(ctx, addr, &http.Server{Handler: handle, ReadHeaderTimeout: time.Minute})
}

func serveOn(ctx context.Context, addr string, server *http.Server) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
