// This file holds the metrics: what is counted, under which names, and how the
// counts live through reloads. What they mean is in docs/metrics.md.

package caddylogout

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// meters is what every configuration of this process counts into. Caddy makes a
// new registry at each reload, in which the same collectors are registered
// again: so nothing begins at zero but with the process. No label ever has a
// value that a client chose, and all series are there from the start, so that an
// alert sees the first of its kind as an increase.
var meters = newMeters()

// Buckets of histograms, in seconds. A store answers within its timeout, a
// quarter of a second by default; a stream is cut within a second.
var (
	storeBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}
	cutBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

type meterSet struct {
	checks        checkCounts
	logouts       *prometheus.CounterVec // by trigger and outcome
	signIns       *prometheus.CounterVec // the same
	storeSeconds  *prometheus.HistogramVec
	storeErrors   *prometheus.CounterVec
	cutSeconds    prometheus.Histogram
	streamsCut    prometheus.Counter
	returnURLs    *prometheus.CounterVec // by rule
	breakersOpen  prometheus.Gauge
	breakerOpened prometheus.Counter
	// pendingFailures counts what the journal could not do yet.
	pendingFailures prometheus.Counter
	// Of the checks in the background:
	storeUnreadable, storeUnwritable prometheus.Gauge
	storeCheckFailures               prometheus.Counter

	all []prometheus.Collector
}

// metricName returns the parts of the name of a metric of ours.
func metricName(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "caddy", Subsystem: "sessions", Name: name, Help: help}
}

func newMeters() *meterSet {
	counterVec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(metricName(name, help)), labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		o := metricName(name, help)
		return prometheus.HistogramOpts{Namespace: o.Namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help, Buckets: buckets}
	}
	m := &meterSet{
		logouts: counterVec("logouts_total", "Number of sessions that were logged out, and of logouts that were not done, by what asked for it and what came of it.", "trigger", "outcome"),
		signIns: counterVec("sign_ins_total", "Number of sign-ins, by what asked for it and what came of it.", "trigger", "outcome"),
		storeSeconds: prometheus.NewHistogramVec(histogram("store_operation_duration_seconds",
			"How long the operations of the session store took, of those that it was asked for.", storeBuckets), []string{"operation"}),
		storeErrors: counterVec("store_errors_total", "Number of operations of the session store that failed, also of those that it was not asked for because it was away.", "operation"),
		cutSeconds: prometheus.NewHistogram(histogram("stream_cut_duration_seconds",
			"Time from the revocation of a session to the end of the last request that was being served for it here.", cutBuckets)),
		streamsCut:      prometheus.NewCounter(prometheus.CounterOpts(metricName("streams_cut_total", "Number of requests that were cut because their session had ended."))),
		returnURLs:      counterVec("return_urls_refused_total", "Number of return URLs that were refused, by the rule that refused them.", "rule"),
		breakersOpen:    prometheus.NewGauge(prometheus.GaugeOpts(metricName("store_breakers_open", "Number of Redis servers that are known to be away and are not asked: 0 or 1, in a Cluster up to the number of its nodes."))),
		pendingFailures: prometheus.NewCounter(prometheus.CounterOpts(metricName("pending_logout_failures_total", "Number of attempts at a pending logout that failed."))),
		breakerOpened:   prometheus.NewCounter(prometheus.CounterOpts(metricName("store_breaker_opened_total", "Number of times that a Redis server was found to be away."))),
	}
	unavailable := prometheus.NewGaugeVec(prometheus.GaugeOpts(metricName("store_unavailable", "Number of session stores that cannot be used, by what they are needed for: to read sessions, or to write them.")), []string{"access"})
	m.storeUnreadable, m.storeUnwritable = unavailable.WithLabelValues("read"), unavailable.WithLabelValues("write")
	m.storeCheckFailures = prometheus.NewCounter(prometheus.CounterOpts(metricName("store_check_failures_total", "Number of checks in the background that found a session store that cannot be used.")))
	for trigger, outcomes := range logoutSeries {
		for _, outcome := range outcomes {
			m.logouts.WithLabelValues(trigger, outcome)
		}
	}
	for trigger, outcomes := range signInSeries {
		for _, outcome := range outcomes {
			m.signIns.WithLabelValues(trigger, outcome)
		}
	}
	for _, rule := range returnURLRules {
		m.returnURLs.WithLabelValues(rule.name)
	}
	m.returnURLs.WithLabelValues(ruleAmbiguous)
	m.all = []prometheus.Collector{
		m.logouts, m.signIns, m.storeSeconds, m.storeErrors, m.cutSeconds, m.streamsCut,
		m.returnURLs, m.breakersOpen, m.breakerOpened, m.pendingFailures, unavailable, m.storeCheckFailures,
	}
	for i, labels := range checkLabels {
		opts := metricName("checks_total", "Number of credentials that were checked, and of requests without any, by what they came to and who knew it.")
		opts.ConstLabels = prometheus.Labels{"outcome": labels.outcome, "source": labels.source}
		m.all = append(m.all, prometheus.NewCounterFunc(prometheus.CounterOpts(opts), func() float64 { return float64(m.checks[i].n.Load()) }))
	}
	return m
}

