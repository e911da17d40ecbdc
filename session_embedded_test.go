// This file tests the embedded store: what its file survives, who else may have
// it, and what is swept from it.

package caddylogout

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/caddy-logout/caddy-logout/session"
)

// openEmbeddedTest opens a store in a folder of its own, until the test ends.
func openEmbeddedTest(t *testing.T) (*embeddedStore, contract) {
	t.Helper()
	clock := newStoreClock()
	store, err := openEmbedded(filepath.Join(t.TempDir(), "sessions.db"), clock.Now)
	noError(t, err)
	t.Cleanup(func() { noError(t, store.Close()) })
	return store, contract{storeClock: clock, Store: store}
}

func TestEmbeddedContract(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	testStore(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		store, err := openEmbedded(filepath.Join(t.TempDir(), "data", "sessions.db"), now)
		noError(t, err)
		return store
	})
}

func TestEmbeddedConfig(t *testing.T) {
	t.Setenv("CADDY_LOGOUT_DIR", t.TempDir())
	dir := os.Getenv("CADDY_LOGOUT_DIR")
	here, err := os.Getwd()
	noError(t, err)
	cases := []struct{ name, file, want, err string }{
		{"default", "", filepath.Join(caddy.AppDataDir(), "caddy-logout", "sessions.db"), ""},
		{"absolute", filepath.Join(dir, "s.db"), filepath.Join(dir, "s.db"), ""},
		{"relative", "s.db", filepath.Join(here, "s.db"), ""},
		{"not clean", dir + "/x/../s.db", filepath.Join(dir, "s.db"), ""},
		{"placeholder", "{env.CADDY_LOGOUT_DIR}/s.db", filepath.Join(dir, "s.db"), ""},
		{"unset", "{env.CADDY_LOGOUT_UNSET}/s.db", "", "{env.CADDY_LOGOUT_UNSET}"},
		{"unknown", "{no.such}/s.db", "", "{no.such}"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			store := EmbeddedStore{File: tc.file}
			err := store.Provision(caddy.Context{})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%v, want an error that names %s", err, tc.err)
				}
				return
			}
			noError(t, err)
			if store.File != tc.want || store.PoolKey() != "embedded:"+tc.want {
				t.Errorf("file %s, pool key %s, want %s", store.File, store.PoolKey(), tc.want)
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("provisioning made %v, %v", entries, err)
	}
}

func TestEmbeddedModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // has no such modes
	}
	config := EmbeddedStore{File: filepath.Join(t.TempDir(), "new", "sessions.db")}
	noError(t, config.Provision(caddy.Context{}))
	store, err := config.Open()
	noError(t, err)
	defer store.Close()
	for path, want := range map[string]os.FileMode{config.File: 0o600, filepath.Dir(config.File): 0o700} {
		info, err := os.Stat(path)
		noError(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
}

// TestEmbeddedExpires looks at the very millisecond at which things end, before
// any sweep, and then at what a sweep leaves.
func TestEmbeddedExpires(t *testing.T) {
	store, s := openEmbeddedTest(t)
	key, start := newKey(), s.Now()
	end := start.Add(time.Hour)
	noError(t, s.Create(t.Context(), key, session.Entry{Identity: "alice", Value: []byte("x"), ExpiresAt: end}))
	noError(t, s.Touch(t.Context(), key, start, end))
	noError(t, s.PutError(t.Context(), "id", []byte("x"), end))
	revoked := newKey()
	_, err := s.Revoke(t.Context(), revoked, "alice", start, end)
	noError(t, err)
	long := newKey()
	noError(t, s.Create(t.Context(), long, session.Entry{Identity: "alice", Value: []byte("y"), ExpiresAt: end.Add(time.Hour)}))

	s.Advance(time.Hour - time.Millisecond)
	s.wantRecord(t, key, session.Record{Value: []byte("x"), LastUsed: start})
	s.wantRecord(t, revoked, session.Record{RevokedAt: start})
	s.wantKeys(t, "alice", key, long)
	if swept, err := store.sweep(); swept != 0 || err != nil {
		t.Fatalf("swept %d rows too early, %v", swept, err)
	}

	s.Advance(time.Millisecond)
	for _, when := range []string{"before", "after"} {
		s.wantRecord(t, key, session.Record{})
		s.wantRecord(t, revoked, session.Record{})
		s.wantRecord(t, long, session.Record{Value: []byte("y")})
		s.wantKeys(t, "alice", long)
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
func wantRows(t *testing.T, store *embeddedStore, want map[string]int) {
	t.Helper()
	noError(t, store.db.View(func(tx *bbolt.Tx) error {
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
				if err := s.Create(t.Context(), newKey(), s.entry("alice")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.Advance(time.Hour)
	var kept session.Key
	wg.Go(func() { kept = s.create(t, "alice") })
	swept, err := store.sweep()
	noError(t, err)
	if want := sessions / 20 * 20 * 2; swept != want {
		t.Errorf("swept %d rows, want %d", swept, want)
	}
	wg.Wait()
	s.wantKeys(t, "alice", kept)
	wantRows(t, store, map[string]int{"sessions": 1, "identities": 1, "ends": 2, "meta": 1})
}

// TestEmbeddedRowsMove rewrites a row: the end it had must not take it along.
func TestEmbeddedRowsMove(t *testing.T) {
	store, s := openEmbeddedTest(t)
	key, at := newKey(), s.Now()
	for _, end := range []time.Duration{time.Minute, time.Hour, 2 * time.Hour} {
		noError(t, s.Touch(t.Context(), key, at, at.Add(end)))
	}
	wantRows(t, store, map[string]int{"uses": 1, "ends": 1, "meta": 1})
	s.Advance(90 * time.Minute)
	if swept, err := store.sweep(); swept != 0 || err != nil {
		t.Errorf("swept %d rows, %v", swept, err)
	}
	s.wantRecord(t, key, session.Record{LastUsed: at})
}

func TestEmbeddedClosed(t *testing.T) {
	store, err := openEmbedded(filepath.Join(t.TempDir(), "sessions.db"), time.Now)
	noError(t, err)
	noError(t, store.Close())
	wantUnavailable(t.Context(), t, store)
	if _, err := store.sweep(); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("sweep: %v, want ErrUnavailable", err)
	}
}

// TestEmbeddedDiskFull lets the file grow no further: writes fail, and what was
// acknowledged stays.
func TestEmbeddedDiskFull(t *testing.T) {
	store, s := openEmbeddedTest(t)
	key := s.create(t, "alice")
	store.db.MaxSize = 1
	large := s.entry("alice")
	large.Value = make([]byte, 4<<20)
	if err := s.Create(t.Context(), newKey(), large); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	s.wantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
	s.wantKeys(t, "alice", key)
}

func TestEmbeddedOpenFails(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	noError(t, os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	newer := filepath.Join(dir, "newer.db")
	db, err := bbolt.Open(newer, 0o600, nil)
	noError(t, err)
	noError(t, db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		return errors.Join(err, meta.Put(layoutName, []byte("2")))
	}))
	noError(t, db.Close())

	for file, want := range map[string]string{
		garbage:                          garbage + ": invalid database",
		newer:                            newer + ": the file was made by a newer version of caddy-logout",
		dir:                              dir,
		filepath.Join(garbage, "s.db"):   garbage,
		filepath.Join(dir, "a\x00b.db"):  "invalid argument",
		filepath.Join(newer, "x", "s.d"): newer,
	} {
		store, err := openEmbedded(file, time.Now)
		if err == nil {
			t.Errorf("%s: opened", file)
			noError(t, store.Close())
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	// What was refused is not held: the newer version can open it.
	db, err = bbolt.Open(newer, 0o600, &bbolt.Options{Timeout: time.Second})
	noError(t, err)
	noError(t, db.Close())
}
