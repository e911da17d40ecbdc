package caddylogout

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// TestRequestsBeforeTheSessionsApp serves requests with and without a session while
// the sessions app has not started yet, and while it starts: Caddy starts apps in no
// order. Only the race detector fails it.
func TestRequestsBeforeTheSessionsApp(t *testing.T) {
	for name, store := range map[string]any{
		"embedded": map[string]string{"module": "embedded", "file": filepath.Join(t.TempDir(), "sessions.db")},
		// More than the default timeout, which a busy machine does not keep.
		"redis": map[string]string{"module": "redis", "address": redistest.Start(t).Addr(), "timeout": "10s"},
	} {
		t.Run(name, func(t *testing.T) {
			sessions, site := provisionGate(t, store)
			const clients = 4
			var served, ready sync.WaitGroup
			ready.Add(2 * clients)
			stop := make(chan struct{})
			ask := func(header http.Header) {
				first := true
				for {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, site, http.NoBody)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header = header.Clone()
					resp, err := http.DefaultClient.Do(r)
					if first {
						ready.Done()
						first = false
					}
					if err != nil {
						t.Error(err)
						return
					}
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusUnauthorized {
						t.Errorf("status %d, want 401", resp.StatusCode)
						return
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			}
			for range clients {
				served.Go(func() { ask(http.Header{}) })
				served.Go(func() { ask(http.Header{"Cookie": {web.DefaultCookieName + "=" + session.NewToken()}}) })
			}
			storetest.NoError(t, sessions.Start())
			ready.Wait()
			close(stop)
			served.Wait()
		})
	}
}

// provisionGate provisions a configuration with a gate as Caddy does, starts its
// http app alone, and returns the sessions app and the address of the site.
func provisionGate(t *testing.T, store any) (sessions *App, site string) {
	t.Helper()
	gate := json.RawMessage(`{"handler":"session_auth"}`)
	config := &caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{
			"sessions": caddyconfig.JSON(map[string]any{"store": store}, nil),
			"http": caddyconfig.JSON(caddyhttp.App{Servers: map[string]*caddyhttp.Server{"gate": {
				Listen:    []string{"127.0.0.1:0"},
				AutoHTTPS: &caddyhttp.AutoHTTPSConfig{Disabled: true},
				Routes:    caddyhttp.RouteList{{HandlersRaw: []json.RawMessage{gate}}},
			}}}, nil),
		},
	}
	ctx, err := caddy.ProvisionContext(config)
	storetest.NoError(t, err)
	load := func(name string) any {
		t.Helper()
		app, err := ctx.AppIfConfigured(name)
		storetest.NoError(t, err)
		return app
	}
	sessions = load("sessions").(*App)
	app := load("http").(*caddyhttp.App)
	storetest.NoError(t, app.Start())
	t.Cleanup(func() {
		storetest.NoError(t, app.Stop())
		storetest.NoError(t, sessions.Cleanup())
		deferred.Closes.Flush()
	})
	return sessions, "http://" + app.Servers["gate"].Listeners()[0].Addr().String()
}

// TestOpenAfterCleanup has a request of a configuration whose load failed open the
// store after Caddy has cleaned up: nothing would give it back.
func TestOpenAfterCleanup(t *testing.T) {
	a := newTestApp(t, nil)
	storetest.NoError(t, a.Cleanup())
	if _, err := a.TakeStore(); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if n, open := manager.Stores.References(a.storeModule.PoolKey()); open {
		t.Errorf("%d references to a store that nobody gives back", n)
	}
}
