package manager

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
)

// CacheConfig sets up the near cache of a manager.
type CacheConfig struct {
	Off      bool
	Entries  int // at most; 0: nearcache.DefaultEntries
	MaxStale time.Duration
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
func (m *Manager) cacheKey() string {
	return fmt.Sprintf("%s %d %d", m.Store.PoolKey(), m.Cache.Entries, m.Cache.MaxStale)
}

// takeCache makes the near cache of a store that reports changes, or takes on
// the one that is there. It returns nil if there is to be none.
func (m *Manager) takeCache(r *notifications) (*nearcache.Cache, error) {
	if r.Watcher == nil || m.Cache.Off {
		return nil, nil
	}
	value, _, err := caches.LoadOrNew(m.cacheKey(), func() (caddy.Destructor, error) {
		entries := m.Cache.Entries
		if entries == 0 {
			entries = nearcache.DefaultEntries
		}
		cache := nearcache.New(entries, m.Cache.MaxStale)
		cache.CountInto(&telemetry.Meters.Checks)
		return &watchedCache{cache: cache, stop: r.subscribe(cache)}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("making the near cache: %w", err)
	}
	m.taken.cache = true
	cache := value.(*watchedCache).cache
	m.Measured.Store(cache)
	return cache, nil
}

// giveBackCache gives back the cache that this instance took.
func (m *Manager) giveBackCache() {
	if _, err := caches.Delete(m.cacheKey()); err != nil {
		m.Logger.Error("closing near cache failed", zap.Error(err))
	}
}

// Collectors export how the manager does.
func (m *Manager) Collectors() []prometheus.Collector {
	var all []prometheus.Collector
	if m.IsRemote() && !m.Cache.Off {
		all = m.cacheCollectors()
	}
	if m.JournalFile != "" {
		all = append(all, m.pendingCollector())
	}
	return all
}

// cacheCollectors export what [nearcache.Cache.Stats] says. A scrape may come before
// there is a cache.
func (m *Manager) cacheCollectors() []prometheus.Collector {
	gauge := func(name, help string, read func(nearcache.Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(telemetry.MetricName(name, help)), func() float64 { return read(m.Measured.Load().Stats()) })
	}
	counter := func(name, help string, read func(nearcache.Stats) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts(telemetry.MetricName(name, help)), func() float64 { return read(m.Measured.Load().Stats()) })
	}
	return []prometheus.Collector{
		counter("near_cache_hits_total", "Number of checks that the near cache answered.", func(s nearcache.Stats) float64 { return float64(s.Hits) }),
		counter("near_cache_misses_total", "Number of checks that needed the store.", func(s nearcache.Stats) float64 { return float64(s.Misses) }),
		gauge("near_cache_entries", "Approximate number of entries in the near cache.", func(s nearcache.Stats) float64 { return float64(s.Entries) }),
		gauge("near_cache_armed", "Whether the store is proven to report changes (1), or every check queries the store (0).", func(s nearcache.Stats) float64 {
			if s.Armed {
				return 1
			}
			return 0
		}),
	}
}
