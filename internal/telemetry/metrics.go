package telemetry

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-logout/caddy-logout/internal/returnurl"
)

// Meters holds the metrics of all configurations of this process. Caddy makes a
// new registry at each reload, in which the same collectors are registered
// again, so counts start at zero only with the process. No label has a value
// that a client chose, and all series exist from the start, so that an alert
// sees the first event of a kind as an increase.
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
	// PendingFailures counts failed attempts at a pending logout.
	PendingFailures prometheus.Counter
	// Of the background checks:
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
		logouts: counterVec("logouts_total", "Number of sessions that were logged out, and of logouts that failed, by trigger and by outcome.", "trigger", "outcome"),
		signIns: counterVec("sign_ins_total", "Number of sign-ins, by trigger and by outcome.", "trigger", "outcome"),
		storeSeconds: prometheus.NewHistogramVec(histogram("store_operation_duration_seconds",
			"Duration of the session store's operations, failures included.", storeBuckets), []string{"operation"}),
		storeErrors: counterVec("store_errors_total", "Number of session store operations that failed, including those refused at once because the store was unavailable.", "operation"),
		cutSeconds: prometheus.NewHistogram(histogram("stream_cut_duration_seconds",
			"Time from the revocation of a session to the end of the last request in flight for it on this server.", cutBuckets)),
		streamsCut:      prometheus.NewCounter(prometheus.CounterOpts(MetricName("streams_cut_total", "Number of requests that were cancelled because their session had ended."))),
		returnURLs:      counterVec("return_urls_refused_total", "Number of return URLs that were refused, by rule.", "rule"),
		breakersOpen:    prometheus.NewGauge(prometheus.GaugeOpts(MetricName("store_breakers_open", "Number of Redis servers that are unavailable: 0 or 1, in a Cluster up to the number of its nodes."))),
		PendingFailures: prometheus.NewCounter(prometheus.CounterOpts(MetricName("pending_logout_failures_total", "Number of attempts at a pending logout that failed."))),
		breakerOpened:   prometheus.NewCounter(prometheus.CounterOpts(MetricName("store_breaker_opened_total", "Number of times that a Redis server became unavailable."))),
	}
	unavailable := prometheus.NewGaugeVec(prometheus.GaugeOpts(MetricName("store_unavailable", "Number of session stores that cannot be used, by access: to read sessions, or to write them.")), []string{"access"})
	m.StoreUnreadable, m.StoreUnwritable = unavailable.WithLabelValues("read"), unavailable.WithLabelValues("write")
	m.StoreCheckFailures = prometheus.NewCounter(prometheus.CounterOpts(MetricName("store_check_failures_total", "Number of background checks that found a session store unusable.")))
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
		opts := MetricName("checks_total", "Credential checks, and requests without a credential, by outcome and by source (cache, store, journal).")
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

// CheckCounts counts checks, the only metric of every request. A check that the
// near cache answers costs one atomic addition, with no lock, no look-up of
// labels and no allocation. All cores add to the same cache line, which allows
// some ten million additions a second; a proxied request takes Caddy tens of
// microseconds, so there are never that many, and a count for each core would
// bring no measurable gain. Fields that every check reads must not be on that
// line.
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

// AddRead counts a check that queried the store, unless the client has
// cancelled it.
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
