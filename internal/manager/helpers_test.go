package manager

import (
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/formats/native"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/boltstore"
	"github.com/caddy-logout/caddy-logout/store/redisstore"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// testManager is a manager on an embedded store, with a clock that the test moves.
type testManager struct {
	*Manager
	mu    sync.Mutex
	clock time.Time
}

func newTestManager(t *testing.T, configure func(*Config)) *testManager {
	t.Helper()
	m := &testManager{clock: time.Now().Truncate(time.Second)}
	config := Config{Format: native.New("ory_kratos_session"), Lifespan: 24 * time.Hour, MaxSessions: 100, Logger: zap.NewNop(), Clock: m.time}
	config.Audit = telemetry.NewAudit(config.Logger, nil, m.time)
	if configure != nil {
		configure(&config)
	}
	m.Manager = New(config)
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"), m.time, zap.NewNop)
	storetest.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	m.use(&Opened{Store: store})
	return m
}

func (m *testManager) advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = m.clock.Add(d)
}

func (m *testManager) time() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clock
}

// use gives a manager what is open.
func (m *testManager) use(open *Opened) {
	m.OpenStore = func() (*Opened, error) { return open, nil }
}

// useClock has a manager go by another clock.
func (m *testManager) useClock(now func() time.Time) { m.Clock = now }

// signIn makes a session.
func (m *testManager) signIn(t *testing.T, identity, traits string) (session.Credential, *session.Session) {
	t.Helper()
	c, s, err := m.Issue(t.Context(), NewSession{Identity: identity, Traits: json.RawMessage(traits), Method: "password"})
	storetest.NoError(t, err)
	return c, s
}

func (m *testManager) wantLive(t *testing.T, c session.Credential, want bool) {
	t.Helper()
	found, err := m.Lookup(t.Context(), c)
	storetest.NoError(t, err)
	if live := found.Session != nil; live != want {
		t.Fatalf("live %v, want %v", live, want)
	}
}

func idleAfter(d time.Duration) func(*Config) {
	return func(c *Config) { c.IdleTimeout = d }
}

// openRedis opens a store whose timeout no busy machine meets.
func openRedis(addr string, now func() time.Time) *redisstore.Store {
	const unhurried = 10 * time.Second
	return redisstore.Open(redisstore.Options{
		Network: "tcp", Addresses: []string{addr}, KeyPrefix: "caddy-logout:",
		Timeout: unhurried, DialTimeout: unhurried, ReadTimeout: unhurried, WriteTimeout: unhurried,
		Now: now, Logger: func(string) *zap.Logger { return zap.NewNop() },
	})
}
