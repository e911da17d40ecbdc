package caddylogout

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/formats/native"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// BenchmarkRevocationLag logs out on one server and sends requests to another one,
// which has the session in its cache, until it refuses one. Lag counts from the
// response of the first server, total from the request.
func BenchmarkRevocationLag(b *testing.B) {
	addr := redistest.Start(b).Addr()
	var apps [2]*testApp
	for i := range apps {
		store := openRedisForBench(b, addr)
		apps[i] = appForBench()
		apps[i].use(&manager.Opened{Store: store, Cache: armedForBench(b, store)})
	}
	var lags, totals []time.Duration
	for b.Loop() {
		b.StopTimer()
		c, s, err := apps[0].Issue(b.Context(), manager.NewSession{Identity: "alice"})
		for err == nil && apps[1].open().Cache.Get(s.Key, time.Now()) == nil {
			_, err = apps[1].Lookup(b.Context(), c)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		asked := time.Now()
		_, err = apps[0].Revoke(b.Context(), s)
		answered := time.Now()
		for err == nil {
			var found manager.Found
			if found, err = apps[1].Lookup(b.Context(), c); found.Session == nil {
				break
			}
		}
		if err != nil {
			b.Fatal(err)
		}
		lags, totals = append(lags, time.Since(answered)), append(totals, time.Since(asked))
	}
	for name, durations := range map[string][]time.Duration{"lag": lags, "total": totals} {
		slices.Sort(durations)
		for percent, unit := range map[int]string{50: "-p50-µs", 99: "-p99-µs"} {
			b.ReportMetric(float64(durations[len(durations)*percent/100].Microseconds()), name+unit)
		}
	}
}

// BenchmarkNearCacheMemory fills a cache with sessions as a sign-in page makes
// them, and counts the bytes that each takes up.
func BenchmarkNearCacheMemory(b *testing.B) {
	now := time.Now().UTC()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cache := nearcache.New(b.N, 0)
	cache.Armed(now.Add(time.Hour))
	for range b.N { // not b.Loop: the cache is as large as the number
		key := storetest.NewKey()
		value, err := native.Format{}.Encode(&session.Session{
			Key: key, ID: key.ID(), Identity: "alice@example.com", Traits: []byte(`{"email":"alice@example.com"}`), Method: "password",
			IssuedAt: now, AuthenticatedAt: now, ExpiresAt: now.Add(time.Hour),
			Device: session.Device{IPAddress: "192.0.2.7", UserAgent: strings.Repeat("Mozilla/5.0 ", 10)},
		})
		if err == nil {
			_, err = cache.Fill(b.Context(), key, now, func(context.Context) (*nearcache.Entry, error) {
				s, err := native.Format{}.Decode(key, value)
				return &nearcache.Entry{Session: s}, err
			})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(b.N), "B/session")
	runtime.KeepAlive(cache)
}
