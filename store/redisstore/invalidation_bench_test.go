package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// BenchmarkInvalidation signs in, checks on one server, and logs out, with many
// servers that listen, in the two ways in which Redis reports changes. It counts
// the CPU time of Redis and the bytes that it sends, for one such cycle.
func BenchmarkInvalidation(b *testing.B) {
	ways := map[string]func(*testing.B, *Store){
		"broadcast": func(b *testing.B, store *Store) { redistest.Arm(b, store, nearcache.New(nearcache.DefaultEntries, 0)) },
		"each key":  trackEachKey,
	}
	for _, proxies := range []int{0, 1, 10, 50} {
		for way, listen := range ways {
			b.Run(fmt.Sprintf("%s to %d", way, proxies), func(b *testing.B) {
				server := redistest.Start(b)
				stores := make([]*Store, max(proxies, 1))
				for i := range stores {
					stores[i] = connectForBench(b, server.Addr())
					if i < proxies {
						listen(b, stores[i])
					}
				}
				benchmarkCycles(b, server, stores)
			})
		}
	}
}

// trackEachKey has the connections of a store report what was read on them to a
// connection that listens.
func trackEachKey(b *testing.B, store *Store) {
	b.Helper()
	l := &listener{watch: &watch{logger: func(string) *zap.Logger { return zap.NewNop() }, sink: nearcache.New(1, 0)}, options: *store.client.(*redis.Client).Options()}
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

func benchmarkCycles(b *testing.B, server *redistest.Server, stores []*Store) {
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
			store, key, now := stores[int(next.Add(1))%len(stores)], storetest.NewKey(), time.Now()
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

func connectForBench(b *testing.B, addr string) *Store {
	b.Helper()
	store := Open(config{Address: addr}.options(time.Now))
	b.Cleanup(func() { _ = store.Close() })
	return store
}

func BenchmarkRedisStore(b *testing.B) {
	storetest.Bench(b, Open(config{Address: redistest.Start(b).Addr()}.options(time.Now)))
}
