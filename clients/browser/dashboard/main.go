// Command dashboard makes the picture of docs/grafana-dashboard.json: it runs
// Caddy, Redis and Prometheus on free ports, lets people sign in and out for a
// while, freezes Redis in between, and then draws the panels from what Prometheus
// answers. It draws them itself, in Chromium: it is not Grafana.
//
// This file starts the servers and ends them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// What people sign in with; the hash is bcrypt's, at its lowest cost.
const (
	account  = "alice@example.com"
	password = "correct-horse-battery"
)

const config = `{
	default_bind 127.0.0.1
	admin 127.0.0.1:%[1]s
	persist_config off
	log {
		output discard
	}
	sessions {
		store redis 127.0.0.1:%[2]s
		durable_logout {
			journal %[3]s/pending.db
		}
	}
}
http://127.0.0.1:%[4]s {
	logout
	login {
		accounts %[3]s/accounts.txt
	}
	session_auth
	reverse_proxy %[5]s
}
`

const scrapes = `global:
  scrape_interval: 1s
scrape_configs:
  - job_name: caddy
    static_configs:
      - targets: ["127.0.0.1:%s"]
`

func main() {
	caddy := flag.String("caddy", "../../bin/caddy", "the Caddy to run")
	dashboard := flag.String("dashboard", "../../docs/grafana-dashboard.json", "the dashboard to draw")
	out := flag.String("out", "../../docs/images/dashboard.png", "the picture to write")
	length := flag.Duration("for", 3*time.Minute, "how long people sign in and out")
	flag.Parse()
	if err := run(*caddy, *dashboard, *out, *length); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(caddy, dashboard, out string, length time.Duration) (err error) {
	if caddy, err = filepath.Abs(caddy); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dashboard")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithCancel(context.Background())
	var ports [4]string // admin, redis, site, prometheus
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			cancel()
			return err
		}
	}
	app := startApp()
	defer app.Close()
	hash, err := hashed(ctx, caddy)
	if err != nil {
		cancel()
		return err
	}
	for name, text := range map[string]string{
		"Caddyfile":      fmt.Sprintf(config, ports[0], ports[1], dir, ports[2], app.Listener.Addr()),
		"accounts.txt":   account + ":" + hash + "\n",
		"prometheus.yml": fmt.Sprintf(scrapes, ports[0]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			cancel()
			return err
		}
	}
	var servers []*exec.Cmd
	defer func() {
		cancel()
		for _, server := range servers {
			_ = server.Wait() // killed with the context
		}
	}()
	for _, line := range [][]string{
		{"redis-server", "--port", ports[1], "--bind", "127.0.0.1", "--save", "", "--dir", dir},
		{caddy, "run", "--adapter", "caddyfile", "--config", filepath.Join(dir, "Caddyfile")},
		{
			"prometheus", "--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=127.0.0.1:" + ports[3], "--log.level=error",
		},
	} {
		server := exec.CommandContext(ctx, line[0], line[1:]...)
		server.Dir, server.Stderr = dir, os.Stderr
		server.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		if err := server.Start(); err != nil {
			return err
		}
		servers = append(servers, server)
	}
	site, prometheus := "http://127.0.0.1:"+ports[2], "http://127.0.0.1:"+ports[3]
	for _, address := range []string{"http://127.0.0.1:" + ports[0] + "/sessions/readiness", prometheus + "/-/ready"} {
		if err := answers(ctx, address); err != nil {
			return err
		}
	}
	began := time.Now()
	_, _ = fmt.Printf("people sign in and out at %s for %v\n", site, length)
	freeze := func(frozen bool) error {
		if frozen {
			return servers[0].Process.Signal(syscall.SIGSTOP)
		}
		return servers[0].Process.Signal(syscall.SIGCONT)
	}
	if err := live(ctx, site, length, freeze); err != nil {
		return err
	}
	return draw(ctx, dashboard, prometheus, began, time.Now(), out)
}

// hashed asks Caddy for the hash of the password.
func hashed(ctx context.Context, caddy string) (string, error) {
	out, err := exec.CommandContext(ctx, caddy, "hash-password", "--algorithm", "bcrypt", "--bcrypt-cost", "4", "--plaintext", password).Output()
	if err != nil {
		return "", fmt.Errorf("hash-password: %w", err)
	}
	return string(out[:len(out)-1]), nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends at once
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// answers waits until an address answers 200.
func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", address, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
