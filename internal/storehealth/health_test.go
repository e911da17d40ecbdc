package storehealth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// sickStore is a store with the faults of a test.
type sickStore struct {
	session.Store
	faults atomic.Pointer[session.Faults]
	checks atomic.Int64
}

func (s *sickStore) Check(context.Context) session.Faults {
	s.checks.Add(1)
	return *s.faults.Load()
}

// testGauge is a gauge and what it shows.
func testGauge(t *testing.T) (gauge prometheus.Gauge, value func() float64) {
	t.Helper()
	gauge = prometheus.NewGauge(prometheus.GaugeOpts{Name: "gauge", Help: "A gauge of a test."})
	registry := prometheus.NewRegistry()
	storetest.NoError(t, registry.Register(gauge))
	return gauge, func() float64 {
		families, err := registry.Gather()
		storetest.NoError(t, err)
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
}

func TestHealthChanges(t *testing.T) {
	refused := func(port int) error {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, &net.OpError{Op: "dial", Addr: &net.TCPAddr{Port: port}, Err: errors.New("connection refused")})
	}
	wrong := fmt.Errorf("redis: check: %w: the server answered WRONGPASS", session.ErrUnavailable)
	full := fmt.Errorf("redis: check: %w: the server answered OOM to SET", session.ErrUnavailable)
	const bad, good = "session store cannot be used", "session store can be used again"
	type step struct {
		faults session.Faults
		stay   time.Duration
		logs   string
	}
	readFault := func(err error) session.Faults { return session.Faults{Read: err, Write: err} }
	steps := []step{
		{readFault(wrong), time.Minute, bad + " read"},
		{readFault(refused(1)), time.Minute, bad + " read"},
		{readFault(refused(2)), time.Minute, ""},
		{readFault(errors.Join(session.ErrUnavailable, session.ErrUnreachable)), time.Minute, ""},
		{session.Faults{}, time.Minute, good},
		{readFault(refused(3)), healthConfirm / 2, ""}, // a moment
		{session.Faults{}, time.Minute, ""},
		{session.Faults{Write: full}, time.Minute, bad + " write"},
		{readFault(wrong), time.Minute, bad + " read"},
		{session.Faults{Write: full}, time.Minute, bad + " write"},
		{session.Faults{}, time.Minute, good},
		{readFault(wrong), time.Minute, bad + " read"},
	}
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		store := new(sickStore)
		ctx, cancel := context.WithCancel(t.Context())
		h := &Monitor{store: store, logger: zap.New(core), cancel: cancel}
		var reads, writes func() float64
		h.unreadable, reads = testGauge(t)
		h.unwritable, writes = testGauge(t)
		h.last.Store(new(healthState))
		store.faults.Store(&steps[0].faults)
		h.running.Go(func() { h.run(ctx) })
		for i, step := range steps {
			if i > 0 {
				store.faults.Store(&step.faults)
				if step.stay < healthConfirm { // just when it is looked at
					before := store.checks.Load()
					for store.checks.Load() == before {
						<-time.After(time.Millisecond)
					}
				}
			}
			<-time.After(step.stay)
			synctest.Wait()
			got := ""
			for _, entry := range logs.TakeAll() {
				got += entry.Message
				if access, ok := entry.ContextMap()["access"].(string); ok {
					got += " " + access
				}
			}
			if got != step.logs {
				t.Errorf("step %d: logged %q, want %q", i, got, step.logs)
			}
			if step.stay < healthConfirm {
				continue
			}
			count := func(err error) float64 {
				if err != nil {
					return 1
				}
				return 0
			}
			if reads() != count(step.faults.Read) || writes() != count(step.faults.Write) {
				t.Errorf("step %d: unavailable to read %v, to write %v", i, reads(), writes())
			}
		}
		// A check in five seconds or more: ten minutes are 120 at most.
		store.faults.Store(new(session.Faults))
		<-time.After(time.Minute)
		before := store.checks.Load()
		<-time.After(10 * time.Minute)
		if checks := store.checks.Load() - before; checks < 60 || checks > 120 {
			t.Errorf("%d checks in ten minutes", checks)
		}
		// What it counted goes with it.
		store.faults.Store(&steps[0].faults)
		<-time.After(time.Minute)
		h.Stop()
		if reads() != 0 || writes() != 0 {
			t.Error("a store that is closed still counts as unavailable")
		}
	})
}

// silentStore answers no Ping.
type silentStore struct{ session.Store }

func (silentStore) Ping(context.Context) error { return session.ErrUnavailable }

// TestHealthByPing has a store that has no ability but Ping.
func TestHealthByPing(t *testing.T) {
	h := &Monitor{store: silentStore{}}
	found := h.ask(t.Context())
	if !errors.Is(found.Read, session.ErrUnavailable) || !errors.Is(found.Write, session.ErrUnavailable) {
		t.Errorf("read: %v, write: %v; want ErrUnavailable", found.Read, found.Write)
	}
}
