// This file holds the contract of a store as a test that every store passes.

package caddylogout

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
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
func newKey() session.Key { return session.KeyOf("ory_st_" + strings.ToLower(rand.Text())) }

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
	t *testing.T
	*storeClock
	session.Store
}

// testStore runs the contract against what open returns, a store of its own for
// each case. Stores may share a server: keys and identities are used once.
func testStore(t *testing.T, open func(t *testing.T, now func() time.Time) session.Store) {
	t.Helper()
	cases := []struct {
		name string
		run  func(s contract)
	}{
		{"unknown key", contractUnknown},
		{"create and get", contractCreate},
		{"create twice", contractCreateTwice},
		{"create after a tombstone", contractCreateRevoked},
		{"revoke a session", contractRevoke},
		{"revoke what is not there", contractRevokeAbsent},
		{"revoke twice", contractRevokeTwice},
		{"revoke again makes the tombstone last", contractRevokeLonger},
		{"revoke all", contractRevokeAll},
		{"revoke all makes the tombstones last", contractRevokeAllLasts},
		{"a tombstone ends", contractTombstoneEnds},
		{"index", contractIndex},
		{"index of odd identities", contractIdentities},
		{"walk", contractWalk},
		{"bound", contractBound},
		{"expired is gone", contractExpired},
		{"touch", contractTouch},
		{"touch revives nothing", contractTouchRevives},
		{"errors", contractErrors},
		{"large value", contractLarge},
		{"cancelled context", contractCancelled},
		{"ping", contractPing},
		{"create twice at once", contractCreateRace},
		{"create while all are revoked", contractRevokeAllRace},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			clock := newStoreClock()
			store := open(t, clock.Now)
			tc.run(contract{t: t, storeClock: clock, Store: store})
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
func (c contract) create(t *testing.T, identity string) session.Key {
	t.Helper()
	key := newKey()
	noError(t, c.Create(t.Context(), key, c.entry(identity)))
	return key
}

func (c contract) entry(identity string) session.Entry {
	return session.Entry{Identity: identity, Value: []byte(`{"v":1}`), ExpiresAt: c.Now().Add(time.Hour)}
}

func (c contract) get(t *testing.T, key session.Key) session.Record {
	t.Helper()
	rec, err := c.GetWithUse(t.Context(), key)
	noError(t, err)
	// What is read together is what is read alone, in the order of the keys, but for
	// what expires in between.
	many, err := c.GetMany(t.Context(), []session.Key{newKey(), key, newKey()})
	noError(t, err)
	again, err := c.GetWithUse(t.Context(), key)
	noError(t, err)
	if len(many) != 3 || reflect.DeepEqual(rec, again) && !reflect.DeepEqual(many[1], rec) ||
		!reflect.DeepEqual(many[0], session.Record{}) || !reflect.DeepEqual(many[2], session.Record{}) {
		t.Errorf("read together: %+v, alone: %+v", many, rec)
	}
	return rec
}

func (c contract) keys(t *testing.T, identity string) []session.Key {
	t.Helper()
	listed, err := c.Keys(t.Context(), identity)
	noError(t, err)
	keys := make([]session.Key, 0, len(listed))
	for _, entry := range listed {
		keys = append(keys, entry.Key)
		if !entry.ExpiresAt.After(c.Now().Add(-session.ClockTolerance)) {
			t.Errorf("the index lists a key that ended %v", entry.ExpiresAt)
		}
	}
	slices.SortFunc(keys, func(a, b session.Key) int { return bytes.Compare(a[:], b[:]) })
	return keys
}

func (c contract) wantKeys(t *testing.T, identity string, want ...session.Key) {
	t.Helper()
	slices.SortFunc(want, func(a, b session.Key) int { return bytes.Compare(a[:], b[:]) })
	if got := c.keys(t, identity); !slices.Equal(got, want) {
		t.Errorf("keys of %q: %v, want %v", identity, got, want)
	}
}

func (c contract) wantRecord(t *testing.T, key session.Key, want session.Record) {
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

// wantUnavailable calls every method, and each must say that it could not ask.
func wantUnavailable(ctx context.Context, t *testing.T, s session.Store) {
	t.Helper()
	key, until := newKey(), time.Now().Add(time.Hour)
	calls := map[string]func() error{
		"get":          func() error { _, err := s.Get(ctx, key); return err },
		"get with use": func() error { _, err := s.GetWithUse(ctx, key); return err },
		"create":       func() error { return s.Create(ctx, key, session.Entry{Identity: "alice", ExpiresAt: until}) },
		"revoke":       func() error { _, err := s.Revoke(ctx, key, "alice", time.Now(), until); return err },
		"revoke all": func() error {
			_, err := s.RevokeAll(ctx, "alice", []session.IndexedKey{{Key: key, ExpiresAt: until}}, time.Now(), until)
			return err
		},
		"touch": func() error { return s.Touch(ctx, key, time.Now(), until) },
		"keys":  func() error { _, err := s.Keys(ctx, "alice"); return err },
		"walk identities": func() error {
			return s.WalkIdentities(ctx, func([]string) error { return nil })
		},
		"walk keys": func() error { return s.WalkKeys(ctx, func([]session.Key) error { return nil }) },
		"put error": func() error { return s.PutError(ctx, "id", nil, until) },
		"get error": func() error { _, err := s.GetError(ctx, "id"); return err },
		"ping":      func() error { return s.Ping(ctx) },
	}
	for name, call := range calls {
		start := time.Now()
		if err := call(); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		} else if strings.Contains(err.Error(), key.String()) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}
