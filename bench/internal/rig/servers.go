package rig

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Redis is a Redis server.
type Redis struct {
	*Process
	rig     *Rig
	program Program
}

// StartRedis starts a Redis. By its options it keeps its data or not.
func (r *Rig) StartRedis(ctx context.Context, options ...string) (*Redis, error) {
	addr, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	redis := &Redis{rig: r, program: Program{
		Path: "redis-server",
		Args: append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", r.Dir}, options...),
		Addr: addr, Dir: r.Dir, Log: filepath.Join(r.Dir, "redis.log"),
		Up: func() bool { return answers(addr) },
	}}
	if err := redis.Restart(ctx); err != nil {
		return nil, err
	}
	return redis, nil
}

// Restart starts a Redis that has ended, with its address and its data.
func (r *Redis) Restart(ctx context.Context) error {
	p, err := r.rig.Start(ctx, r.program)
	if err != nil {
		return fmt.Errorf("%w (apt-get install redis-server)", err)
	}
	r.Process = p
	return nil
}

// answers reports whether a Redis has its data and answers.
func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(conn, "PING\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, "+PONG")
}

// Site is a Caddyfile with one site.
type Site struct {
	// Global goes into the block of global options, Site into that of the site.
	Global, Site string
}

// Caddyfile returns it for an admin endpoint and an address to listen on. The site
// takes any Host: Caddy answers other hosts with an empty page.
func (s Site) Caddyfile(admin, addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return "{\nadmin " + admin + "\nauto_https off\npersist_config off\nservers {\nprotocols h1\n}\n" + s.Global +
		"}\nhttp://:" + port + " {\nbind 127.0.0.1\n" + s.Site + "}\n"
}

// Caddy is a Caddy server, with addresses that it keeps when it is started again.
type Caddy struct {
	// Addr is where it serves, Admin its admin endpoint.
	Addr, Admin string

	rig     *Rig
	program Program
	process atomic.Pointer[Process]
}

// NewCaddy makes a Caddy that runs the program at path, with a folder of its own of
// that name. It adds env to its environment.
func (r *Rig) NewCaddy(ctx context.Context, path, name string, env ...string) (*Caddy, error) {
	dir := filepath.Join(r.Dir, name)
	c := &Caddy{rig: r, program: Program{Path: path, Dir: dir, Log: filepath.Join(dir, "caddy.log"), Env: env}}
	c.program.Args = []string{"run", "--adapter", "caddyfile", "--config", c.caddyfile()}
	var err error
	if c.Addr, err = FreeAddr(ctx); err != nil {
		return nil, err
	}
	if c.Admin, err = FreeAddr(ctx); err != nil {
		return nil, err
	}
	c.program.Addr = c.Addr
	return c, os.Mkdir(dir, 0o700)
}

// StartCaddy starts a Caddy with a site, and waits until it listens.
func (r *Rig) StartCaddy(ctx context.Context, path string, site Site) (*Caddy, error) {
	c, err := r.NewCaddy(ctx, path, r.unique("caddy"))
	if err != nil {
		return nil, err
	}
	if err := c.Configure(site); err != nil {
		return nil, err
	}
	return c, c.Start(ctx, nil)
}

func (c *Caddy) caddyfile() string { return filepath.Join(c.program.Dir, "Caddyfile") }

// Configure writes its Caddyfile.
func (c *Caddy) Configure(site Site) error {
	return os.WriteFile(c.caddyfile(), []byte(site.Caddyfile(c.Admin, c.Addr)), 0o600)
}

// Start starts it and waits until it is up; a nil up means that it listens.
func (c *Caddy) Start(ctx context.Context, up func() bool) error {
	program := c.program
	program.Up = up
	p, err := c.rig.Start(ctx, program)
	if err == nil {
		c.process.Store(p)
	}
	return err
}

// Reload has it load its Caddyfile.
func (c *Caddy) Reload(ctx context.Context) error {
	// The end of the run does not cut a reload short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.program.Path, "reload", "--adapter", "caddyfile", "--config", c.caddyfile(), "--address", c.Admin)
	cmd.Env, cmd.Dir = c.program.environ(), c.program.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("caddy reload: %w\n%s", err, out)
	}
	return nil
}

// Process returns the process that was started last.
func (c *Caddy) Process() *Process { return c.process.Load() }

// Stop ends it.
func (c *Caddy) Stop() { c.Process().Stop() }

// Log names the file with its log.
func (c *Caddy) Log() string { return c.program.Log }

// URL returns the URL of a path on it.
func (c *Caddy) URL(path string) string { return "http://" + c.Addr + path }

// AdminURL returns the URL of a path on its admin endpoint.
func (c *Caddy) AdminURL(path string) string { return "http://" + c.Admin + path }

// watcher opens a connection for each request.
var watcher = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Fetch gets the body of a URL.
func Fetch(ctx context.Context, url string) (status int, body []byte, err error) {
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

var (
	heapAlloc  = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)
	goroutines = regexp.MustCompile(`^goroutine profile: total (\d+)`)
)

// Heap returns the bytes that are alive on its heap, after a collection.
func (c *Caddy) Heap(ctx context.Context) (float64, error) {
	return c.profiled(ctx, "heap?gc=1&debug=1", heapAlloc)
}

// Goroutines returns the number of its goroutines.
func (c *Caddy) Goroutines(ctx context.Context) (float64, error) {
	return c.profiled(ctx, "goroutine?debug=1", goroutines)
}

func (c *Caddy) profiled(ctx context.Context, profile string, find *regexp.Regexp) (float64, error) {
	_, text, err := Fetch(ctx, c.AdminURL("/debug/pprof/"+profile))
	if err != nil {
		return 0, err
	}
	m := find.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("the profile %s has no such number", profile)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
