// This file holds the metrics: what is counted, under which names, and how the
// counts live through reloads. What they mean is in docs/metrics.md.

package telemetry

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-logout/caddy-logout/internal/returnurl"
)

// Meters is what every configuration of this process counts into. Caddy makes a
// new registry at each reload, in which the same collectors are registered
// again: so nothing begins at zero but with the process. No label ever has a
// value that a client chose, and all series are there from the start, so that an
// alert sees the first of its kind as an increase.
var Meters = newMeters()

// Buckets of histograms, in seconds. A store answers within its timeout, a
// quarter of a second by default; a stream is cut within a second.
var (
	storeBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}
	cutBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

type meterSet struct {
	Checks        CheckCounts
	logouts       *prometheus.CounterVec // by trigger and outcome
	signIns       *prometheus.CounterVec // the same
	storeSeconds  *prometheus.HistogramVec
	storeErrors   *prometheus.CounterVec
	cutSeconds    prometheus.Histogram
	streamsCut    prometheus.Counter
	returnURLs    *prometheus.CounterVec // by rule
	breakersOpen  prometheus.Gauge
	breakerOpened prometheus.Counter
	// PendingFailures counts what the journal could not do yet.
	PendingFailures prometheus.Counter
	// Of the checks in the background:
	StoreUnreadable, StoreUnwritable prometheus.Gauge
	StoreCheckFailures               prometheus.Counter

	All []prometheus.Collector
}

// MetricName returns the parts of the name of a metric of ours.
func MetricName(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "caddy", Subsystem: "sessions", Name: name, Help: help}
}

func newMeters() *meterSet {
	counterVec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(MetricName(name, help)), labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		o := MetricName(name, help)
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
		streamsCut:      prometheus.NewCounter(prometheus.CounterOpts(MetricName("streams_cut_total", "Number of requests that were cut because their session had ended."))),
		returnURLs:      counterVec("return_urls_refused_total", "Number of return URLs that were refused, by the rule that refused them.", "rule"),
		breakersOpen:    prometheus.NewGauge(prometheus.GaugeOpts(MetricName("store_breakers_open", "Number of Redis servers that are known to be away and are not asked: 0 or 1, in a Cluster up to the number of its nodes."))),
		PendingFailures: prometheus.NewCounter(prometheus.CounterOpts(MetricName("pending_logout_failures_total", "Number of attempts at a pending logout that failed."))),
		breakerOpened:   prometheus.NewCounter(prometheus.CounterOpts(MetricName("store_breaker_opened_total", "Number of times that a Redis server was found to be away."))),
	}
	unavailable := prometheus.NewGaugeVec(prometheus.GaugeOpts(MetricName("store_unavailable", "Number of session stores that cannot be used, by what they are needed for: to read sessions, or to write them.")), []string{"access"})
	m.StoreUnreadable, m.StoreUnwritable = unavailable.WithLabelValues("read"), unavailable.WithLabelValues("write")
	m.StoreCheckFailures = prometheus.NewCounter(prometheus.CounterOpts(MetricName("store_check_failures_total", "Number of checks in the background that found a session store that cannot be used.")))
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
	for _, rule := range returnurl.Rules {
		m.returnURLs.WithLabelValues(rule.Name)
	}
	m.returnURLs.WithLabelValues(returnurl.RuleAmbiguous)
	m.All = []prometheus.Collector{
		m.logouts, m.signIns, m.storeSeconds, m.storeErrors, m.cutSeconds, m.streamsCut,
		m.returnURLs, m.breakersOpen, m.breakerOpened, m.PendingFailures, unavailable, m.StoreCheckFailures,
	}
	for i, labels := range checkLabels {
		opts := MetricName("checks_total", "Number of credentials that were checked, and of requests without any, by what they came to and who knew it.")
		opts.ConstLabels = prometheus.Labels{"outcome": labels.outcome, "source": labels.source}
		m.All = append(m.All, prometheus.NewCounterFunc(prometheus.CounterOpts(opts), func() float64 { return float64(m.Checks[i].N.Load()) }))
	}
	return m
}

// Breaker counts a circuit breaker that opens, or closes.
func (m *meterSet) Breaker(open bool) {
	if !open {
		m.breakersOpen.Dec()
		return
	}
	m.breakersOpen.Inc()
	m.breakerOpened.Inc()
}

// RefuseReturnURL counts a return URL that was refused.
func (m *meterSet) RefuseReturnURL(err error) {
	m.returnURLs.WithLabelValues(returnurl.RuleOf(err)).Inc()
}

// The kinds of checks.
const (
	CheckCacheLive = iota
	CheckCacheDead
	checkStoreLive
	checkStoreDead
	CheckUnavailable
	CheckPending
	CheckNoCredential
	CheckKinds
)

// checkLabels are the labels of each kind.
var checkLabels = [CheckKinds]struct{ outcome, source string }{
	CheckCacheLive:    {"authenticated", "cache"},
	CheckCacheDead:    {"dead", "cache"},
	checkStoreLive:    {"authenticated", "store"},
	checkStoreDead:    {"dead", "store"},
	CheckUnavailable:  {"unavailable", "store"},
	CheckPending:      {"pending", "journal"},
	CheckNoCredential: {"anonymous", "none"},
}

// CheckCounts counts checks: the one thing that is counted for each request. A
// check that the near cache answers costs one atomic addition to memory that is
// known beforehand, with no lock, no look-up of labels and no allocation. All
// cores add to the same line of memory, which some ten million additions a second
// get through; a proxied request takes Caddy tens of microseconds, so that there
// are never that many, and a count for each core would gain nothing that can be
// measured. What must not be on that line is what every check reads.
type CheckCounts [CheckKinds]struct {
	_ [64]byte
	N atomic.Uint64
	_ [56]byte
}

// Hits is how many checks the near cache answered.
func (c *CheckCounts) Hits() uint64 {
	return c[CheckCacheLive].N.Load() + c[CheckCacheDead].N.Load()
}

// Misses is for how many checks the store was queried.
func (c *CheckCounts) Misses() uint64 {
	return c[checkStoreLive].N.Load() + c[checkStoreDead].N.Load() + c[CheckUnavailable].N.Load()
}

// Add counts one check; nil counts nothing.
func (c *CheckCounts) Add(kind int) {
	if c != nil {
		c[kind].N.Add(1)
	}
}

// AddHit counts a check that the near cache answered.
func (c *CheckCounts) AddHit(live bool) {
	if live {
		c.Add(CheckCacheLive)
	} else {
		c.Add(CheckCacheDead)
	}
}

// AddRead counts a check that the store was asked for. That a client has gone
// before the answer came says nothing.
func (c *CheckCounts) AddRead(live bool, err error) {
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		c.Add(CheckUnavailable)
	case live:
		c.Add(checkStoreLive)
	default:
		c.Add(checkStoreDead)
	}
}
