// Package storehealth checks in the background whether the session store can be used,
// from the start on, so that the first person who signs in does not find a wrong
// password.
package storehealth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

const (
	// healthEvery is the pause between two checks, up to half as long again, so
	// that many servers do not check in step; healthRetry is the same while the
	// store is unavailable.
	healthEvery = 5 * time.Second
	healthRetry = 2 * time.Second
	// healthConfirm is the pause before a failure counts: one broken connection is
	// not an outage.
	healthConfirm = 300 * time.Millisecond
	// healthWithin bounds one check. The store's own timeouts are shorter.
	healthWithin = 2 * time.Second
)

// Monitor holds what the last check found. It lives as long as the store.
type Monitor struct {
	store  session.Store
	logger *zap.Logger
	// gauges count the stores that cannot be read, and written.
	unreadable, unwritable prometheus.Gauge

	cancel  context.CancelFunc
	running sync.WaitGroup
	checks  sync.Mutex // one at a time
	last    atomic.Pointer[healthState]
}

// healthState is what was found, and since when it holds.
type healthState struct {
	session.Faults
	readSince, writeSince time.Time
}

// Start begins to check a store, until stop.
func Start(store session.Store) *Monitor {
	ctx, cancel := context.WithCancel(context.Background())
	h := &Monitor{
		store: store, logger: caddy.Log().Named("sessions"), cancel: cancel,
		unreadable: telemetry.Meters.StoreUnreadable, unwritable: telemetry.Meters.StoreUnwritable,
	}
	h.last.Store(new(healthState))
	h.running.Go(func() { h.run(ctx) })
	return h
}

// Stop ends the checks and waits for the last one.
func (h *Monitor) Stop() {
	h.cancel()
	h.running.Wait()
	h.checks.Lock()
	defer h.checks.Unlock()
	last := h.last.Swap(new(healthState))
	countFault(&last.readSince, nil, h.unreadable, time.Now())
	countFault(&last.writeSince, nil, h.unwritable, time.Now())
}

func (h *Monitor) run(ctx context.Context) {
	for {
		faults := h.check(ctx)
		pause := healthEvery
		if faults.Read != nil || faults.Write != nil {
			pause = healthRetry
		}
		if !sleep(ctx, pause+rand.N(pause/2)) { //nolint:gosec // no secret
			return
		}
	}
}

// sleep reports false if ctx ends before the time is over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// check queries the store now, and notes the result.
func (h *Monitor) check(ctx context.Context) session.Faults {
	h.checks.Lock()
	defer h.checks.Unlock()
	faults := h.ask(ctx)
	last := h.last.Load()
	if last.Read == nil && faults.Read != nil || last.Write == nil && faults.Write != nil {
		if !sleep(ctx, healthConfirm) {
			return faults
		}
		faults = h.ask(ctx)
	}
	if ctx.Err() != nil {
		return faults // the caller gave up: that says nothing of the store
	}
	h.note(faults)
	return faults
}

func (h *Monitor) ask(ctx context.Context) session.Faults {
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	if store, ok := h.store.(session.Checker); ok {
		return store.Check(ctx)
	}
	err := h.store.Ping(ctx)
	return session.Faults{Read: err, Write: err}
}

// note keeps what was found, counts it, and logs what has changed.
func (h *Monitor) note(faults session.Faults) {
	now, last := time.Now(), h.last.Load()
	next := &healthState{Faults: faults, readSince: last.readSince, writeSince: last.writeSince}
	if faults.Read != nil || faults.Write != nil {
		telemetry.Meters.StoreCheckFailures.Inc()
	}
	readFor := countFault(&next.readSince, faults.Read, h.unreadable, now)
	writeFor := countFault(&next.writeSince, faults.Write, h.unwritable, now)
	h.last.Store(next)
	switch {
	case faults.Read != nil:
		// A store that cannot be read cannot be written either.
		if faultKind(last.Read) != faultKind(faults.Read) {
			h.logger.Error("session store cannot be used", zap.String("access", "read"), zap.Error(faults.Read))
		}
	case faults.Write != nil:
		if last.Read != nil || faultKind(last.Write) != faultKind(faults.Write) {
			h.logger.Error("session store cannot be used", zap.String("access", "write"), zap.Error(faults.Write))
		}
	case last.Read != nil || last.Write != nil:
		h.logger.Info("session store can be used again", zap.Duration("unavailable_for", max(readFor, writeFor)))
	}
}

// countFault moves the moment since when there is a fault, and the gauge with it.
// It returns how long one lasted that has ended.
func countFault(since *time.Time, fault error, gauge prometheus.Gauge, now time.Time) (lasted time.Duration) {
	switch {
	case fault != nil && since.IsZero():
		*since = now
		gauge.Inc()
	case fault == nil && !since.IsZero():
		lasted = now.Sub(*since)
		*since = time.Time{}
		gauge.Dec()
	}
	return lasted
}

// faultKind distinguishes faults that need different treatment. A server that cannot
// be reached says so in many words, with another port of ours each time: that is one
// fault, not many.
func faultKind(err error) string {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &certificate), errors.As(err, &record):
		return "tls"
	case errors.As(err, &network):
		return "unreachable"
	}
	if errors.Is(err, session.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		return "unreachable"
	}
	return err.Error()
}

// Refusal returns why the store cannot look sessions up, or nil. After a failure it
// checks again, so that a store that is back is used at once.
func (h *Monitor) Refusal(ctx context.Context) error {
	if h == nil || h.last.Load().Read == nil {
		return nil
	}
	if err := h.check(ctx).Read; err != nil {
		return fmt.Errorf("checking the session store: %w", err)
	}
	return nil
}

// Faults lists what keeps the store from being used, for the statistics.
func (h *Monitor) Faults() []Fault {
	out := []Fault{}
	if h == nil {
		return out
	}
	last := h.last.Load()
	if last.Read != nil {
		out = append(out, Fault{"read", last.readSince.UTC(), last.Read.Error()})
	}
	if last.Write != nil {
		out = append(out, Fault{"write", last.writeSince.UTC(), last.Write.Error()})
	}
	return out
}

// Fault is one of session.Faults in JSON.
type Fault struct {
	Access string    `json:"access"`
	Since  time.Time `json:"since"`
	Error  string    `json:"error"`
}
