// Package manager finds, makes, lists and ends sessions. It holds what a session has in
// this process: the open store, the near cache, the requests that are being served, the
// uses, and the journal of pending logouts.
package manager

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/formats/native"
	"github.com/caddy-logout/caddy-logout/internal/journal"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// Config is what a configuration says of sessions.
type Config struct {
	Store       session.StoreModule
	Format      native.Format
	Lifespan    time.Duration
	IdleTimeout time.Duration // 0: none
	MaxSessions int           // of a person; 0: any number
	Cache       CacheConfig
	JournalFile string // the file of pending logouts; empty: none
	Logger      *zap.Logger
	Audit       *telemetry.Audit
	Clock       func() time.Time
}

// Manager finds, makes, lists and ends the sessions of one configuration.
type Manager struct {
	Config

	// OpenStore opens the store when it is called first, by [Manager.Start] or by a
	// request that comes before it, and returns the same ever after. Its error wraps
	// [session.ErrUnavailable].
	OpenStore func() (*Opened, error)
	taken     taken
	Measured  atomic.Pointer[nearcache.Cache] // the near cache, for those that must not open it
	Journal   atomic.Pointer[journal.Journal] // set with the store; a scrape may come before
	Replayer  *journal.Replayer
}

// New returns a manager whose store is not open yet.
func New(config Config) *Manager {
	m := &Manager{Config: config}
	m.OpenStore = sync.OnceValues(m.TakeStore)
	return m
}

// Start opens the store, so that one that cannot be opened fails the load and not the
// first request.
func (m *Manager) Start() error {
	_, err := m.OpenStore()
	return err
}

// record records an event that no client has asked for just now.
func (m *Manager) record(e telemetry.Entry) { m.Audit.Record(context.Background(), "", e) }

// IdleAfter implements [streams.Judge].
func (m *Manager) IdleAfter() time.Duration { return m.IdleTimeout }

// Now is the time by its clock.
func (m *Manager) Now() time.Time { return m.Clock() }

// MaxLifespan bounds a session's life, so that no sum of times overflows.
const MaxLifespan = 10 * 365 * 24 * time.Hour
