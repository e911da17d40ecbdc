package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// bench is one run.
type bench struct {
	*rig.Rig
	o        *options
	self     string
	caddy    string
	redis    *rig.Redis
	upstream *rig.Process
	client   *redis.Client
	// unavailable counts the responses 503 of the run.
	unavailable int
	// cacheOff turns the near cache off; empty if this Caddy has none.
	cacheOff string
}

// newBench starts the servers that all sections need.
func newBench(ctx context.Context, o *options) (*bench, error) {
	b := &bench{o: o}
	var err error
	if b.caddy, err = rig.FindCaddy(o.caddy); err != nil {
		return nil, err
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.Rig, err = rig.New("bench"); err != nil {
		return nil, err
	}
	if err := b.startAll(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) startAll(ctx context.Context) error {
	var err error
	if b.redis, err = b.StartRedis(ctx, "--appendonly", "no"); err != nil {
		return err
	}
	b.client = redis.NewClient(&redis.Options{Addr: b.redis.Addr, ReadTimeout: time.Minute})
	if b.upstream, err = b.Role(ctx, "upstream"); err != nil {
		return err
	}
	const off = "near_cache off"
	if b.adapts(ctx, b.gate(off)) {
		b.cacheOff = off
	}
	return nil
}

// close ends everything.
func (b *bench) close() {
	if b.client != nil {
		_ = b.client.Close()
	}
	b.Close(false)
}

// proxy is the same in every Caddyfile. Caddy keeps 32 idle connections to an
// upstream; with more requests than that at once it would dial all the time.
func (b *bench) proxy() string {
	return "reverse_proxy " + b.upstream.Addr + " {\n" + transport + "}\n"
}

const transport = "transport http {\nkeepalive_idle_conns_per_host 256\n}\n"

// gate is a site with logout and gate, and options for the global block.
func (b *bench) gate(options string) rig.Site {
	return rig.Site{
		Global: "sessions {\nstore redis " + b.redis.Addr + "\n" + options + "\n}\n",
		Site:   "logout\nsession_auth /app/*\n" + b.proxy(),
	}
}

// bare is a site that only proxies.
func (b *bench) bare() rig.Site { return rig.Site{Site: b.proxy()} }

// forwardAuth is a site with forward_auth and a checker.
func (b *bench) forwardAuth(checker *rig.Process) rig.Site {
	return rig.Site{Site: "forward_auth " + checker.Addr + " {\nuri /check\ncopy_headers X-User-Id\n" +
		transport + "}\n" + b.proxy()}
}

// adapts reports whether this Caddy takes a Caddyfile.
func (b *bench) adapts(ctx context.Context, site rig.Site) bool {
	cmd := exec.CommandContext(ctx, b.caddy, "adapt", "--adapter", "caddyfile", "--config", "-")
	cmd.Stdin = strings.NewReader(site.Caddyfile("off", "127.0.0.1:1"))
	cmd.Dir = b.Dir
	return cmd.Run() == nil
}

// startCaddy starts a Caddy with one site.
func (b *bench) startCaddy(ctx context.Context, site rig.Site) (*rig.Caddy, error) {
	return b.StartCaddy(ctx, b.caddy, site)
}

// hello is the app's page.
const hello = "hello"

// upstreamMain is the app behind the proxies.
func upstreamMain(ctx context.Context, args []string) error {
	return serve(ctx, args[0], func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(hello))
	})
}

// checkerMain is the checker behind forward_auth, as lean as possible: one GET, whose
// result it ignores.
func checkerMain(ctx context.Context, args []string) error {
	client := redis.NewClient(&redis.Options{Addr: args[1]})
	defer client.Close()
	return serve(ctx, args[0], func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie(rig.Cookie)
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
	done, err := rig.Serve(ctx, addr, server)
	if err != nil {
		return err
	}
	return <-done
}
