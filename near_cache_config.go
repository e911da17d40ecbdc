// This file holds the settings of the near cache, and its life: as long as the
// store, through reloads.

package caddylogout

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
)

// NearCache sets up the near cache: sessions that were looked up a moment ago
// are served from memory, as long as the store is proven to report every change
// of them. It is used with stores that can: Redis. The embedded store needs
// none.
type NearCache struct {
	// Off turns it off: each request asks the store.
	Off bool `json:"off,omitempty"`
	// Entries is how many sessions it keeps at most. Default: 100000.
	Entries int `json:"entries,omitempty"`
	// MaxStale accepts, for a Redis that refuses to report changes, that a
	// session which was revoked elsewhere is served here for this long, at most
	// 1m. Where changes are reported, it changes nothing. Default: none, which
	// leaves the cache off on such a server.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`
}

// errCacheEmbedded refuses settings that would do nothing.
var errCacheEmbedded = errors.New("goes with store redis; the embedded store reads from memory as it is")

// isSet reports whether anything was set up that a cache is needed for.
func (n *NearCache) isSet() bool { return n.Entries != 0 || n.MaxStale != 0 }

func (n *NearCache) validate() error {
	switch {
	case n.Off && n.isSet():
		return errors.New("off and other settings contradict each other")
	case n.Entries < 0 || n.Entries > nearcache.MaxEntries:
		return fmt.Errorf("entries: want 1 to %d", nearcache.MaxEntries)
	case n.MaxStale < 0 || time.Duration(n.MaxStale) > nearcache.MaxLife:
		return fmt.Errorf("max_stale: want more than 0 and at most %v", nearcache.MaxLife)
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	near_cache off
//	near_cache {
//		entries   <n>
//		max_stale <duration>
//	}
func (n *NearCache) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		if d.Val() != "off" {
			return d.Errf("near_cache: want off or a block, not %q", d.Val())
		}
		n.Off = true
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := eachOption(d, n.unmarshalOption); err != nil {
		return err
	}
	if *n == (NearCache{}) {
		return d.Err("near_cache: want off or a block; it is on by itself")
	}
	return nil
}

func (n *NearCache) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	var err error
	switch option {
	case "entries":
		err = n.unmarshalEntries(d)
	case "max_stale":
		err = durationArg(d, &n.MaxStale, false)
	default:
		err = d.Errf("unknown option %q of near_cache: want entries or max_stale", option)
	}
	if err != nil {
		return err
	}
	if err := n.validate(); err != nil {
		return d.Errf("near_cache: %w", err)
	}
	return nil
}

func (n *NearCache) unmarshalEntries(d *caddyfile.Dispenser) error {
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	entries, err := strconv.Atoi(raw)
	if err != nil || entries < 1 {
		return d.Errf("near_cache: entries: want 1 to %d", nearcache.MaxEntries)
	}
	n.Entries = entries
	return nil
}

// caches holds the near caches by what they are caches of, as stores does.
var caches = caddy.NewUsagePool()

// watchedCache is a cache and what reports changes to it, as a value of the pool.
type watchedCache struct {
	cache *nearcache.Cache
	stop  func()
}

// Destruct implements caddy.Destructor.
func (w *watchedCache) Destruct() error {
	w.stop()
	return nil
}

// cacheKey names the cache of the store and these settings. One store has two
// for a while when a reload changes the settings; each hears of all changes.
func (a *App) cacheKey() string {
	return fmt.Sprintf("%s %d %d", a.storeModule.PoolKey(), a.NearCache.Entries, a.NearCache.MaxStale)
}

// takeCache makes the near cache of a store that reports changes, or takes on
// the one that is there. It returns nil if there is to be none.
func (a *App) takeCache(r *reports) (*nearcache.Cache, error) {
	if r.watcher == nil || a.NearCache.Off {
		return nil, nil
	}
	value, _, err := caches.LoadOrNew(a.cacheKey(), func() (caddy.Destructor, error) {
		entries := a.NearCache.Entries
		if entries == 0 {
			entries = nearcache.DefaultEntries
		}
		cache := nearcache.New(entries, time.Duration(a.NearCache.MaxStale))
		cache.CountInto(&telemetry.Meters.Checks)
		return &watchedCache{cache: cache, stop: r.subscribe(cache)}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("making the near cache: %w", err)
	}
	a.taken.cache = true
	cache := value.(*watchedCache).cache
	a.measured.Store(cache)
	return cache, nil
}

// giveBackCache gives back the cache that this instance took.
func (a *App) giveBackCache() {
	if _, err := caches.Delete(a.cacheKey()); err != nil {
		a.logger.Error("closing near cache failed", zap.Error(err))
	}
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*NearCache)(nil)
	_ caddy.Destructor      = (*watchedCache)(nil)
)
