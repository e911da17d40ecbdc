package caddylogout

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/formats/native"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/boltstore"
)

// testApp is an app on a real embedded store, whose clock stands still until the test
// moves it.
type testApp struct {
	*App
	*web.Site
	mu    sync.Mutex
	clock time.Time
	file  string // of the embedded store
}

func (a *testApp) advance(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clock = a.clock.Add(d)
}

func (a *testApp) time() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.clock
}

// newTestApp provisions an app as Caddy would, and opens its store under the
// test's clock.
func newTestApp(t testing.TB, configure func(*App)) *testApp {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sessions.db")
	a := &testApp{App: new(App), clock: time.Now().Truncate(time.Second), file: file}
	raw, err := json.Marshal(map[string]string{"module": "embedded", "file": file})
	if err != nil {
		t.Fatal(err)
	}
	a.StoreRaw = raw
	if configure != nil {
		configure(a.App)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := a.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	a.Site = a.App.site
	a.useClock(a.time)
	a.logTo(zap.NewNop())
	store, err := boltstore.Open(file, a.time, zap.NewNop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	a.use(&manager.Opened{Store: store})
	return a
}

// logTo has an app write to another logger.
func (a *App) logTo(logger *zap.Logger) {
	a.logger, a.auditLog = logger, telemetry.NewAudit(logger, nil, a.now)
	a.site.Manager.Logger, a.site.Manager.Audit = a.logger, a.auditLog
}

// useClock has an app go by another clock.
func (a *App) useClock(now func() time.Time) {
	a.clock, a.site.Manager.Clock = now, now
}

// appForBench is an app without a configuration; its store comes by use.
func appForBench() *testApp {
	site := web.New(web.Config{Cookie: web.Cookie{Name: web.DefaultCookieName}}, manager.New(manager.Config{
		Format: native.New(web.DefaultCookieName), Lifespan: time.Hour, Clock: time.Now, Logger: zap.NewNop(),
	}))
	return &testApp{App: &App{site: site}, Site: site}
}

// use gives an app an open store.
func (a *App) use(open *manager.Opened) {
	a.site.OpenStore = func() (*manager.Opened, error) { return open, nil }
	a.site.Measured.Store(open.Cache)
}

// open returns the open store.
func (a *App) open() *manager.Opened {
	open, _ := a.site.OpenStore()
	return open
}

// reopen changes the open store from the next request on.
func (a *App) reopen(change func(*manager.Opened)) {
	open := *a.open()
	change(&open)
	a.use(&open)
}

// signIn makes a session.
func (a *testApp) signIn(t testing.TB, identity, traits string) (session.Credential, *session.Session) {
	t.Helper()
	c, s, err := a.Issue(t.Context(), manager.NewSession{Identity: identity, Traits: json.RawMessage(traits), Method: "password"})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// newRequest makes a request as Caddy hands it to handlers. Each header is a
// line like "Name: value".
func newRequest(t *testing.T, method, target string, headers ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for _, line := range headers {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("header line %q", line)
		}
		r.Header[http.CanonicalHeaderKey(name)] = append(r.Header[http.CanonicalHeaderKey(name)], value)
	}
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "192.0.2.7"})
	ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, *r)
	return r.WithContext(ctx)
}

// trust marks a request as one that a trusted proxy sent on.
func trust(r *http.Request, trusted bool) {
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, trusted)
}

// sessionCookieLine is a Cookie header with the session cookie.
func sessionCookieLine(c session.Credential) string {
	return "Cookie: " + web.DefaultCookieName + "=" + c.Secret()
}

// serve sends a request through a handler and to next behind it, if it gets there.
func serve(t *testing.T, h caddyhttp.MiddlewareHandler, r *http.Request, next caddyhttp.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if next == nil {
		next = func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusTeapot); return nil }
	}
	if err := h.ServeHTTP(w, r, next); err != nil {
		t.Fatalf("handler: %v", err)
	}
	return w
}

// awayStore is an unavailable store.
type awayStore struct{ session.Store }

var errAway = errors.Join(session.ErrUnavailable, errors.New("away on purpose"))

func (awayStore) Get(context.Context, session.Key) (session.Record, error) {
	return session.Record{}, errAway
}

func (awayStore) GetWithUse(context.Context, session.Key) (session.Record, error) {
	return session.Record{}, errAway
}

func (awayStore) GetMany(context.Context, []session.Key) ([]session.Record, error) {
	return nil, errAway
}
func (awayStore) Create(context.Context, session.Key, session.Entry) error   { return errAway }
func (awayStore) Keys(context.Context, string) ([]session.IndexedKey, error) { return nil, errAway }
func (awayStore) PutError(context.Context, string, []byte, time.Time) error {
	return errAway
}

func (awayStore) Revoke(context.Context, session.Key, string, time.Time, time.Time) (bool, error) {
	return false, errAway
}

// takeStoreAway makes the store fail, and returns how to bring it back. The journal
// may use the store meanwhile.
func (a *testApp) takeStoreAway() (bringBack func()) {
	open, back := a.OpenStore, new(atomic.Bool)
	there, err := open()
	away := manager.Opened{Store: awayStore{}}
	if err == nil {
		away = *there
		away.Store = awayStore{}
	}
	a.OpenStore = func() (*manager.Opened, error) {
		if back.Load() {
			return open()
		}
		return &away, nil
	}
	return func() { back.Store(true) }
}

func TestAppValidate(t *testing.T) {
	tests := map[string]struct {
		app  *App
		want string
	}{
		"lifespan negative":       {&App{Lifespan: -1}, "lifespan"},
		"lifespan over ten years": {&App{Lifespan: caddy.Duration(manager.MaxLifespan) + 1}, "lifespan"},
		"idle longer than life":   {&App{Lifespan: 1, IdleTimeout: 2}, "idle_timeout"},
		"base URL with path":      {&App{Lifespan: 1, BaseURL: "https://a.example/x"}, "base_url"},
		"base URL with user":      {&App{Lifespan: 1, BaseURL: "https://u@a.example"}, "base_url"},
		"base URL without scheme": {&App{Lifespan: 1, BaseURL: "a.example"}, "base_url"},
		"prefix without slash":    {&App{Lifespan: 1, Prefix: "ory"}, "prefix"},
		"prefix with slash after": {&App{Lifespan: 1, Prefix: "/ory/"}, "prefix"},
		"prefix encoded":          {&App{Lifespan: 1, Prefix: "/o%72y"}, "prefix"},
		"error UI of a script":    {&App{Lifespan: 1, ErrorUI: "javascript:alert(1)"}, "error_ui"},
		"cookie name":             {&App{Lifespan: 1, Cookie: web.Cookie{Name: "a b"}}, "cookie: name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.app.Validate()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error about %s", err, test.want)
			}
		})
	}
}

func TestCleanupGivesBackOnlyWhatWasTaken(t *testing.T) {
	store := &EmbeddedStore{File: filepath.Join(t.TempDir(), "sessions.db")}
	a := &App{storeModule: store, site: web.New(web.Config{}, manager.New(manager.Config{Store: store}))}
	if _, _, err := manager.Stores.LoadOrNew(a.storeModule.PoolKey(), func() (caddy.Destructor, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = manager.Stores.Delete(a.storeModule.PoolKey()) })
	// Caddy cleans up an app whose Provision failed: it never took the store.
	if err := a.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if n, _ := manager.Stores.References(a.storeModule.PoolKey()); n != 1 {
		t.Errorf("%d references to the live configuration's store, want 1", n)
	}
}
