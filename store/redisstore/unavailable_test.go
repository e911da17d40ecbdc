package redisstore

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// TestRedisAway stops the server in the ways that servers stop.
func TestRedisAway(t *testing.T) {
	t.Run("killed and back", func(t *testing.T) {
		server, s := startRedis(t)
		storetest.NoError(t, s.Ping(t.Context()))
		server.Stop(t)
		storetest.WantUnavailable(t.Context(), t, s.Store)
	})
	t.Run("frozen and back", func(t *testing.T) {
		server, s := startRedis(t)
		key := s.Make(t, "alice")
		server.Pause(t)
		storetest.WantUnavailable(t.Context(), t, s.Store)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Get(ctx, key); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("a call of 50 ms took %v", took)
		}
		server.Resume(t)
		storetest.WaitFor(t, "the server to be back", func() bool { return s.Ping(t.Context()) == nil })
		s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
	})
	t.Run("never there", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		storetest.NoError(t, err)
		addr := listener.Addr().String()
		storetest.NoError(t, listener.Close())
		store := connect(t, config{Address: addr}, time.Now)
		storetest.WantUnavailable(t.Context(), t, store)
		storetest.NoError(t, store.Close())
		storetest.WantUnavailable(t.Context(), t, store)
	})
	t.Run("full", func(t *testing.T) {
		server, s := startRedis(t)
		server.CLI(t, "CONFIG", "SET", "maxmemory", "1")
		err := s.Create(t.Context(), storetest.NewKey(), s.NewEntry("alice"))
		if !errors.Is(err, session.ErrUnavailable) || !strings.HasSuffix(err.Error(), "OOM") {
			t.Errorf("%v, want ErrUnavailable and OOM", err)
		}
	})
	t.Run("refuses a part", func(t *testing.T) {
		// Whatever the user may not do, a revocation that says it is done is done.
		for _, may := range []string{"-zrem", "-pexpireat", "-set", "-del", "-exec"} {
			server, s := startRedis(t)
			key := s.Make(t, "alice")
			server.CLI(t, "ACL", "SETUSER", "caddy", "on", ">a-password", "~*", "+@all", may)
			user := connect(t, config{Address: server.Addr(), Username: "caddy", Password: "a-password"}, s.Now)
			_, err := user.Revoke(t.Context(), key, "alice", s.Now(), s.Now().Add(time.Hour))
			storetest.NoError(t, user.Close())
			if !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("%s: %v, want ErrUnavailable", may, err)
			}
			s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
		}
	})
	t.Run("refuses to write", func(t *testing.T) {
		// What cannot have a tombstone must not be deleted either: it would be
		// written back by a request in flight, and nobody would know.
		for name, refuse := range map[string][]string{
			"OOM":        {"CONFIG", "SET", "maxmemory", "1"},
			"READONLY":   {"REPLICAOF", "127.0.0.1", "1"},
			"NOREPLICAS": {"CONFIG", "SET", "min-replicas-to-write", "1"},
		} {
			server, s := startRedis(t)
			key := s.Make(t, "alice")
			server.CLI(t, refuse...)
			ended, err := s.Revoke(t.Context(), key, "alice", s.Now(), s.Now().Add(time.Hour))
			if ended || !errors.Is(err, session.ErrUnavailable) || !strings.HasSuffix(err.Error(), name) {
				t.Errorf("%s: %v %v, want ErrUnavailable and %s", name, ended, err, name)
			}
			s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
			s.WantKeys(t, "alice", key)
		}
	})
}

// TestRedisSecrets looks for secrets and keys in every error there is.
func TestRedisSecrets(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "the-password")
	good := connect(t, config{Address: server.Addr(), Password: "the-password"}, time.Now)
	storetest.NoError(t, good.Ping(t.Context()))
	storetest.NoError(t, good.Close())

	cases := []struct {
		name   string
		config config
	}{
		{"no password", config{}},
		{"wrong password", config{Password: "hunter2-secret"}},
		{"wrong user", config{Username: "nobody-secret", Password: "hunter2-secret"}},
		{"wrong database", config{Password: "the-password", DB: 9999}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tc.config.Address = server.Addr()
			store := connect(t, tc.config, time.Now)
			defer store.Close()
			storetest.WantUnavailable(t.Context(), t, store)
			err := store.Ping(t.Context())
			for _, secret := range []string{"secret", "the-password"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func TestRedisErrorKeepsNothing(t *testing.T) {
	for _, text := range []string{
		"ERR unknown command 'x', with args beginning with: 'caddy-logout:session:{secret}'",
		"secret", "", " secret", "Secret is here",
	} {
		for _, err := range []error{errors.New(text), replyError(text)} {
			got := failure("get", err)
			if !errors.Is(got, session.ErrUnavailable) || strings.Contains(strings.ToLower(got.Error()), "secret") {
				t.Errorf("%q became %v", text, got)
			}
		}
	}
}

// replyError is an error that the server answered.
type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

func TestRedisUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // its own is too long for a socket's name
	storetest.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	redistest.Start(t, "--unixsocket", socket)
	for _, address := range []string{"unix/" + socket, "unix://" + socket} {
		store := connect(t, config{Address: address, DB: 3}, time.Now)
		storetest.NoError(t, store.Ping(t.Context()))
		storetest.NoError(t, store.Close())
	}
}
