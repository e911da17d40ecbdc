// This file holds the cases of the contract of a store.

package caddylogout

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
)

func contractPing(s contract) { noError(s.t, s.Ping(s.t.Context())) }

func contractUnknown(s contract) {
	t := s.t
	s.wantRecord(t, newKey(), session.Record{})
	s.wantKeys(t, "nobody "+rand.Text())
}

func contractCreate(s contract) {
	t := s.t
	alice := "alice " + rand.Text()
	key := newKey()
	noError(t, s.Create(t.Context(), key, session.Entry{
		Identity: alice, Value: []byte("the value\x00\xff"), ExpiresAt: s.Now().Add(time.Hour),
	}))
	s.wantRecord(t, key, session.Record{Value: []byte("the value\x00\xff")})
	s.wantRecord(t, newKey(), session.Record{})
	s.wantKeys(t, alice, key)
}

func contractCreateTwice(s contract) {
	t := s.t
	alice, bob := "alice "+rand.Text(), "bob "+rand.Text()
	key := s.create(t, alice)
	err := s.Create(t.Context(), key, session.Entry{Identity: bob, Value: []byte("other"), ExpiresAt: s.Now().Add(time.Minute)})
	if !errors.Is(err, session.ErrExists) {
		t.Fatalf("%v, want ErrExists", err)
	}
	s.wantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
	s.wantKeys(t, alice, key)
	s.wantKeys(t, bob)
}

func contractCreateRevoked(s contract) {
	t := s.t
	alice := "alice " + rand.Text()
	key, at := newKey(), s.Now()
	_, err := s.Revoke(t.Context(), key, alice, at, at.Add(time.Hour))
	noError(t, err)
	if err := s.Create(t.Context(), key, s.entry(alice)); !errors.Is(err, session.ErrExists) {
		t.Fatalf("%v, want ErrExists", err)
	}
	s.wantRecord(t, key, session.Record{RevokedAt: at})
	s.wantKeys(t, alice)
}

func contractRevoke(s contract) {
	t := s.t
	alice := "alice " + rand.Text()
	key, other := s.create(t, alice), s.create(t, alice)
	at := s.Now()
	noError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
	ended, err := s.Revoke(t.Context(), key, alice, at, at.Add(time.Hour))
	noError(t, err)
	if !ended {
		t.Error("a session was there, and ended is false")
	}
	s.wantRecord(t, key, session.Record{RevokedAt: at})
	s.wantRecord(t, other, session.Record{Value: []byte(`{"v":1}`)})
	s.wantKeys(t, alice, other)
}

// contractRevokeAll ends more sessions than fit into one round trip, of which few
// are there and one was ended before.
func contractRevokeAll(s contract) {
	t := s.t
	const many, every = 450, 50
	alice, first, at := "alice "+rand.Text(), s.Now().Add(-time.Second), s.Now()
	stays, before := s.create(t, alice), s.create(t, alice)
	_, err := s.Revoke(t.Context(), before, alice, first, at.Add(time.Hour))
	noError(t, err)
	keys := []session.IndexedKey{{Key: before, ExpiresAt: at.Add(time.Minute)}}
	for i := range many {
		key := newKey()
		if i%every == 0 {
			key = s.create(t, alice)
			noError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
		}
		keys = append(keys, session.IndexedKey{Key: key, ExpiresAt: at.Add(time.Hour)})
	}
	for _, want := range []int{many / every, 0} {
		ended, err := s.RevokeAll(t.Context(), alice, keys, at, at.Add(time.Minute))
		noError(t, err)
		if ended != want {
			t.Errorf("%d sessions were ended, want %d", ended, want)
		}
	}
	s.wantRecord(t, before, session.Record{RevokedAt: first})
	for _, key := range keys[1:] {
		s.wantRecord(t, key.Key, session.Record{RevokedAt: at})
	}
	s.wantRecord(t, stays, session.Record{Value: []byte(`{"v":1}`)})
	s.wantKeys(t, alice, stays)

	ended, err := s.RevokeAll(t.Context(), alice, nil, at, at)
	noError(t, err)
	if ended != 0 {
		t.Errorf("none were to be ended, and %d were", ended)
	}
}

