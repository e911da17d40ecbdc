package caddylogout

import (
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// watchedApp is a server of sessions on a Redis, with its near cache armed.
type watchedApp struct {
	*testApp
	store *countingStore
}

// watch makes an app on a Redis as another server would be; the apps of one test
// share nothing but Redis.
func watch(t *testing.T, server *redistest.Server, config RedisStore, maxStale time.Duration) *watchedApp {
	t.Helper()
	config.Address = server.Addr()
	return watchOn(t, config, maxStale)
}

func watchOn(t *testing.T, config RedisStore, maxStale time.Duration) *watchedApp {
	t.Helper()
	a := newTestApp(t, nil)
	a.useClock(time.Now)
	onRedis := openRedis(t, config, time.Now)
	store := &countingStore{Store: onRedis}
	a.use(&manager.Opened{Store: store, Cache: nearcache.New(1000, maxStale)})
	stop := onRedis.Watch(a.open().Cache)
	t.Cleanup(func() {
		stop()
		_ = onRedis.Close()
	})
	return &watchedApp{a, store}
}

func (a *watchedApp) waitArmed(t *testing.T, want bool) {
	t.Helper()
	storetest.WaitFor(t, "armed to be "+strconv.FormatBool(want), func() bool { return a.open().Cache.Stats().Armed == want })
}

// warm looks a session up until it comes from the cache.
func (a *watchedApp) warm(t *testing.T, c session.Credential) {
	t.Helper()
	storetest.WaitFor(t, "a hit", func() bool {
		a.wantLive(t, c, true)
		return a.open().Cache.Get(session.KeyOf(c.Secret()), time.Now()) != nil
	})
}

// waitForget waits until the cache knows nothing of a credential.
func (a *watchedApp) waitForget(t *testing.T, c session.Credential) {
	t.Helper()
	storetest.WaitFor(t, "the cache to forget", func() bool { return a.open().Cache.Get(session.KeyOf(c.Secret()), time.Now()) == nil })
}

func TestWatchReports(t *testing.T) {
	server := redistest.Start(t)
	a, b := watch(t, server, RedisStore{}, 0), watch(t, server, RedisStore{}, 0)
	otherPrefix := watch(t, server, RedisStore{KeyPrefix: "other:"}, 0)
	for _, each := range []*watchedApp{a, b, otherPrefix} {
		each.waitArmed(t, true)
	}
	epoch := a.open().Cache.Epoch()
	changes := map[string]struct {
		change func(t *testing.T, c session.Credential, s *session.Session)
		live   bool
	}{
		"logout on another server": {func(t *testing.T, _ session.Credential, s *session.Session) {
			_, err := b.Revoke(t.Context(), s)
			storetest.NoError(t, err)
		}, false},
		"all of a person on another server": {func(t *testing.T, _ session.Credential, _ *session.Session) {
			_, err := b.RevokeKeys(t.Context(), "alice", func(session.Key) bool { return true })
			storetest.NoError(t, err)
		}, false},
		"DEL by hand": {func(t *testing.T, _ session.Credential, s *session.Session) {
			server.CLI(t, "DEL", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}")
		}, false},
		"a tombstone by hand": {func(t *testing.T, _ session.Credential, s *session.Session) {
			server.CLI(t, "SET", defaultRedisKeyPrefix+"revoked:{"+s.Key.String()+"}", "gone", "EX", "600")
		}, false},
		"an end by hand": {func(t *testing.T, _ session.Credential, s *session.Session) {
			server.CLI(t, "PEXPIREAT", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}", "1")
		}, false},
		"renamed": {func(t *testing.T, _ session.Credential, s *session.Session) {
			server.CLI(t, "RENAME", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}", "elsewhere")
		}, false},
		"FLUSHDB":  {func(t *testing.T, _ session.Credential, _ *session.Session) { server.CLI(t, "FLUSHDB") }, false},
		"FLUSHALL": {func(t *testing.T, _ session.Credential, _ *session.Session) { server.CLI(t, "FLUSHALL") }, false},
		"written again": {func(t *testing.T, _ session.Credential, s *session.Session) {
			value, err := a.Format.Encode(s)
			storetest.NoError(t, err)
			server.CLI(t, "SET", defaultRedisKeyPrefix+"session:{"+s.Key.String()+"}", string(value))
		}, true},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			c, s := b.signIn(t, "alice", "")
			a.warm(t, c)
			change.change(t, c, s)
			a.waitForget(t, c)
			a.wantLive(t, c, change.live)
		})
	}
	if got := a.open().Cache.Epoch() - epoch; got != 2 {
		t.Errorf("all was dropped %d times, want 2: FLUSHDB and FLUSHALL", got)
	}

	t.Run("a session for a key that was unknown", func(t *testing.T) {
		c, s := b.signIn(t, "alice", "")
		name := defaultRedisKeyPrefix + "session:{" + s.Key.String() + "}"
		value := server.CLI(t, "GET", name)
		server.CLI(t, "DEL", name)
		storetest.WaitFor(t, "the unknown key in the cache", func() bool {
			a.wantLive(t, c, false)
			return a.open().Cache.Get(s.Key, time.Now()) != nil
		})
		server.CLI(t, "SET", name, value)
		a.waitForget(t, c)
		a.wantLive(t, c, true)
	})
	t.Run("what is no change of a session", func(t *testing.T) {
		// Change notifications come in order: after this one, all earlier ones have
		// arrived.
		barrier := func() {
			last, _ := b.signIn(t, "alice", "")
			a.warm(t, last)
			server.CLI(t, "DEL", defaultRedisKeyPrefix+"session:{"+session.KeyOf(last.Secret()).String()+"}")
			a.waitForget(t, last)
		}
		c, s := b.signIn(t, "alice", "")
		barrier() // the sign-in itself is a change
		a.warm(t, c)
		epoch := a.open().Cache.Epoch()
		for _, name := range []string{"used:{" + s.Key.String() + "}", "session:" + s.Key.String(), "session:{x}", "revoked:{" + s.Key.ID() + "}"} {
			server.CLI(t, "SET", defaultRedisKeyPrefix+name, "1")
		}
		server.CLI(t, "SET", "other:session:{"+s.Key.String()+"}", "1")
		barrier()
		// A busy machine may have lost the listener for a moment: then all is dropped.
		if a.open().Cache.Get(s.Key, time.Now()) == nil && a.open().Cache.IsArmed() && a.open().Cache.Epoch() == epoch {
			t.Error("a session was dropped that nobody changed")
		}
	})
}

