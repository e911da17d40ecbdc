package caddylogout

import (
	"path/filepath"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/redisstore"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// onRedis puts the sessions of an app into a Redis server.
func (a *testApp) onRedis(t *testing.T, server *redistest.Server) *redisstore.Store {
	t.Helper()
	store := openRedis(t, RedisStore{Address: server.Addr(), Timeout: unhurried}, a.time)
	t.Cleanup(func() { _ = store.Close() })
	a.reopen(func(o *manager.Opened) { o.Store = store })
	return store
}

// One key that the store cannot look up delays no other logout.
func TestReplayGoesOnPastErrors(t *testing.T) {
	t.Parallel()
	const sessions, broken = 200, 5
	server := redistest.Start(t)
	a := newTestApp(t, nil)
	a.onRedis(t, server)
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	var all []*session.Session
	for range sessions {
		_, s := a.signIn(t, "alice", "")
		all = append(all, s)
	}
	for i, s := range all {
		if i < broken {
			server.CLI(t, "DEL", redisKey("session", s.Key))
			server.CLI(t, "LPUSH", redisKey("session", s.Key), "x")
		}
		storetest.NoError(t, j.Add(s.Key, a.now(), ""))
	}
	wait(t, "all but the broken ones", func() bool { return j.Pending() == broken })
	if got := a.live(t, all[broken:]); len(got) > 0 {
		t.Errorf("live: %v", got)
	}
	for _, s := range all[:broken] {
		server.CLI(t, "DEL", redisKey("session", s.Key))
	}
	wait(t, "the rest", func() bool { return j.Pending() == 0 })
}

// The store comes back empty, so a pending logout finds nothing. Then a backup
// brings the sessions back: they are refused here, and ended for all servers.
func TestAttackRestoredSessions(t *testing.T) {
	t.Parallel()
	const sessions = 20
	tries, through := 0, 0
	for _, asked := range []bool{true, false} { // by a request, or by the sweep
		server := redistest.Start(t)
		a, other := newTestApp(t, nil), newTestApp(t, nil)
		a.onRedis(t, server)
		other.onRedis(t, server)
		file := filepath.Join(t.TempDir(), "pending.db")
		j := a.withJournal(t, file)
		var all []*session.Session
		values := make(map[session.Key]string)
		for range sessions {
			_, s := a.signIn(t, "alice", "")
			all = append(all, s)
			values[s.Key] = server.CLI(t, "GET", redisKey("session", s.Key))
		}
		server.CLI(t, "FLUSHALL")
		for _, s := range all {
			storetest.NoError(t, j.Add(s.Key, a.now(), ""))
		}
		wait(t, "replay", func() bool { return j.Pending() == 0 })
		if j.Kept() != sessions {
			t.Fatalf("%d are kept, want %d", j.Kept(), sessions)
		}
		// A session that does not exist is not a pending logout: 401, not 202.
		if found, err := a.LookupKey(t.Context(), all[0].Key); err != nil || found.Pending || found.Session != nil {
			t.Errorf("before the backup: %+v, %v", found, err)
		}
		closeJournal(t, j)
		for key, value := range values {
			server.CLI(t, "SET", redisKey("session", key), value, "EX", "3600")
		}
		j = a.withJournal(t, file) // the next process knows as much, and looks at once
		if asked {
			tries += sessions
			through += len(a.live(t, all))
		}
		wait(t, "the other server to refuse them", func() bool { return len(other.live(t, all)) == 0 })
		wait(t, "nothing is left to do", func() bool { return j.Pending() == 0 && j.Kept() == 0 })
		tries += sessions
		through += len(a.live(t, all)) + len(other.live(t, all))
		closeJournal(t, j)
	}
	t.Logf("attack: sessions that a backup brings back after their logout: %d tries, %d got through", tries, through)
	if through > 0 {
		t.Errorf("%d are live", through)
	}
}