// contractRevokeAllLasts looks at when the tombstones end: with the session, or
// later, never earlier.
func contractRevokeAllLasts(s contract) {
	t := s.t
	at := s.Now()
	short, long := newKey(), newKey()
	_, err := s.RevokeAll(t.Context(), "alice", []session.IndexedKey{
		{Key: short, ExpiresAt: at.Add(-time.Second)}, {Key: long, ExpiresAt: at.Add(time.Hour)},
	}, at, at.Add(time.Second))
	noError(t, err)
	s.Advance(2 * time.Second)
	waitForStore(t, "the tombstone ends", func() bool { return s.get(t, short).RevokedAt.IsZero() })
	s.wantRecord(t, long, session.Record{RevokedAt: at})
}

func contractRevokeAbsent(s contract) {
	t := s.t
	key, at := newKey(), s.Now()
	for _, identity := range []string{"", "alice " + rand.Text()} {
		ended, err := s.Revoke(t.Context(), key, identity, at, at.Add(time.Hour))
		noError(t, err)
		if ended {
			t.Error("no session was there, and ended is true")
		}
	}
	s.wantRecord(t, key, session.Record{RevokedAt: at})
}

func contractRevokeTwice(s contract) {
	t := s.t
	alice := "alice " + rand.Text()
	key, first := s.create(t, alice), s.Now()
	for i, at := range []time.Time{first, first.Add(time.Minute), first.Add(-time.Minute)} {
		ended, err := s.Revoke(t.Context(), key, alice, at, first.Add(time.Hour))
		noError(t, err)
		if ended != (i == 0) {
			t.Errorf("revocation %d: ended is %v", i, ended)
		}
		s.wantRecord(t, key, session.Record{RevokedAt: first})
	}
}

func contractRevokeLonger(s contract) {
	t := s.t
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
	s.wantRecord(t, key, session.Record{RevokedAt: at})
}

func contractTombstoneEnds(s contract) {
	t := s.t
	key, at := newKey(), s.Now()
	_, err := s.Revoke(t.Context(), key, "alice", at, at.Add(150*time.Millisecond))
	noError(t, err)
	s.Advance(150 * time.Millisecond)
	waitForStore(t, "the tombstone to end", func() bool { return s.get(t, key).RevokedAt.IsZero() })
	noError(t, s.Create(t.Context(), key, s.entry("alice "+rand.Text())))
}

