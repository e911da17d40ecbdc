package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// openEmbeddedTest opens a store in a folder of its own, until the test ends.
func openEmbeddedTest(t *testing.T) (*Store, storetest.Contract) {
	t.Helper()
	clock := storetest.NewClock()
	store, err := Open(filepath.Join(t.TempDir(), "sessions.db"), clock.Now, zap.NewNop)
	storetest.NoError(t, err)
	t.Cleanup(func() { storetest.NoError(t, store.Close()) })
	return store, storetest.Contract{Clock: clock, Store: store}
}

func TestEmbeddedContract(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	storetest.Run(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		store, err := Open(filepath.Join(t.TempDir(), "data", "sessions.db"), now, zap.NewNop)
		storetest.NoError(t, err)
		return store
	})
}

func TestEmbeddedModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no such modes
	}
	file := filepath.Join(t.TempDir(), "new", "sessions.db")
	store, err := Open(file, time.Now, zap.NewNop)
	storetest.NoError(t, err)
	defer store.Close()
	for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		info, err := os.Stat(path)
		storetest.NoError(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
}

// TestEmbeddedExpires looks at the very millisecond at which things end, before
// any sweep, and then at what a sweep leaves.
func TestEmbeddedExpires(t *testing.T) {
	store, s := openEmbeddedTest(t)
	key, start := storetest.NewKey(), s.Now()
	end := start.Add(time.Hour)
	storetest.NoError(t, s.Create(t.Context(), key, session.Entry{Identity: "alice", Value: []byte("x"), ExpiresAt: end}))
	storetest.NoError(t, s.Touch(t.Context(), key, start, end))
	storetest.NoError(t, s.PutError(t.Context(), "id", []byte("x"), end))
	revoked := storetest.NewKey()
	_, err := s.Revoke(t.Context(), revoked, "alice", start, end)
	storetest.NoError(t, err)
	long := storetest.NewKey()
	storetest.NoError(t, s.Create(t.Context(), long, session.Entry{Identity: "alice", Value: []byte("y"), ExpiresAt: end.Add(time.Hour)}))

	s.Advance(time.Hour - time.Millisecond)
	s.WantRecord(t, key, session.Record{Value: []byte("x"), LastUsed: start})
	s.WantRecord(t, revoked, session.Record{RevokedAt: start})
	s.WantKeys(t, "alice", key, long)
	if swept, err := store.sweep(); swept != 0 || err != nil {
		t.Fatalf("swept %d rows too early, %v", swept, err)
	}

	s.Advance(time.Millisecond)
	for _, when := range []string{"before", "after"} {
		s.WantRecord(t, key, session.Record{})
		s.WantRecord(t, revoked, session.Record{})
		s.WantRecord(t, long, session.Record{Value: []byte("y")})
		s.WantKeys(t, "alice", long)
		if _, err := s.GetError(t.Context(), "id"); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s the sweep: %v, want ErrNotFound", when, err)
		}
		if when == "before" {
			if swept, err := store.sweep(); swept != 5 || err != nil {
				t.Fatalf("swept %d rows, %v, want 5", swept, err)
			}
		}
	}
	wantRows(t, store, map[string]int{"sessions": 1, "identities": 1, "ends": 2, "meta": 1})
}

// wantRows counts what is in the file, bucket by bucket.
func wantRows(t *testing.T, store *Store, want map[string]int) {
	t.Helper()
	storetest.NoError(t, store.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			if got := bucket.Stats().KeyN; got != want[string(name)] {
				t.Errorf("%d rows in %s, want %d", got, name, want[string(name)])
			}
			return nil
		})
	}))
}

