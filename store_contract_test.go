// This file holds the contract of a store as a test that every store passes.

package caddylogout

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// storeClock is a clock that a test moves. Redis does not know of it: what is to
// expire there expires in real time, so the two start together.
type storeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newStoreClock() *storeClock {
	return &storeClock{now: time.Now().Truncate(time.Millisecond).UTC()}
}

func (c *storeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *storeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newKey returns a key that no other test has.
func newKey() Key { return KeyOf("ory_st_" + strings.ToLower(rand.Text())) }

// waitForStore tries until it is true, up to a time by which it must have been.
func waitForStore(t *testing.T, what string, try func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !try() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

// contract is one store under test with its clock.
type contract struct {
	*storeClock
	Store
}

// testStore runs the contract against what open returns, a store of its own for
// each case. Stores may share a server: keys and identities are used once.
func testStore(t *testing.T, open func(t *testing.T, now func() time.Time) Store) {
	t.Helper()
	cases := []struct {
		name string
		run  func(t *testing.T, s contract)
	}{
		{"unknown key", contractUnknown},
		{"create and get", contractCreate},
		{"create twice", contractCreateTwice},
		{"create after a tombstone", contractCreateRevoked},
		{"revoke a session", contractRevoke},
		{"revoke what is not there", contractRevokeAbsent},
		{"revoke twice", contractRevokeTwice},
		{"revoke again makes the tombstone last", contractRevokeLonger},
		{"a tombstone ends", contractTombstoneEnds},
		{"index", contractIndex},
		{"index of odd identities", contractIdentities},
		{"expired is gone", contractExpired},
		{"touch", contractTouch},
		{"touch revives nothing", contractTouchRevives},
		{"errors", contractErrors},
		{"large value", contractLarge},
		{"cancelled context", contractCancelled},
		{"ping", func(t *testing.T, s contract) { noError(t, s.Ping(t.Context())) }},
		{"create twice at once", contractCreateRace},
		{"create while all are revoked", contractRevokeAllRace},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			clock := newStoreClock()
			store := open(t, clock.Now)
			tc.run(t, contract{storeClock: clock, Store: store})
			noError(t, store.Close())
		})
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes a session that lasts an hour.
func (c contract) create(t *testing.T, identity string) Key {
	t.Helper()
	key := newKey()
	noError(t, c.Create(t.Context(), key, c.entry(identity)))
	return key
}

func (c contract) entry(identity string) Entry {
	return Entry{Identity: identity, Value: []byte(`{"v":1}`), ExpiresAt: c.Now().Add(time.Hour)}
}

func (c contract) get(t *testing.T, key Key) Record {
	t.Helper()
	rec, err := c.GetWithUse(t.Context(), key)
	noError(t, err)
	return rec
}

func (c contract) keys(t *testing.T, identity string) []Key {
	t.Helper()
	listed, err := c.Keys(t.Context(), identity)
	noError(t, err)
	keys := make([]Key, 0, len(listed))
	for _, entry := range listed {
		keys = append(keys, entry.Key)
		if !entry.ExpiresAt.After(c.Now()) {
			t.Errorf("the index lists a key that ended %v", entry.ExpiresAt)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	return keys
}

func (c contract) wantKeys(t *testing.T, identity string, want ...Key) {
	t.Helper()
	slices.SortFunc(want, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	if got := c.keys(t, identity); !slices.Equal(got, want) {
		t.Errorf("keys of %q: %v, want %v", identity, got, want)
	}
}

func (c contract) wantRecord(t *testing.T, key Key, want Record) {
	t.Helper()
	got := c.get(t, key)
	if !bytes.Equal(got.Value, want.Value) || (got.Value == nil) != (want.Value == nil) {
		t.Errorf("value %q, want %q", got.Value, want.Value)
	}
	if !got.RevokedAt.Equal(want.RevokedAt) {
		t.Errorf("revoked at %v, want %v", got.RevokedAt, want.RevokedAt)
	}
	if !got.LastUsed.Equal(want.LastUsed) {
		t.Errorf("last used %v, want %v", got.LastUsed, want.LastUsed)
	}
}

func contractUnknown(t *testing.T, s contract) {
	s.wantRecord(t, newKey(), Record{})
	s.wantKeys(t, "nobody "+rand.Text())
}

func contractCreate(t *testing.T, s contract) {
	alice := "alice " + rand.Text()
	key := newKey()
	noError(t, s.Create(t.Context(), key, Entry{
		Identity: alice, Value: []byte("the value\x00\xff"), ExpiresAt: s.Now().Add(time.Hour),
	}))
	s.wantRecord(t, key, Record{Value: []byte("the value\x00\xff")})
	s.wantRecord(t, newKey(), Record{})
	s.wantKeys(t, alice, key)
}

func contractCreateTwice(t *testing.T, s contract) {
	alice, bob := "alice "+rand.Text(), "bob "+rand.Text()
	key := s.create(t, alice)
	err := s.Create(t.Context(), key, Entry{Identity: bob, Value: []byte("other"), ExpiresAt: s.Now().Add(time.Minute)})
	if !errors.Is(err, ErrExists) {
		t.Fatalf("%v, want ErrExists", err)
	}
	s.wantRecord(t, key, Record{Value: []byte(`{"v":1}`)})
	s.wantKeys(t, alice, key)
	s.wantKeys(t, bob)
}

func contractCreateRevoked(t *testing.T, s contract) {
	alice := "alice " + rand.Text()
	key, at := newKey(), s.Now()
	_, err := s.Revoke(t.Context(), key, alice, at, at.Add(time.Hour))
	noError(t, err)
	if err := s.Create(t.Context(), key, s.entry(alice)); !errors.Is(err, ErrExists) {
		t.Fatalf("%v, want ErrExists", err)
	}
	s.wantRecord(t, key, Record{RevokedAt: at})
	s.wantKeys(t, alice)
}

func contractRevoke(t *testing.T, s contract) {
	alice := "alice " + rand.Text()
	key, other := s.create(t, alice), s.create(t, alice)
	at := s.Now()
	noError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
	ended, err := s.Revoke(t.Context(), key, alice, at, at.Add(time.Hour))
	noError(t, err)
	if !ended {
		t.Error("a session was there, and ended is false")
	}
	s.wantRecord(t, key, Record{RevokedAt: at})
	s.wantRecord(t, other, Record{Value: []byte(`{"v":1}`)})
	s.wantKeys(t, alice, other)
}

func contractRevokeAbsent(t *testing.T, s contract) {
	key, at := newKey(), s.Now()
	for _, identity := range []string{"", "alice " + rand.Text()} {
		ended, err := s.Revoke(t.Context(), key, identity, at, at.Add(time.Hour))
		noError(t, err)
		if ended {
			t.Error("no session was there, and ended is true")
		}
	}
	s.wantRecord(t, key, Record{RevokedAt: at})
}

func contractRevokeTwice(t *testing.T, s contract) {
	alice := "alice " + rand.Text()
	key, first := s.create(t, alice), s.Now()
	for i, at := range []time.Time{first, first.Add(time.Minute), first.Add(-time.Minute)} {
		ended, err := s.Revoke(t.Context(), key, alice, at, first.Add(time.Hour))
		noError(t, err)
		if ended != (i == 0) {
			t.Errorf("revocation %d: ended is %v", i, ended)
		}
		s.wantRecord(t, key, Record{RevokedAt: first})
	}
}

func contractRevokeLonger(t *testing.T, s contract) {
	key, at := newKey(), s.Now()
	for _, last := range []time.Duration{300 * time.Millisecond, time.Hour, 300 * time.Millisecond} {
		_, err := s.Revoke(t.Context(), key, "alice", at, at.Add(last))
		noError(t, err)
	}
	// A key with the short end only shows when that has passed.
	short := newKey()
	_, err := s.Revoke(t.Context(), short, "alice", at, at.Add(300*time.Millisecond))
	noError(t, err)
	s.Advance(300 * time.Millisecond)
	waitForStore(t, "the short tombstone to end", func() bool { return s.get(t, short).RevokedAt.IsZero() })
	s.wantRecord(t, key, Record{RevokedAt: at})
}

func contractTombstoneEnds(t *testing.T, s contract) {
	key, at := newKey(), s.Now()
	_, err := s.Revoke(t.Context(), key, "alice", at, at.Add(150*time.Millisecond))
	noError(t, err)
	s.Advance(150 * time.Millisecond)
	waitForStore(t, "the tombstone to end", func() bool { return s.get(t, key).RevokedAt.IsZero() })
	noError(t, s.Create(t.Context(), key, s.entry("alice "+rand.Text())))
}

func contractIndex(t *testing.T, s contract) {
	alice, bob := "alice "+rand.Text(), "bob "+rand.Text()
	var alices []Key
	for range 20 {
		alices = append(alices, s.create(t, alice))
	}
	bobs := s.create(t, bob)
	s.wantKeys(t, alice, alices...)
	s.wantKeys(t, bob, bobs)
	for i, key := range alices {
		ended, err := s.Revoke(t.Context(), key, alice, s.Now(), s.Now().Add(time.Hour))
		noError(t, err)
		if !ended {
			t.Errorf("session %d was listed and not there", i)
		}
		s.wantKeys(t, alice, alices[i+1:]...)
	}
	s.wantKeys(t, bob, bobs)
}

func contractIdentities(t *testing.T, s contract) {
	base := rand.Text()
	identities := []string{
		base, base + "\x00", base + "\x00b", base + "b", base + ":b", base + "{b}", base + "*", base + "é", base + "\xff",
		base + "\r\nDEL x", strings.Repeat("x", 256-len(base)) + base,
		// As long as an identity and a key together.
		base + strings.Repeat("k", len(Key{})),
	}
	keys := make(map[string]Key)
	for _, identity := range identities {
		keys[identity] = s.create(t, identity)
	}
	for identity, key := range keys {
		s.wantKeys(t, identity, key)
	}
}

func contractExpired(t *testing.T, s contract) {
	alice := "alice " + rand.Text()
	short, long := newKey(), s.create(t, alice)
	e := s.entry(alice)
	e.ExpiresAt = s.Now().Add(200 * time.Millisecond)
	noError(t, s.Create(t.Context(), short, e))
	s.wantKeys(t, alice, short, long)
	s.wantRecord(t, short, Record{Value: e.Value})

	s.Advance(200 * time.Millisecond)
	waitForStore(t, "the session to expire", func() bool { return s.get(t, short).Value == nil })
	// An index may be exact to the second.
	s.Advance(time.Second)
	s.wantKeys(t, alice, long)
	s.wantRecord(t, long, Record{Value: e.Value})
	// What has expired is no session to end, and its key is free.
	ended, err := s.Revoke(t.Context(), short, alice, s.Now(), s.Now())
	noError(t, err)
	if ended {
		t.Error("an expired session was ended")
	}
}

func contractTouch(t *testing.T, s contract) {
	key, at := s.create(t, "alice "+rand.Text()), s.Now()
	s.wantRecord(t, key, Record{Value: []byte(`{"v":1}`)})
	for _, used := range []time.Time{at, at.Add(time.Minute)} {
		noError(t, s.Touch(t.Context(), key, used, at.Add(time.Hour)))
		s.wantRecord(t, key, Record{Value: []byte(`{"v":1}`), LastUsed: used})
	}
	rec, err := s.Get(t.Context(), key)
	noError(t, err)
	if rec.Value == nil || !rec.LastUsed.IsZero() {
		t.Errorf("get without use: %+v", rec)
	}
	noError(t, s.Touch(t.Context(), key, at, at.Add(100*time.Millisecond)))
	s.Advance(100 * time.Millisecond)
	waitForStore(t, "the use to be forgotten", func() bool { return s.get(t, key).LastUsed.IsZero() })
	s.wantRecord(t, key, Record{Value: []byte(`{"v":1}`)})
}

func contractTouchRevives(t *testing.T, s contract) {
	alice := "alice " + rand.Text()
	unknown, revoked, at := newKey(), s.create(t, alice), s.Now()
	_, err := s.Revoke(t.Context(), revoked, alice, at, at.Add(time.Hour))
	noError(t, err)
	for _, key := range []Key{unknown, revoked} {
		noError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
	}
	s.wantRecord(t, unknown, Record{LastUsed: at})
	s.wantRecord(t, revoked, Record{RevokedAt: at, LastUsed: at})
	s.wantKeys(t, alice)
}

func contractErrors(t *testing.T, s contract) {
	id := rand.Text()
	if _, err := s.GetError(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Fatalf("%v, want ErrNotFound", err)
	}
	for _, value := range []string{"first", "second"} {
		noError(t, s.PutError(t.Context(), id, []byte(value), s.Now().Add(time.Hour)))
		got, err := s.GetError(t.Context(), id)
		noError(t, err)
		if string(got) != value {
			t.Errorf("%q, want %q", got, value)
		}
	}
	noError(t, s.PutError(t.Context(), id, []byte("short"), s.Now().Add(100*time.Millisecond)))
	s.Advance(100 * time.Millisecond)
	waitForStore(t, "the error to expire", func() bool {
		_, err := s.GetError(t.Context(), id)
		return errors.Is(err, ErrNotFound)
	})
	// What clients ask for by name is never a failure of the store.
	for _, odd := range []string{"", "\x00", "{x}", strings.Repeat("x", 70_000)} {
		if _, err := s.GetError(t.Context(), odd); !errors.Is(err, ErrNotFound) {
			t.Errorf("error id of %d bytes: %v, want ErrNotFound", len(odd), err)
		}
	}
}

func contractLarge(t *testing.T, s contract) {
	key, value := newKey(), make([]byte, 1<<20)
	_, _ = rand.Read(value)
	noError(t, s.Create(t.Context(), key, Entry{
		Identity: "alice " + rand.Text(), Value: value, ExpiresAt: s.Now().Add(time.Hour),
	}))
	s.wantRecord(t, key, Record{Value: value})
}

func contractCancelled(t *testing.T, s contract) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantUnavailable(t, ctx, s.Store)
	noError(t, s.Ping(t.Context()))
}

// wantUnavailable calls every method, and each must say that it could not ask.
func wantUnavailable(t *testing.T, ctx context.Context, s Store) { //nolint:revive // t first, as everywhere
	t.Helper()
	key, until := newKey(), time.Now().Add(time.Hour)
	calls := map[string]func() error{
		"get":          func() error { _, err := s.Get(ctx, key); return err },
		"get with use": func() error { _, err := s.GetWithUse(ctx, key); return err },
		"create":       func() error { return s.Create(ctx, key, Entry{Identity: "alice", ExpiresAt: until}) },
		"revoke":       func() error { _, err := s.Revoke(ctx, key, "alice", time.Now(), until); return err },
		"touch":        func() error { return s.Touch(ctx, key, time.Now(), until) },
		"keys":         func() error { _, err := s.Keys(ctx, "alice"); return err },
		"put error":    func() error { return s.PutError(ctx, "id", nil, until) },
		"get error":    func() error { _, err := s.GetError(ctx, "id"); return err },
		"ping":         func() error { return s.Ping(ctx) },
	}
	for name, call := range calls {
		start := time.Now()
		if err := call(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		} else if strings.Contains(err.Error(), key.String()) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func contractCreateRace(t *testing.T, s contract) {
	for range 20 {
		key, alice := newKey(), "alice "+rand.Text()
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			wg.Go(func() { errs[i] = s.Create(t.Context(), key, s.entry(alice)) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			switch {
			case err == nil:
				made++
			case !errors.Is(err, ErrExists):
				t.Fatal(err)
			}
		}
		if made != 1 {
			t.Fatalf("made %d times, want once", made)
		}
		s.wantKeys(t, alice, key)
	}
}

// contractRevokeAllRace ends all sessions of someone while one is being made:
// whatever is alive after it must be listed, or the next "log out everywhere"
// would not find it, and what was ended must stay dead.
func contractRevokeAllRace(t *testing.T, s contract) {
	for range 50 {
		key, alice := newKey(), "alice "+rand.Text()
		at, until := s.Now(), s.Now().Add(time.Hour)
		var wg sync.WaitGroup
		var created, failed error
		var revoked bool
		wg.Go(func() { created = s.Create(t.Context(), key, s.entry(alice)) })
		wg.Go(func() {
			for range 5 {
				keys, err := s.Keys(t.Context(), alice)
				if err != nil {
					failed = err
					return
				}
				for _, listed := range keys {
					revoked = true
					if _, failed = s.Revoke(t.Context(), listed.Key, alice, at, until); failed != nil {
						return
					}
				}
			}
		})
		wg.Wait()
		noError(t, failed)
		if created != nil && !errors.Is(created, ErrExists) {
			t.Fatal(created)
		}
		rec := s.get(t, key)
		switch {
		case revoked && (rec.Value != nil || rec.RevokedAt.IsZero()):
			t.Fatalf("revoked, and not dead: %+v", rec)
		case rec.Value != nil:
			s.wantKeys(t, alice, key)
		case !revoked:
			t.Fatalf("not revoked, and not there: %v", created)
		}
	}
}