func contractIndex(s contract) {
	t := s.t
	alice, bob := "alice "+rand.Text(), "bob "+rand.Text()
	var alices []session.Key
	for range 20 {
		alices = append(alices, s.create(t, alice))
	}
	bobs := s.create(t, bob)
	s.wantKeys(t, alice, alices...)
	s.wantKeys(t, bob, bobs)
	listed, err := s.Keys(t.Context(), bob)
	noError(t, err)
	if late := listed[0].ExpiresAt.Sub(s.entry(bob).ExpiresAt); late < 0 || late >= time.Second {
		t.Errorf("the index has the session end %v after it does", late)
	}
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

func contractIdentities(s contract) {
	t := s.t
	base := rand.Text()
	identities := []string{
		base, base + "\x00", base + "\x00b", base + "b", base + ":b", base + "{b}", base + "*", base + "é", base + "\xff",
		base + "\r\nDEL x", strings.Repeat("x", 256-len(base)) + base,
		// As long as an identity and a key together.
		base + strings.Repeat("k", len(session.Key{})),
	}
	keys := make(map[string]session.Key)
	for _, identity := range identities {
		keys[identity] = s.create(t, identity)
	}
	for identity, key := range keys {
		s.wantKeys(t, identity, key)
	}
}

// contractBound looks at whether a new session is one too many. Those that have
// expired and those that were ended do not count, nor those of somebody else.
func contractBound(s contract) {
	t := s.t
	alice := "alice " + rand.Text()
	create := func(most int, life time.Duration, want bool) session.Key {
		t.Helper()
		key, e := newKey(), s.entry(alice)
		e.ExpiresAt, e.Bound = s.Now().Add(life), &session.Bound{Max: most}
		noError(t, s.Create(t.Context(), key, e))
		if e.Bound.Exceeded != want {
			t.Errorf("exceeded is %v for at most %d, want %v", e.Bound.Exceeded, most, want)
		}
		return key
	}
	s.create(t, "bob "+rand.Text())
	create(1, time.Hour, false)
	create(2, time.Minute, false)
	create(2, time.Hour, true)
	s.Advance(2*time.Minute + session.ClockTolerance)
	ends := create(3, time.Hour, false)
	create(3, time.Hour, true)
	_, err := s.Revoke(t.Context(), ends, alice, s.Now(), s.Now().Add(time.Hour))
	noError(t, err)
	create(4, time.Hour, false)
	create(4, time.Hour, true)
}

func contractExpired(s contract) {
	t := s.t
	alice := "alice " + rand.Text()
	short, long := newKey(), s.create(t, alice)
	e := s.entry(alice)
	const life = 200 * time.Millisecond
	e.ExpiresAt = s.Now().Add(life)
	noError(t, s.Create(t.Context(), short, e))
	s.wantKeys(t, alice, short, long)
	// On a machine that is too busy it has expired by now.
	if rec := s.get(t, short); rec.Value == nil && time.Since(s.Now()) < life {
		t.Error("the session is not there")
	}

	s.Advance(life)
	waitForStore(t, "the session to expire", func() bool { return s.get(t, short).Value == nil })
	// An index may be exact to the second, and leaves room for other clocks.
	s.Advance(time.Second + session.ClockTolerance)
	s.wantKeys(t, alice, long)
	s.wantRecord(t, long, session.Record{Value: e.Value})
	// What has expired is no session to end, and its key is free.
	ended, err := s.Revoke(t.Context(), short, alice, s.Now(), s.Now())
	noError(t, err)
	if ended {
		t.Error("an expired session was ended")
	}
}

func contractTouch(s contract) {
	t := s.t
	key, at := s.create(t, "alice "+rand.Text()), s.Now()
	s.wantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
	for _, used := range []time.Time{at, at.Add(time.Minute)} {
		noError(t, s.Touch(t.Context(), key, used, at.Add(time.Hour)))
		s.wantRecord(t, key, session.Record{Value: []byte(`{"v":1}`), LastUsed: used})
	}
	rec, err := s.Get(t.Context(), key)
	noError(t, err)
	if rec.Value == nil || !rec.LastUsed.IsZero() {
		t.Errorf("get without use: %+v", rec)
	}
	noError(t, s.Touch(t.Context(), key, at, at.Add(100*time.Millisecond)))
	s.Advance(100 * time.Millisecond)
	waitForStore(t, "the use to be forgotten", func() bool { return s.get(t, key).LastUsed.IsZero() })
	s.wantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
}

func contractTouchRevives(s contract) {
	t := s.t
	alice := "alice " + rand.Text()
	unknown, revoked, at := newKey(), s.create(t, alice), s.Now()
	_, err := s.Revoke(t.Context(), revoked, alice, at, at.Add(time.Hour))
	noError(t, err)
	for _, key := range []session.Key{unknown, revoked} {
		noError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
	}
	s.wantRecord(t, unknown, session.Record{LastUsed: at})
	s.wantRecord(t, revoked, session.Record{RevokedAt: at, LastUsed: at})
	s.wantKeys(t, alice)
}

func contractErrors(s contract) {
	t := s.t
	id := rand.Text()
	if _, err := s.GetError(t.Context(), id); !errors.Is(err, session.ErrNotFound) {
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
		return errors.Is(err, session.ErrNotFound)
	})
	// What clients ask for by name is never a failure of the store.
	for _, odd := range []string{"", "\x00", "{x}", strings.Repeat("x", 70_000)} {
		if _, err := s.GetError(t.Context(), odd); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("error id of %d bytes: %v, want ErrNotFound", len(odd), err)
		}
	}
}

func contractLarge(s contract) {
	t := s.t
	key, value := newKey(), make([]byte, 1<<20)
	_, _ = rand.Read(value)
	noError(t, s.Create(t.Context(), key, session.Entry{
		Identity: "alice " + rand.Text(), Value: value, ExpiresAt: s.Now().Add(time.Hour),
	}))
	s.wantRecord(t, key, session.Record{Value: value})
}

func contractCancelled(s contract) {
	t := s.t
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantUnavailable(ctx, t, s.Store)
	noError(t, s.Ping(t.Context()))
}

func contractCreateRace(s contract) {
	t := s.t
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
			case !errors.Is(err, session.ErrExists):
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
func contractRevokeAllRace(s contract) {
	t := s.t
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
				revoked = revoked || len(keys) > 0
				if _, failed = s.RevokeAll(t.Context(), alice, keys, at, until); failed != nil {
					return
				}
			}
		})
		wg.Wait()
		noError(t, failed)
		if created != nil && !errors.Is(created, session.ErrExists) {
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
