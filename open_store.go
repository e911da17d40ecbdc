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
)

// opened is an open store with all that a request needs beside it. It is made at
// once and never changes: Caddy starts apps in no order, so requests may be served
// while the sessions app starts, and one of them may open the store.
type opened struct {
	Store
	cache   *nearCache // nil: none
	streams *streams
	reports *reports
	uses    *uses
}

// taken is what an app has to give back.
type taken struct {
	mu           sync.Mutex // a request may open the store while Caddy cleans up
	store, cache bool
	unwatchUses  func()
	cleanedUp    bool
}

// stores holds the open stores by their pool key, so that a reload hands an
// open store on to the next configuration.
var stores = caddy.NewUsagePool()

// pooledStore is an open store with what lives as long as it does: the requests
// that are served for its sessions, and who is told when something changes.
type pooledStore struct {
	Store
	streams *streams
	reports *reports
	uses    *uses
}

func newPooledStore(store Store) *pooledStore {
	measured := measuredStore{store}
	p := &pooledStore{
		Store: measured, streams: newStreams(measured, time.Now), reports: newReports(store), uses: newUses(measured, time.Now),
	}
	p.reports.subscribe(p.streams)
	return p
}

// Destruct implements caddy.Destructor.
func (p *pooledStore) Destruct() error {
	p.reports.close()
	p.streams.Close()
	p.uses.close()
	return p.Close()
}

// errCleanedUp refuses what would never be given back.
var errCleanedUp = errors.New("this configuration is no longer used")

// takeStore opens the store, or takes on the one that is open already.
func (a *App) takeStore() (*opened, error) {
	open, err := a.take()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
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
		return newPooledStore(store), nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the session store: %w", err)
	}
	a.taken.store = true
	pooled := value.(*pooledStore)
	a.taken.unwatchUses = pooled.uses.watch(time.Duration(a.IdleTimeout))
	open := &opened{Store: pooled.Store, streams: pooled.streams, reports: pooled.reports, uses: pooled.uses}
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
	store, cache := a.taken.store, a.taken.cache
	a.taken.store, a.taken.cache, a.taken.cleanedUp = false, false, true
	a.taken.mu.Unlock()
	if !store {
		return nil
	}
	linger.later(func() {
		if cache { // it subscribes to the store
			a.giveBackCache()
		}
		a.taken.unwatchUses()
		if _, err := stores.Delete(a.storeModule.PoolKey()); err != nil {
			a.logger.Error("closing session store failed", zap.Error(err))
		}
	})
	return nil
}

// Interface guard.
var _ caddy.Destructor = (*pooledStore)(nil)
