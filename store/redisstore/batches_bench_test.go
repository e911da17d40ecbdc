//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// BenchmarkReadsTogether measures checks that ask Redis, with several callers at
// once. It compares the store's own batches with one pipeline a check, and with
// the AutoPipeliner of go-redis. The CPU time leaves out that of Redis.
func BenchmarkReadsTogether(b *testing.B) {
	store := connectForBench(b, redistest.Start(b).Addr())
	key := storetest.NewKey()
	entry := session.Entry{Identity: "alice", Value: make([]byte, 400), ExpiresAt: time.Now().Add(time.Hour)}
	if err := store.Create(b.Context(), key, entry); err != nil {
		b.Fatal(err)
	}
	auto := openAutoReads(b, store)
	ways := []struct {
		name string
		read readFunc
	}{
		{"own batches", store.Get},
		{"pipeline each", auto.getAlone},
		{"deferred", auto.getDeferred},
		{"deferred from 8", from8(auto.getAlone, auto.getDeferred)},
		{"blocking", auto.getBlocking},
		{"MGET from 8", from8(auto.getAlone, auto.getBoth)},
	}
	for _, callers := range []int{1, 2, 8, 64} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("%s/%d", way.name, callers), func(b *testing.B) {
				benchmarkReads(b, callers, func(ctx context.Context) error {
					rec, err := way.read(ctx, key)
					if err == nil && len(rec.Value) != len(entry.Value) {
						err = fmt.Errorf("a value of %d bytes", len(rec.Value))
					}
					return err
				})
			})
		}
	}
}

type readFunc = func(context.Context, session.Key) (session.Record, error)

// from8 uses many only while at least 8 callers read.
func from8(few, many readFunc) readFunc {
	var reading atomic.Int32
	return func(ctx context.Context, key session.Key) (session.Record, error) {
		defer reading.Add(-1)
		if reading.Add(1) < 8 {
			return few(ctx, key)
		}
		return many(ctx, key)
	}
}

// autoReads reads sessions as the store does, through AutoPipeliners.
type autoReads struct {
	*Store
	deferred, blocking *redis.AutoPipeliner
}

func openAutoReads(b *testing.B, store *Store) autoReads {
	b.Helper()
	client, options := store.client.(*redis.Client), &redis.AutoPipelineOptions{MaxBatchSize: 2 * readsAtOnce}
	deferred, err := client.AsyncAutoPipelineWithOptions(options)
	if err != nil {
		b.Fatal(err)
	}
	blocking, err := client.AutoPipelineWithOptions(options)
	if err != nil {
		b.Fatal(err)
	}
	return autoReads{store, deferred, blocking}
}

// getAlone sends a pipeline of its own.
func (s autoReads) getAlone(ctx context.Context, key session.Key) (session.Record, error) {
	read := &readRequest{request: request{operation: "get"}, key: key}
	s.readAll(ctx, []*readRequest{read})
	return read.rec, read.err
}

// getDeferred submits both commands in order, then waits for both. The context
// ends only the wait: AutoPipeliner still sends the commands.
func (s autoReads) getDeferred(ctx context.Context, key session.Key) (session.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	commands := []redis.Cmder{
		redis.NewStringCmd(ctx, "get", s.sessionKey(key)),
		redis.NewStringCmd(ctx, "get", s.tombstoneKey(key)),
	}
	var futures [2]redis.AutoFuture
	for i, command := range commands {
		futures[i] = s.deferred.Submit(ctx, command)
	}
	for _, future := range futures {
		// Until the wait has ended without ctx, the command may still change.
		if err := future.WaitContext(ctx); err != nil && ctx.Err() != nil {
			return session.Record{}, failure("get", ctx.Err())
		}
	}
	return readRecord("get", commands)
}

// getBlocking waits for each command before it sends the next. The context ends
// no wait.
func (s autoReads) getBlocking(ctx context.Context, key session.Key) (session.Record, error) {
	return readRecord("get", []redis.Cmder{
		s.blocking.Get(ctx, s.sessionKey(key)),
		s.blocking.Get(ctx, s.tombstoneKey(key)),
	})
}

// getBoth is getBlocking with one command. It overlooks a tombstone of the wrong
// type, which MGET reports as not found.
func (s autoReads) getBoth(ctx context.Context, key session.Key) (session.Record, error) {
	found, err := s.blocking.MGet(ctx, s.sessionKey(key), s.tombstoneKey(key)).Result()
	if err != nil {
		return session.Record{}, failure("get", err)
	}
	var rec session.Record
	if value, ok := found[0].(string); ok {
		rec.Value = []byte(value)
	}
	if value, ok := found[1].(string); ok {
		rec.RevokedAt = readTombstone(value)
	}
	return rec, nil
}

// benchmarkReads has callers share b.N reads.
func benchmarkReads(b *testing.B, callers int, read func(context.Context) error) {
	b.Helper()
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime(b)
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				asked := time.Now()
				if err := read(b.Context()); err != nil {
					b.Error(err)
					return
				}
				took[i-1] = time.Since(asked)
			}
		})
	}
	wg.Wait()
	used := cpuTime(b) - began
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(took[b.N/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[b.N*99/100].Nanoseconds()), "p99-ns")
}

// cpuTime returns the CPU time of this process, with that of the kernel for it.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