// TestEmbeddedSweepsAll sweeps more than fits into one transaction, while others
// write.
func TestEmbeddedSweepsAll(t *testing.T) {
	store, s := openEmbeddedTest(t)
	const sessions = 2*sweepAtOnce + 10
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range sessions / 20 {
				if err := s.Create(t.Context(), storetest.NewKey(), s.NewEntry("alice")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.Advance(time.Hour)
	var kept session.Key
	wg.Go(func() { kept = s.Make(t, "alice") })
	swept, err := store.sweep()
	storetest.NoError(t, err)
	if want := sessions / 20 * 20 * 2; swept != want {
		t.Errorf("swept %d rows, want %d", swept, want)
	}
	wg.Wait()
	s.WantKeys(t, "alice", kept)
	wantRows(t, store, map[string]int{"sessions": 1, "identities": 1, "ends": 2, "meta": 1})
}

// TestEmbeddedRowsMove rewrites a row: the end it had must not take it along.
func TestEmbeddedRowsMove(t *testing.T) {
	store, s := openEmbeddedTest(t)
	key, at := storetest.NewKey(), s.Now()
	for _, end := range []time.Duration{time.Minute, time.Hour, 2 * time.Hour} {
		storetest.NoError(t, s.Touch(t.Context(), key, at, at.Add(end)))
	}
	wantRows(t, store, map[string]int{"uses": 1, "ends": 1, "meta": 1})
	s.Advance(90 * time.Minute)
	if swept, err := store.sweep(); swept != 0 || err != nil {
		t.Errorf("swept %d rows, %v", swept, err)
	}
	s.WantRecord(t, key, session.Record{LastUsed: at})
}

func TestEmbeddedClosed(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "sessions.db"), time.Now, zap.NewNop)
	storetest.NoError(t, err)
	storetest.NoError(t, store.Close())
	storetest.WantUnavailable(t.Context(), t, store)
	if _, err := store.sweep(); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("sweep: %v, want ErrUnavailable", err)
	}
}

// TestEmbeddedDiskFull lets the file grow no further: writes fail, and what was
// acknowledged stays.
func TestEmbeddedDiskFull(t *testing.T) {
	store, s := openEmbeddedTest(t)
	key := s.Make(t, "alice")
	store.db.MaxSize = 1
	large := s.NewEntry("alice")
	large.Value = make([]byte, 4<<20)
	if err := s.Create(t.Context(), storetest.NewKey(), large); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
	s.WantKeys(t, "alice", key)
}

func TestEmbeddedOpenFails(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	storetest.NoError(t, os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	newer := filepath.Join(dir, "newer.db")
	db, err := bbolt.Open(newer, 0o600, nil)
	storetest.NoError(t, err)
	storetest.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		return errors.Join(err, meta.Put(layoutName, []byte("2")))
	}))
	storetest.NoError(t, db.Close())

	for file, want := range map[string]string{
		garbage:                          garbage + ": invalid database",
		newer:                            newer + ": the file was made by a newer version of caddy-logout",
		dir:                              dir,
		filepath.Join(garbage, "s.db"):   garbage,
		filepath.Join(dir, "a\x00b.db"):  "invalid argument",
		filepath.Join(newer, "x", "s.d"): newer,
	} {
		store, err := Open(file, time.Now, zap.NewNop)
		if err == nil {
			t.Errorf("%s: opened", file)
			storetest.NoError(t, store.Close())
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	// What was refused is not held: the newer version can open it.
	db, err = bbolt.Open(newer, 0o600, &bbolt.Options{Timeout: time.Second})
	storetest.NoError(t, err)
	storetest.NoError(t, db.Close())
}

// TestEmbeddedWalkSteps goes through more rows than one step takes.
func TestEmbeddedWalkSteps(t *testing.T) {
	clock := storetest.NewClock()
	store, err := Open(t.TempDir()+"/sessions.db", clock.Now, zap.NewNop)
	storetest.NoError(t, err)
	defer func() { storetest.NoError(t, store.Close()) }()
	c := storetest.Contract{T: t, Clock: clock, Store: store}
	// One write for many: each by itself would wait for the disk.
	const people, each = 3, walkAtOnce
	done := make(chan error)
	for i := range people * each {
		go func() {
			done <- store.Create(t.Context(), storetest.NewKey(), c.NewEntry(fmt.Sprint("person ", i%people)))
		}()
	}
	for range people * each {
		storetest.NoError(t, <-done)
	}
	identities, keys := c.Walked(t)
	if len(identities) != people || len(keys) != people*each {
		t.Errorf("%d identities and %d keys, want %d and %d", len(identities), len(keys), people, people*each)
	}
	clock.Advance(2 * time.Hour)
	if identities, keys := c.Walked(t); len(identities)+len(keys) != 0 {
		t.Errorf("%d identities and %d keys that have expired are found", len(identities), len(keys))
	}
}

func BenchmarkEmbeddedStore(b *testing.B) {
	store, err := Open(filepath.Join(b.TempDir(), "sessions.db"), time.Now, zap.NewNop)
	if err != nil {
		b.Fatal(err)
	}
	storetest.Bench(b, store)
}
