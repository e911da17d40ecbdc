// This file measures the near cache: how soon a logout is known elsewhere, and
// what the reports cost Redis.

package caddylogout

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
)

func openRedisForBench(b *testing.B, addr string) *redisStore {
	b.Helper()
	config := RedisStore{Address: addr}
	if err := config.Provision(caddy.Context{}); err != nil {
		b.Fatal(err)
	}
	store, err := config.open(time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	return store
}

func watchForBench(b *testing.B, store *redisStore) *nearCache {
	b.Helper()
	cache := newNearCache(defaultCacheEntries, 0)
	b.Cleanup(store.Watch(cache))
	for began := time.Now(); !cache.armed(); {
		if time.Since(began) > 10*time.Second {
			b.Fatal("not armed")
		}
	}
	return cache
}

// BenchmarkRevocationLag logs out on one server and asks another one, which has
// the session in its cache, until it refuses. Lag counts from when the first one
// could answer, total from when it was asked.
func BenchmarkRevocationLag(b *testing.B) {
	addr := redistest.Start(b).Addr()
	var apps [2]*App
	for i := range apps {
		store := openRedisForBench(b, addr)
		apps[i] = &App{clock: time.Now, format: nativeFormat{}, Lifespan: caddy.Duration(time.Hour)}
		apps[i].use(&opened{Store: store, cache: watchForBench(b, store)})
	}
	var lags, totals []time.Duration
	for b.Loop() {
		b.StopTimer()
		c, s, err := apps[0].issue(b.Context(), newSession{identity: "alice"})
		for err == nil && apps[1].open().cache.get(s.Key, time.Now()) == nil {
			_, err = apps[1].lookup(b.Context(), c)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		asked := time.Now()
		_, err = apps[0].revoke(b.Context(), s)
		answered := time.Now()
		for err == nil {
			var found lookupResult
			if found, err = apps[1].lookup(b.Context(), c); found.session == nil {
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

// BenchmarkInvalidation signs in, checks on one server, and logs out, with many
// servers that listen, in the two ways in which Redis reports changes. It counts
// the CPU time of Redis and the bytes that it sends, for one such cycle.
func BenchmarkInvalidation(b *testing.B) {
	for _, proxies := range []int{0, 1, 10, 50} {
		b.Run(fmt.Sprintf("broadcast to %d", proxies), func(b *testing.B) {
			server := redistest.Start(b)
			stores := make([]*redisStore, max(proxies, 1))
			for i := range stores {
				stores[i] = openRedisForBench(b, server.Addr())
				if i < proxies {
					watchForBench(b, stores[i])
				}
			}
			benchmarkCycles(b, server, stores)
		})
		b.Run(fmt.Sprintf("each key to %d", proxies), func(b *testing.B) {
			server := redistest.Start(b)
			stores := make([]*redisStore, max(proxies, 1))
			for i := range stores {
				stores[i] = openRedisForBench(b, server.Addr())
				if i < proxies {
					trackEachKey(b, stores[i])
				}
			}
			benchmarkCycles(b, server, stores)
		})
	}
}

// trackEachKey has the connections of a store report what was read on them to a
// connection that listens.
func trackEachKey(b *testing.B, store *redisStore) {
	b.Helper()
	l := &redisListener{watch: &redisWatch{sink: newNearCache(1, 0)}, options: *store.client.(*redis.Client).Options()}
	var id atomic.Int64
	listen := l.options
	listen.PushNotificationProcessor = redis.NewPushNotificationProcessor()
	listen.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		got, err := conn.ClientID(ctx).Result()
		id.Store(got)
		return err
	}
	client := redis.NewClient(&listen)
	if err := client.RegisterPushNotificationHandler("invalidate", l, false); err != nil {
		b.Fatal(err)
	}
	listening := client.Subscribe(b.Context())
	pings := newPings(time.Now)
	if err := pings.send(b.Context(), listening); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { pings.keep(ctx, listening) })
	running.Go(func() {
		for ctx.Err() == nil {
			_, _ = listening.ReceiveTimeout(ctx, watchSilence)
		}
	})
	b.Cleanup(func() {
		cancel()
		_ = listening.Close()
		running.Wait()
		_ = client.Close()
	})
	track := l.options
	track.PushNotificationProcessor = redis.NewPushNotificationProcessor()
	track.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		return conn.ClientTrackingOn(ctx, &redis.ClientTrackingOptions{Redirect: id.Load()}).Err()
	}
	store.client = redis.NewClient(&track)
	b.Cleanup(func() { _ = store.client.Close() })
}

func benchmarkCycles(b *testing.B, server *redistest.Server, stores []*redisStore) {
	b.Helper()
	used := func() (cpu, sent float64) {
		for line := range strings.Lines(server.CLI(b, "INFO", "everything")) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			number, _ := strconv.ParseFloat(value, 64)
			switch name {
			case "used_cpu_user", "used_cpu_sys":
				cpu += number
			case "total_net_output_bytes":
				sent = number
			}
		}
		return cpu, sent
	}
	cpu, sent := used()
	var next atomic.Int64
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			store, key, now := stores[int(next.Add(1))%len(stores)], newKey(), time.Now()
			err := store.Create(b.Context(), key, session.Entry{Identity: key.Short(), Value: make([]byte, 400), ExpiresAt: now.Add(time.Hour)})
			if err == nil {
				_, err = store.Get(b.Context(), key)
			}
			if err == nil {
				_, err = store.Revoke(b.Context(), key, key.Short(), now, now.Add(time.Hour))
			}
			if err != nil {
				b.Error(err)
			}
		}
	})
	cpuAfter, sentAfter := used()
	b.ReportMetric((cpuAfter-cpu)*1e6/float64(b.N), "redis-µs/op")
	b.ReportMetric((sentAfter-sent)/float64(b.N), "sent-B/op")
}

// BenchmarkNearCacheMemory fills a cache with sessions as a sign-in page makes
// them, and counts the bytes that each takes up.
func BenchmarkNearCacheMemory(b *testing.B) {
	now := time.Now().UTC()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cache := newNearCache(b.N, 0)
	cache.Armed(now.Add(time.Hour))
	for range b.N { // not b.Loop: the cache is as large as the number
		key := newKey()
		value, err := nativeFormat{}.Encode(&session.Session{
			Key: key, ID: key.ID(), Identity: "alice@example.com", Traits: []byte(`{"email":"alice@example.com"}`), Method: "password",
			IssuedAt: now, AuthenticatedAt: now, ExpiresAt: now.Add(time.Hour),
			Device: session.Device{IPAddress: "192.0.2.7", UserAgent: strings.Repeat("Mozilla/5.0 ", 10)},
		})
		if err == nil {
			_, err = cache.fill(b.Context(), key, now, func(context.Context) (*cached, error) {
				s, err := nativeFormat{}.Decode(key, value)
				return &cached{session: s}, err
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
