package caddylogout

import (
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	a.reopen(func(o *opened) { o.Store = store })
	return store
}

// One key that the store cannot be asked about keeps no other from being done.
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
		storetest.NoError(t, j.add(s.Key, a.now(), ""))
	}
	wait(t, "all but the broken ones", func() bool { return j.count.Load() == broken })
	if got := a.live(t, all[broken:]); len(got) > 0 {
		t.Errorf("live: %v", got)
	}
	for _, s := range all[:broken] {
		server.CLI(t, "DEL", redisKey("session", s.Key))
	}
	wait(t, "the rest", func() bool { return j.count.Load() == 0 })
}

// The store comes back empty, so a pending logout finds nothing. Then a backup
// brings the sessions back: they are refused here, and ended for all servers.
func TestAttackRestoredSessions(t *testing.T) {
	t.Parallel()
	const sessions = 20
	tries, through := 0, 0
	for _, asked := range []bool{true, false} { // by a request, or by nobody
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
			storetest.NoError(t, j.add(s.Key, a.now(), ""))
		}
		wait(t, "replay", func() bool { return j.count.Load() == 0 })
		if j.keeping.Load() != sessions {
			t.Fatalf("%d are kept, want %d", j.keeping.Load(), sessions)
		}
		// A session that is not there is no pending logout: 401, not 202.
		if found, err := a.lookupKey(t.Context(), all[0].Key); err != nil || found.pending || found.session != nil {
			t.Errorf("before the backup: %+v, %v", found, err)
		}
		closeJournal(t, j) // the next process knows as much
		j = a.withJournal(t, file)
		for key, value := range values {
			server.CLI(t, "SET", redisKey("session", key), value, "EX", "3600")
		}
		if asked {
			tries += sessions
			through += len(a.live(t, all))
		}
		wait(t, "the other server to refuse them", func() bool { return len(other.live(t, all)) == 0 })
		wait(t, "nothing is left to do", func() bool { return j.count.Load() == 0 && j.keeping.Load() == 0 })
		tries += sessions
		through += len(a.live(t, all)) + len(other.live(t, all))
		closeJournal(t, j)
	}
	t.Logf("attack: sessions that a backup brings back after their logout: %d tries, %d got through", tries, through)
	if through > 0 {
		t.Errorf("%d are live", through)
	}
}

// What is kept is forgotten when the session could not live any longer, also by a
// process that finds it so.
func TestKeptLogoutsEnd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pending.db")
	a := newTestApp(t, nil)
	j := a.withJournal(t, file)
	ended, lasts := storetest.NewKey(), storetest.NewKey()
	for _, key := range []session.Key{ended, lasts} {
		storetest.NoError(t, j.add(key, a.now(), "192.0.2.1"))
	}
	storetest.NoError(t, j.keep(ended, time.Now().Add(-time.Second)))
	storetest.NoError(t, j.keep(lasts, time.Now().Add(time.Hour)))
	if j.keeps(ended) || !j.keeps(lasts) {
		t.Error("kept for the wrong time")
	}
	closeJournal(t, j)
	j = a.withJournal(t, file)
	defer closeJournal(t, j)
	wait(t, "the sweep", func() bool { return j.keeping.Load() == 1 })
	if !j.keeps(lasts) {
		t.Error("the other one is forgotten, too")
	}
}

// One address makes tokens up during an outage. It gets no more than its part of the
// journal, others get theirs, and the counts come out even.
func TestAttackJournalFlood(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	a.takeStoreAway()
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	const tries = 5 * maxPendingFrom
	var noted, refused, lost atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range tries / 50 {
				switch err := j.add(storetest.NewKey(), a.now(), "192.0.2.1"); {
				case err == nil:
					noted.Add(1)
				case errors.Is(err, errTooManyFrom):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	// Meanwhile, and afterwards, real people sign out.
	for i := range 100 {
		wg.Go(func() {
			if err := j.add(storetest.NewKey(), a.now(), "198.51.100."+strconv.Itoa(i)); err != nil {
				lost.Add(1)
			}
		})
	}
	wg.Wait()
	through := noted.Load() - maxPendingFrom
	t.Logf("attack: made-up logouts of one address in an outage: %d tries, %d got through", tries, max(through, 0))
	if through != 0 || refused.Load() != tries-maxPendingFrom || lost.Load() != 0 || j.count.Load() != maxPendingFrom+100 {
		t.Errorf("noted %d, refused %d, %d real ones lost, %d pending", noted.Load(), refused.Load(), lost.Load(), j.count.Load())
	}
}

// An address gets its places back when its logouts are done.
func TestJournalGivesPlacesBack(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, nil)
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	for range 3 {
		key := storetest.NewKey()
		storetest.NoError(t, j.add(key, a.now(), "192.0.2.1"))
		storetest.NoError(t, j.add(key, a.now(), "192.0.2.1")) // twice is once
		storetest.NoError(t, j.remove(key))
		kept := storetest.NewKey()
		storetest.NoError(t, j.add(kept, a.now(), "192.0.2.1"))
		storetest.NoError(t, j.keep(kept, time.Now().Add(time.Hour)))
		storetest.NoError(t, j.forget(kept))
	}
	j.places.Lock()
	defer j.places.Unlock()
	if len(j.from) != 0 || j.count.Load() != 0 || j.keeping.Load() != 0 {
		t.Errorf("places of %v, %d pending, %d kept", j.from, j.count.Load(), j.keeping.Load())
	}
}

// BenchmarkJournal notes logouts of 64 people at once.
func BenchmarkJournal(b *testing.B) {
	j, err := openJournal(filepath.Join(b.TempDir(), "pending.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := storetest.NewKey()
			if err := j.add(key, time.Now(), ""); err != nil {
				b.Error(err)
			}
			if err := j.remove(key); err != nil {
				b.Error(err)
			}
		}
	})
}
