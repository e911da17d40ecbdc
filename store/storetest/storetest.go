package storetest

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

// Clock is a clock that a test moves. Redis does not know of it: what is to
// expire there expires in real time, so the two start together.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at the current time.
func NewClock() *Clock {
	return &Clock{now: time.Now().Truncate(time.Millisecond).UTC()}
}

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// NewKey returns a key that no other test has.
func NewKey() session.Key { return session.KeyOf("ory_st_" + strings.ToLower(rand.Text())) }

// WaitFor tries until it is true, up to a time by which it must have been.
func WaitFor(t *testing.T, what string, try func() bool) {
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

// Contract is one store under test with its clock.
type Contract struct {
	T *testing.T
	*Clock
	session.Store
}

// Run runs the contract against what open returns, a store of its own for
// each case. Stores may share a server: keys and identities are used once.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) session.Store) {
	t.Helper()
	cases := []struct {
		name string
		run  func(s Contract)
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
			clock := NewClock()
			store := open(t, clock.Now)
			tc.run(Contract{T: t, Clock: clock, Store: store})
			NoError(t, store.Close())
		})
	}
}

// NoError ends the test at an error.
func NoError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Make makes a session that lasts an hour.
func (c Contract) Make(t *testing.T, identity string) session.Key {
	t.Helper()
	key := NewKey()
	NoError(t, c.Create(t.Context(), key, c.NewEntry(identity)))
	return key
}

// NewEntry is a session that lasts an hour.
func (c Contract) NewEntry(identity string) session.Entry {
	return session.Entry{Identity: identity, Value: []byte(`{"v":1}`), ExpiresAt: c.Now().Add(time.Hour)}
}

func (c Contract) Read(t *testing.T, key session.Key) session.Record {
	t.Helper()
	rec, err := c.GetWithUse(t.Context(), key)
	NoError(t, err)
	// What is read together is what is read alone, in the order of the keys, but for
	// what expires in between.
	many, err := c.GetMany(t.Context(), []session.Key{NewKey(), key, NewKey()})
	NoError(t, err)
	again, err := c.GetWithUse(t.Context(), key)
	NoError(t, err)
	if len(many) != 3 || reflect.DeepEqual(rec, again) && !reflect.DeepEqual(many[1], rec) ||
		!reflect.DeepEqual(many[0], session.Record{}) || !reflect.DeepEqual(many[2], session.Record{}) {
		t.Errorf("read together: %+v, alone: %+v", many, rec)
	}
	return rec
}

// Listed returns the keys in the index of a person, in order.
func (c Contract) Listed(t *testing.T, identity string) []session.Key {
	t.Helper()
	listed, err := c.Keys(t.Context(), identity)
	NoError(t, err)
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

// WantKeys wants the index of a person to hold these keys alone.
func (c Contract) WantKeys(t *testing.T, identity string, want ...session.Key) {
	t.Helper()
	slices.SortFunc(want, func(a, b session.Key) int { return bytes.Compare(a[:], b[:]) })
	if got := c.Listed(t, identity); !slices.Equal(got, want) {
		t.Errorf("keys of %q: %v, want %v", identity, got, want)
	}
}

// WantRecord wants this to be known of a key.
func (c Contract) WantRecord(t *testing.T, key session.Key, want session.Record) {
	t.Helper()
	got := c.Read(t, key)
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

// WantUnavailable calls every method, and each must say that it could not ask.
func WantUnavailable(ctx context.Context, t *testing.T, s session.Store) {
	t.Helper()
	key, until := NewKey(), time.Now().Add(time.Hour)
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
