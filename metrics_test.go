package caddylogout

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

func TestChecksAreCounted(t *testing.T) {
	a := appForBench()
	a.use(&manager.Opened{Store: awayStore{}, Cache: armedCache(1000)})
	live, revoked := session.NewCredential(session.NewToken(), session.FromHeader), session.NewCredential(session.NewToken(), session.FromHeader)
	s := &session.Session{Key: session.KeyOf(live.Secret()), Identity: "alice", IssuedAt: time.Now(), ExpiresAt: time.Now().Add(24 * time.Hour)}
	if _, err := a.open().Cache.Fill(t.Context(), s.Key, time.Now().Add(time.Hour), func(context.Context) (*nearcache.Entry, error) { return &nearcache.Entry{Session: s}, nil }); err != nil {
		t.Fatal(err)
	}
	a.open().Cache.Revoked(session.KeyOf(revoked.Secret()), time.Now().Add(time.Hour))
	for credential, want := range map[session.Credential]error{live: nil, revoked: nil, session.NewCredential(session.NewToken(), session.FromHeader): session.ErrUnavailable} {
		for range 3 {
			if _, err := a.Lookup(t.Context(), credential); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	}
	// A list that another person opens is not a check, nor is a request that the
	// client cancelled.
	if _, err := a.Peek(t.Context(), s.Key); err != nil {
		t.Error(err)
	}
	a.open().Cache.Counts().AddRead(false, errors.Join(session.ErrUnavailable, context.Canceled))
	got := make(map[int]uint64)
	for kind := range a.open().Cache.Counts() {
		if n := a.open().Cache.Counts()[kind].N.Load(); n > 0 {
			got[kind] = n
		}
	}
	if len(got) != 3 || got[telemetry.CheckCacheLive] != 3 || got[telemetry.CheckCacheDead] != 3 || got[telemetry.CheckUnavailable] != 3 {
		t.Errorf("counted %v", got)
	}
	if stats := a.open().Cache.Stats(); stats.Hits != 6 || stats.Misses != 3 {
		t.Errorf("stats %+v", stats)
	}
	if allocated := testing.AllocsPerRun(100, func() { _, _ = a.Lookup(t.Context(), live) }); allocated != 0 {
		t.Errorf("a check that the cache answers allocates %v times", allocated)
	}
}

// Two configurations of one process, one after the other, export one set of counts.
func TestMetricsOutliveTheConfiguration(t *testing.T) {
	register := func() *prometheus.Registry {
		t.Helper()
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		t.Cleanup(cancel)
		a := &App{site: web.New(web.Config{}, manager.New(manager.Config{Store: new(RedisStore)}))}
		if err := a.registerMetrics(ctx); err != nil {
			t.Fatal(err)
		}
		if err := a.registerMetrics(ctx); err == nil {
			t.Error("registered twice in one registry, and no error")
		}
		return ctx.GetMetricsRegistry()
	}
	count := func(registry *prometheus.Registry) int {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, family := range families {
			if strings.HasPrefix(family.GetName(), "caddy_sessions_") {
				n += len(family.GetMetric())
			}
		}
		return n
	}
	first, second := register(), register()
	if one, two := count(first), count(second); one != two || one < telemetry.CheckKinds+2 {
		t.Errorf("%d series, then %d", one, two)
	}
}

func TestStreamCutIsMeasured(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name      string
		revokedAt time.Time
		took      time.Duration
		measured  bool
	}{
		{"revoked", now.Add(-time.Second), time.Second, true},
		{"revoked by a clock that is ahead", now.Add(time.Hour), 0, true},
		{"expired", time.Time{}, 0, false},
		{"a tombstone without a time", time.Unix(0, 0), 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := &telemetry.StreamCut{RevokedAt: test.revokedAt}
			one, two := all.Add(), all.Add()
			if _, last := one.Last(func() time.Time { return now }); last {
				t.Error("the first of two was taken for the last")
			}
			if took, last := two.Last(func() time.Time { return now }); took != test.took || last != test.measured {
				t.Errorf("%v, %v; want %v, %v", took, last, test.took, test.measured)
			}
		})
	}
	var itself *telemetry.StreamCut
	itself.Ended(time.Now) // a request that was not cut
}
