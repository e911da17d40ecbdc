package journal

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// What is kept is forgotten when the session could not live any longer, also by a
// process that finds it so.
func TestKeptLogoutsEnd(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pending.db")
	j := openFor(t, file, notFound)
	ended, lasts := storetest.NewKey(), storetest.NewKey()
	for _, key := range []session.Key{ended, lasts} {
		storetest.NoError(t, j.Add(key, time.Now(), "192.0.2.1"))
	}
	storetest.NoError(t, j.keep(ended, time.Now().Add(-time.Second)))
	storetest.NoError(t, j.keep(lasts, time.Now().Add(time.Hour)))
	if j.Keeps(ended) || !j.Keeps(lasts) {
		t.Error("kept for the wrong time")
	}
	closeAlone(t, j)
	j = openFor(t, file, notFound)
	defer closeAlone(t, j)
	storetest.WaitFor(t, "the sweep", func() bool { return j.keeping.Load() == 1 })
	if !j.Keeps(lasts) {
		t.Error("the other one is forgotten, too")
	}
}

// One address makes tokens up during an outage. It gets no more than its part of the
// journal, others get theirs, and the counts come out even.
func TestAttackJournalFlood(t *testing.T) {
	t.Parallel()
	j := openFor(t, filepath.Join(t.TempDir(), "pending.db"), unavailable)
	defer closeAlone(t, j)
	const tries = 5 * MaxPendingFrom
	var noted, refused, lost atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range tries / 50 {
				switch err := j.Add(storetest.NewKey(), time.Now(), "192.0.2.1"); {
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
			if err := j.Add(storetest.NewKey(), time.Now(), "198.51.100."+strconv.Itoa(i)); err != nil {
				lost.Add(1)
			}
		})
	}
	wg.Wait()
	through := noted.Load() - MaxPendingFrom
	t.Logf("attack: made-up logouts of one address in an outage: %d tries, %d got through", tries, max(through, 0))
	if through != 0 || refused.Load() != tries-MaxPendingFrom || lost.Load() != 0 || j.count.Load() != MaxPendingFrom+100 {
		t.Errorf("noted %d, refused %d, %d real ones lost, %d pending", noted.Load(), refused.Load(), lost.Load(), j.count.Load())
	}
}

// An address gets its places back when its logouts are done.
func TestJournalGivesPlacesBack(t *testing.T) {
	t.Parallel()
	j := openFor(t, filepath.Join(t.TempDir(), "pending.db"), notFound)
	defer closeAlone(t, j)
	for range 3 {
		key := storetest.NewKey()
		storetest.NoError(t, j.Add(key, time.Now(), "192.0.2.1"))
		storetest.NoError(t, j.Add(key, time.Now(), "192.0.2.1")) // twice is once
		storetest.NoError(t, j.remove(key))
		kept := storetest.NewKey()
		storetest.NoError(t, j.Add(kept, time.Now(), "192.0.2.1"))
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
	j, err := Open(filepath.Join(b.TempDir(), "pending.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := storetest.NewKey()
			if err := j.Add(key, time.Now(), ""); err != nil {
				b.Error(err)
			}
			if err := j.remove(key); err != nil {
				b.Error(err)
			}
		}
	})
}

// After a failed reload, the configuration before replays again.
func TestJournalReplaysIntoTheLastConfiguration(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "pending.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer closeAlone(t, j)
	first, second := &Replayer{}, &Replayer{}
	j.Use(first)
	j.Use(second)
	if j.replayer() != second {
		t.Error("the new configuration does not replay")
	}
	j.Drop(second)
	if j.replayer() != first {
		t.Error("after a failed reload nobody replays")
	}
	j.Drop(first)
	if j.replayer() != nil {
		t.Error("a configuration that is gone replays")
	}
}

func TestJournalOfAnotherProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pending.db")
	j, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAlone(t, j)
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "another process") || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// A journal that is full takes no more.
func TestJournalFull(t *testing.T) {
	j := openFor(t, filepath.Join(t.TempDir(), "pending.db"), unavailable)
	defer closeAlone(t, j)
	j.count.Store(maxPending)
	if err := j.Add(storetest.NewKey(), time.Now(), "192.0.2.1"); !errors.Is(err, errJournalFull) {
		t.Errorf("got %v", err)
	}
	j.count.Store(0)
}

// notFound is a store that knows no session.
func notFound(session.Key) (bool, error) { return false, nil }

// unavailable is a store that cannot be asked.
func unavailable(session.Key) (bool, error) { return false, session.ErrUnavailable }

// openFor opens a journal and replays it into a store.
func openFor(t *testing.T, file string, revoke func(session.Key) (bool, error)) *Journal {
	t.Helper()
	j, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	live := func(keys []session.Key) ([]bool, error) { return make([]bool, len(keys)), nil }
	j.Use(&Replayer{Revoke: revoke, Live: live, Lifespan: time.Hour})
	return j
}

func closeAlone(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
