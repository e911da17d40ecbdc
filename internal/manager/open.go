package manager

import (
	"errors"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/storehealth"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/session"
)

// Opened is an open store with all that a request needs beside it. It is made at
// once and never changes: Caddy starts apps in no order, so requests may be served
// while the sessions app starts, and one of them may open the store.
type Opened struct {
	session.Store
	Cache   *nearcache.Cache // nil: none
	Streams *streams.Streams
	Reports *notifications
	Health  *storehealth.Monitor
	Uses    *Uses
}

// taken is what an app has to give back.
type taken struct {
	mu        sync.Mutex      // a request may open the store while Caddy cleans up
	source    *streams.Source // nil: no store was taken
	cache     bool
	unwatch   func() // with source
	cleanedUp bool
}

// Stores holds the open stores by their pool key, so that a reload hands an
// open store on to the next configuration.
var Stores = caddy.NewUsagePool()

// ErrClosed refuses what would never be given back.
var ErrClosed = errors.New("this configuration is no longer used")

// TakeStore opens the store, or takes on the one that is open already.
func (m *Manager) TakeStore() (*Opened, error) {
	open, err := m.take()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return open, nil
}

func (m *Manager) take() (*Opened, error) {
	m.taken.mu.Lock()
	defer m.taken.mu.Unlock()
	// The load of this configuration has failed, and a request of it is still
	// being served.
	if m.taken.cleanedUp {
		return nil, ErrClosed
	}
	value, _, err := Stores.LoadOrNew(m.Store.PoolKey(), func() (caddy.Destructor, error) {
		store, err := m.Store.Open()
		if err != nil {
			return nil, err
		}
		return newPooledStore(store, placeOf(m.Store)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the session store: %w", err)
	}
	pooled := value.(*pooledStore)
	pooled.source.Use()
	m.taken.source, m.taken.unwatch = pooled.source, pooled.uses.watch(m.IdleTimeout)
	open := &Opened{
		Store: pooled.Store, Streams: pooled.source.Streams, Reports: pooled.reports, Health: pooled.health, Uses: pooled.uses,
	}
	if open.Cache, err = m.takeCache(pooled.reports); err != nil {
		return nil, err
	}
	// With the store, not after it: other apps may serve before this one has
	// started, and what is pending has to be refused from the first request on.
	if err := m.startJournal(); err != nil {
		return nil, err
	}
	return open, nil
}

// Close gives back what this manager took, and nothing else, and late: requests of its
// configuration are still being served.
func (m *Manager) Close() {
	m.stopJournal()
	m.taken.mu.Lock()
	source, cache, unwatch := m.taken.source, m.taken.cache, m.taken.unwatch
	m.taken.source, m.taken.cache, m.taken.cleanedUp = nil, false, true
	m.taken.mu.Unlock()
	if source == nil {
		return
	}
	source.Drop()
	key, logger := m.Store.PoolKey(), m.Logger
	deferred.Closes.Later(func() {
		if cache { // it subscribes to the store
			m.giveBackCache()
		}
		unwatch()
		source.GiveBack(func() {
			if _, err := Stores.Delete(key); err != nil {
				logger.Error("closing session store failed", zap.Error(err))
			}
		})
	})
}

// IsRemote reports whether the store is a server, which can be unavailable.
func (m *Manager) IsRemote() bool {
	_, remote := m.Store.(session.Remote)
	return remote
}