// TestWatchLost breaks the listener's connection in several ways.
func TestWatchLost(t *testing.T) {
	server := redistest.Start(t)
	a := watch(t, server, RedisStore{}, 0)
	a.waitArmed(t, true)

	t.Run("killed", func(t *testing.T) {
		c, _ := a.signIn(t, "alice", "")
		a.warm(t, c)
		epoch := a.open().Cache.Epoch()
		if id := server.TrackingClient(t); server.CLI(t, "CLIENT", "KILL", "ID", id) != "1" {
			t.Fatal("no connection was killed")
		}
		storetest.WaitFor(t, "the cache to be cleared", func() bool { return a.open().Cache.Epoch() > epoch })
		a.waitArmed(t, true)
		if a.open().Cache.Get(session.KeyOf(c.Secret()), time.Now()) != nil {
			t.Error("an entry of before is still there")
		}
		a.warm(t, c)
	})
	t.Run("frozen", func(t *testing.T) {
		c, _ := a.signIn(t, "alice", "")
		a.warm(t, c)
		server.Pause(t)
		frozen := time.Now()
		a.waitArmed(t, false)
		if took := time.Since(frozen); took > 2*time.Second { // one, on an idle machine
			t.Errorf("served for %v after the server hung, want at most 1 s", took)
		}
		if _, err := a.Lookup(t.Context(), c); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
		server.Resume(t)
		a.waitArmed(t, true)
		a.warm(t, c)
	})
	t.Run("gone", func(t *testing.T) {
		c, _ := a.signIn(t, "alice", "")
		a.warm(t, c)
		server.Stop(t)
		a.waitArmed(t, false)
		if _, err := a.Lookup(t.Context(), c); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
	})
}