// refuseReturnURL counts a return URL that was refused.
func (m *meterSet) refuseReturnURL(err error) { m.returnURLs.WithLabelValues(returnURLRule(err)).Inc() }

// The kinds of checks.
const (
	checkCacheLive = iota
	checkCacheDead
	checkStoreLive
	checkStoreDead
	checkStoreAway
	checkPending
	checkNoCredential
	checkKinds
)

// checkLabels are the labels of each kind.
var checkLabels = [checkKinds]struct{ outcome, source string }{
	checkCacheLive:    {"authenticated", "cache"},
	checkCacheDead:    {"dead", "cache"},
	checkStoreLive:    {"authenticated", "store"},
	checkStoreDead:    {"dead", "store"},
	checkStoreAway:    {"unavailable", "store"},
	checkPending:      {"pending", "journal"},
	checkNoCredential: {"anonymous", "none"},
}

// checkCounts counts checks: the one thing that is counted for each request. A
// check that the near cache answers costs one atomic addition to memory that is
// known beforehand, with no lock, no look-up of labels and no allocation. All
// cores add to the same line of memory, which some ten million additions a second
// get through; a proxied request takes Caddy tens of microseconds, so that there
// are never that many, and a count for each core would gain nothing that can be
// measured. What must not be on that line is what every check reads.
type checkCounts [checkKinds]struct {
	_ [64]byte
	n atomic.Uint64
	_ [56]byte
}

// add counts one check; nil counts nothing.
func (c *checkCounts) add(kind int) {
	if c != nil {
		c[kind].n.Add(1)
	}
}

// addHit counts a check that the near cache answered.
func (c *checkCounts) addHit(known *cached) {
	if known.session != nil {
		c.add(checkCacheLive)
	} else {
		c.add(checkCacheDead)
	}
}

// addRead counts a check that the store was asked for. That a client has gone
// before the answer came says nothing.
func (c *checkCounts) addRead(known *cached, err error) {
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		c.add(checkStoreAway)
	case known.session != nil:
		c.add(checkStoreLive)
	default:
		c.add(checkStoreDead)
	}
}

// registerMetrics exports all metrics in the registry of a configuration, and
// how its own near cache does.
func (a *App) registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	all := meters.all
	if _, embedded := a.storeModule.(*EmbeddedStore); !embedded && !a.NearCache.Off {
		all = append(slices.Clip(all), a.cacheCollectors()...)
	}
	var failures []error
	for _, collector := range all {
		failures = append(failures, registry.Register(collector))
	}
	return errors.Join(failures...)
}

// cacheCollectors export what [nearCache.Stats] says. A scrape may come before
// there is a cache.
func (a *App) cacheCollectors() []prometheus.Collector {
	gauge := func(name, help string, read func(CacheStats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(metricName(name, help)), func() float64 { return read(a.measured.Load().Stats()) })
	}
	counter := func(name, help string, read func(CacheStats) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts(metricName(name, help)), func() float64 { return read(a.measured.Load().Stats()) })
	}
	return []prometheus.Collector{
		counter("near_cache_hits_total", "Number of checks that the near cache answered.", func(s CacheStats) float64 { return float64(s.Hits) }),
		counter("near_cache_misses_total", "Number of checks for which the store had to be asked.", func(s CacheStats) float64 { return float64(s.Misses) }),
		gauge("near_cache_entries", "About how many entries the near cache holds.", func(s CacheStats) float64 { return float64(s.Entries) }),
		gauge("near_cache_armed", "Whether the store is proven to report changes (1), or every check asks the store (0).", func(s CacheStats) float64 {
			if s.Armed {
				return 1
			}
			return 0
		}),
	}
}
