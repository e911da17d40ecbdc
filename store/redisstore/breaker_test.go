package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// observe has the breakers of a store log to the test.
func observe(store *Store) *observer.ObservedLogs {
	core, logs := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)
	store.breakers.logger = func() *zap.Logger { return logger }
	return logs
}

func TestRedisBreaker(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := connect(t, config{Address: server.Addr()}, time.Now)
	logs := observe(store)
	storetest.WaitFor(t, "the first answer", func() bool { return store.Ping(t.Context()) == nil })

	// A caller that gives up says nothing about the server.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * breakerFailures {
		_, err := store.Get(gone, storetest.NewKey())
		if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrNotQueried) {
			t.Fatalf("%v, want one that was asked", err)
		}
	}
	// Nor do answers that are errors.
	server.CLI(t, "CONFIG", "SET", "maxmemory", "1")
	for range 2 * breakerFailures {
		if err := store.PutError(t.Context(), "x", nil, time.Now().Add(time.Minute)); errors.Is(err, session.ErrNotQueried) {
			t.Fatal("the breaker opened for a server that is full")
		}
	}
	server.CLI(t, "CONFIG", "SET", "maxmemory", "0")
	storetest.WaitFor(t, "an answer", func() bool { return store.Ping(t.Context()) == nil })

	server.Pause(t)
	for i := range breakerFailures {
		begin := time.Now()
		_, err := store.Get(t.Context(), storetest.NewKey())
		if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrNotQueried) {
			t.Fatalf("%d: %v, want one that was asked", i, err)
		}
		if took := time.Since(begin); took > farTooLong {
			t.Errorf("%d: took %v", i, took)
		}
	}
	fastest := time.Hour
	for range 100 {
		begin := time.Now()
		_, err := store.Get(t.Context(), storetest.NewKey())
		if fastest = min(fastest, time.Since(begin)); !errors.Is(err, session.ErrNotQueried) || !errors.Is(err, session.ErrUnavailable) {
			t.Fatalf("%v, want one that was not asked", err)
		}
	}
	t.Logf("refused in %v", fastest)
	if fastest > time.Millisecond {
		t.Errorf("to be refused takes %v", fastest)
	}
	storetest.WantUnavailable(t.Context(), t, store)

	server.Resume(t)
	storetest.WaitFor(t, "the breaker to close", func() bool { return store.Ping(t.Context()) == nil })
	var messages []string
	for _, entry := range logs.All() {
		messages = append(messages, fmt.Sprintf("%s %s %v", entry.Level, entry.Message, entry.ContextMap()["server"]))
	}
	want := []string{"warn redis is unavailable " + server.Addr(), "info redis is available again " + server.Addr()}
	if fmt.Sprint(messages) != fmt.Sprint(want) {
		t.Errorf("logged %q, want %q", messages, want)
	}
	storetest.NoError(t, store.Close())
}

// TestRedisBreakerEnds closes a store while it probes: nothing stays behind.
func TestRedisBreakerEnds(t *testing.T) {
	server := redistest.Start(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	store := connect(t, config{Address: server.Addr()}, time.Now)
	server.Pause(t)
	for range breakerFailures {
		if err := store.Ping(t.Context()); err == nil {
			t.Fatal("a frozen server answered")
		}
	}
	storetest.NoError(t, store.Close())
	storetest.WantUnavailable(t.Context(), t, store)
}

// TestRedisNeverAnswers asks servers that never answered anything.
func TestRedisNeverAnswers(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	storetest.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	silent := listener.Addr().String() // takes connections and says nothing
	for name, config := range map[string]config{
		"one server":   {Address: silent},
		"Sentinel":     {Sentinel: &sentinels{Master: "main", Addresses: []string{silent}}},
		"Cluster":      {Cluster: []string{silent}},
		"a black hole": {Address: redistest.BlackHole(t)}, // not even takes a connection
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := connect(t, config, time.Now)
			defer store.Close()
			for range breakerFailures {
				begin := time.Now()
				if _, err := store.Get(t.Context(), storetest.NewKey()); !errors.Is(err, session.ErrUnavailable) {
					t.Errorf("%v, want ErrUnavailable", err)
				}
				if took := time.Since(begin); took > farTooLong {
					t.Errorf("took %v", took)
				} else {
					t.Logf("took %v", took.Round(time.Millisecond))
				}
			}
			storetest.WaitFor(t, "the breaker to open", func() bool {
				_, err := store.Get(t.Context(), storetest.NewKey())
				return errors.Is(err, session.ErrNotQueried)
			})
		})
	}
}

func TestIsAway(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		away bool
	}{
		"none":                 {nil, false},
		"nothing there":        {redis.Nil, false},
		"nobody waits":         {context.Canceled, false},
		"closed by us":         {redis.ErrClosed, false},
		"timeout":              {context.DeadlineExceeded, true},
		"end of connection":    {io.EOF, true},
		"dial":                 {&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		"of a Sentinel":        {fmt.Errorf("all sentinels: %w", redis.Nil), true},
		"loading":              {replyError("LOADING Redis is loading the dataset in memory"), true},
		"no password":          {replyError("NOAUTH Authentication required."), true},
		"wrong password":       {replyError("WRONGPASS invalid username-password pair"), true},
		"full":                 {replyError("OOM command not allowed"), false},
		"replica":              {replyError("READONLY You can't write against a read only replica."), false},
		"cannot write to disk": {replyError("MISCONF Redis is configured to save RDB snapshots"), false},
		"too few replicas":     {replyError("NOREPLICAS Not enough good replicas to write."), false},
		"forbidden":            {replyError("NOPERM this user has no permissions"), false},
		"slots are gone":       {replyError("CLUSTERDOWN Hash slot not served"), false},
	} {
		if got := isAway(tc.err); got != tc.away {
			t.Errorf("%s: %v, want %v", name, got, tc.away)
		}
	}
}
