package caddylogout

import (
	"errors"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
)

// registerMetrics exports all metrics in the registry of a configuration, and
// how its own near cache does.
func (a *App) registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	all := telemetry.Meters.All
	if a.storeIsRemote() && !a.NearCache.Off {
		all = append(slices.Clip(all), a.cacheCollectors()...)
	}
	var failures []error
	for _, collector := range all {
		failures = append(failures, registry.Register(collector))
	}
	return errors.Join(failures...)
}

// cacheCollectors export what [nearcache.Cache.Stats] says. A scrape may come before
// there is a cache.
func (a *App) cacheCollectors() []prometheus.Collector {
	gauge := func(name, help string, read func(nearcache.Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(telemetry.MetricName(name, help)), func() float64 { return read(a.measured.Load().Stats()) })
	}
	counter := func(name, help string, read func(nearcache.Stats) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts(telemetry.MetricName(name, help)), func() float64 { return read(a.measured.Load().Stats()) })
	}
	return []prometheus.Collector{
		counter("near_cache_hits_total", "Number of checks that the near cache answered.", func(s nearcache.Stats) float64 { return float64(s.Hits) }),
		counter("near_cache_misses_total", "Number of checks for which the store had to be asked.", func(s nearcache.Stats) float64 { return float64(s.Misses) }),
		gauge("near_cache_entries", "About how many entries the near cache holds.", func(s nearcache.Stats) float64 { return float64(s.Entries) }),
		gauge("near_cache_armed", "Whether the store is proven to report changes (1), or every check asks the store (0).", func(s nearcache.Stats) float64 {
			if s.Armed {
				return 1
			}
			return 0
		}),
	}
}
