// This file opens the session store, with what lives as long as it does, hands
// it on through reloads, and gives it back.

package caddylogout

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/storehealth"
	"github.com/caddy-logout/caddy-logout/session"
)

// opened is an open store with all that a request needs beside it. It is made at
// once and never changes: Caddy starts apps in no order, so requests may be served
// while the sessions app starts, and one of them may open the store.
type opened struct {
	session.Store
	cache   *nearcache.Cache // nil: none
	streams *streams
	reports *reports
	health  *storehealth.Monitor
	uses    *uses
}

// taken is what an app has to give back.
type taken struct {
	mu        sync.Mutex    // a request may open the store while Caddy cleans up
	source    *streamSource // nil: no store was taken
	cache     bool
	unwatch   func() // with source
	cleanedUp bool
}

// stores holds the open stores by their pool key, so that a reload hands an
// open store on to the next configuration.
var stores = caddy.NewUsagePool()

// errCleanedUp refuses what would never be given back.
var errCleanedUp = errors.New("this configuration is no longer used")

// takeStore opens the store, or takes on the one that is open already.
func (a *App) takeStore() (*opened, error) {
	open, err := a.take()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return open, nil
}

func (a *App) take() (*opened, error) {
	a.taken.mu.Lock()
	defer a.taken.mu.Unlock()
	// The load of this configuration has failed, and a request of it is still
	// being served.
	if a.taken.cleanedUp {
		return nil, errCleanedUp
	}
	value, _, err := stores.LoadOrNew(a.storeModule.PoolKey(), func() (caddy.Destructor, error) {
		store, err := a.storeModule.Open()
		if err != nil {
			return nil, err
		}
		return newPooledStore(store, placeOf(a.storeModule)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the session store: %w", err)
	}
	pooled := value.(*pooledStore)
	pooled.source.use()
	a.taken.source, a.taken.unwatch = pooled.source, pooled.source.uses.watch(time.Duration(a.IdleTimeout))
	open := &opened{
		Store: pooled.Store, streams: pooled.source.streams, reports: pooled.reports, health: pooled.health, uses: pooled.source.uses,
	}
	if open.cache, err = a.takeCache(pooled.reports); err != nil {
		return nil, err
	}
	// With the store, not after it: other apps may serve before this one has
	// started, and what is pending has to be refused from the first request on.
	if err := a.startJournal(); err != nil {
		return nil, err
	}
	return open, nil
}

// Cleanup implements caddy.CleanerUpper. Caddy calls it also after a failed
// Provision, and while requests of this configuration are still being served:
// so it gives back only what this instance took, and late.
func (a *App) Cleanup() error {
	running.drop(a)
	a.stopJournal()
	a.taken.mu.Lock()
	source, cache, unwatch := a.taken.source, a.taken.cache, a.taken.unwatch
	a.taken.source, a.taken.cache, a.taken.cleanedUp = nil, false, true
	a.taken.mu.Unlock()
	if source == nil {
		return nil
	}
	source.drop()
	key, logger := a.storeModule.PoolKey(), a.logger
	deferred.Closes.Later(func() {
		if cache { // it subscribes to the store
			a.giveBackCache()
		}
		unwatch()
		source.giveBack(func() {
			if _, err := stores.Delete(key); err != nil {
				logger.Error("closing session store failed", zap.Error(err))
			}
		})
	})
	return nil
}