// TestWatchNeverStale ends sessions under load, with listeners that are killed all
// the time: a server that knows of the logout refuses the session, and after the
// change notification all servers do.
func TestWatchNeverStale(t *testing.T) {
	server := redistest.Start(t)
	a, b := watch(t, server, RedisStore{}, 0), watch(t, server, RedisStore{}, 0)
	a.waitArmed(t, true)
	b.waitArmed(t, true)
	stop := make(chan struct{})
	var users sync.WaitGroup
	defer users.Wait()
	defer close(stop)
	for i := range 30 {
		c, s := a.signIn(t, "alice", "")
		for range 2 {
			users.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
						_, _ = b.Lookup(t.Context(), c)
					}
				}
			})
		}
		b.warm(t, c)
		if i%10 == 5 {
			server.CLI(t, "CLIENT", "KILL", "ID", server.TrackingClient(t))
		}
		_, err := a.Revoke(t.Context(), s)
		storetest.NoError(t, err)
		a.wantLive(t, c, false)
		storetest.WaitFor(t, "the logout", func() bool {
			found, err := b.Lookup(t.Context(), c)
			storetest.NoError(t, err)
			return found.Session == nil
		})
		for range 100 {
			b.wantLive(t, c, false)
		}
	}
}

func TestWatchRefused(t *testing.T) {
	tests := map[string]struct {
		args   []string
		config RedisStore
	}{
		"no right to it":  {[]string{"--user", "narrow", "on", ">narrow", "~*", "+@all", "-client"}, RedisStore{Username: "narrow", Password: "narrow"}},
		"no such command": {[]string{"--rename-command", "CLIENT", ""}, RedisStore{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, test.args...)
			strict, stale := watch(t, server, test.config, 0), watch(t, server, test.config, time.Second)
			stale.waitArmed(t, true)
			c, s := strict.signIn(t, "alice", "")
			stale.warm(t, c)
			_, err := strict.Revoke(t.Context(), s)
			storetest.NoError(t, err)
			began := time.Now()
			storetest.WaitFor(t, "the logout", func() bool {
				found, err := stale.Lookup(t.Context(), c)
				storetest.NoError(t, err)
				return found.Session == nil
			})
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("max_stale of 1 s took %v", took)
			}
			if strict.open().Cache.Stats().Armed {
				t.Error("armed, though the server reports nothing")
			}
		})
	}
}

// TestWatchEnds checks that stop leaves nothing behind, whatever the server does.
func TestWatchEnds(t *testing.T) {
	server := redistest.Start(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	config := RedisStore{Address: server.Addr()}
	for _, when := range []string{"armed", "at once", "frozen", "gone"} {
		t.Run(when, func(t *testing.T) {
			store, cache := openRedis(t, config, time.Now), nearcache.New(10, 0)
			switch when {
			case "frozen":
				server.Pause(t)
				defer server.Resume(t)
			case "gone":
				server.Stop(t)
			}
			stop := store.Watch(cache)
			if when == "armed" {
				storetest.WaitFor(t, "armed", func() bool { return cache.Stats().Armed })
			}
			began := time.Now()
			stop()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("stop took %v", took)
			}
			if cache.Stats().Armed {
				t.Error("still armed")
			}
			storetest.NoError(t, store.Close())
		})
	}
}

// TestCacheLivesThroughReload opens apps as a reload does: the new one before
// the old one is cleaned up.
func TestCacheLivesThroughReload(t *testing.T) {
	server := redistest.Start(t)
	open := func(t *testing.T, config string, near NearCache) *manager.Opened {
		t.Helper()
		a := newTestApp(t, func(a *App) { a.StoreRaw, a.NearCache = json.RawMessage(config), near })
		open, err := a.TakeStore()
		storetest.NoError(t, err)
		t.Cleanup(func() {
			storetest.NoError(t, a.Cleanup())
			deferred.Closes.Flush()
		})
		return open
	}
	onRedis := `{"module":"redis","address":"` + server.Addr() + `"}`
	old, same := open(t, onRedis, NearCache{}), open(t, onRedis, NearCache{})
	if old.Cache == nil || old.Cache != same.Cache {
		t.Error("a reload does not hand the cache on")
	}
	if other := open(t, onRedis, NearCache{Entries: 10}); other.Cache == nil || other.Cache == old.Cache {
		t.Error("other settings need a cache of their own")
	}
	if off := open(t, onRedis, NearCache{Off: true}); off.Cache != nil {
		t.Error("off, and there is a cache")
	}
}
