package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
)

func contractPing(s Contract) { NoError(s.T, s.Ping(s.T.Context())) }

func contractUnknown(s Contract) {
	t := s.T
	s.WantRecord(t, NewKey(), session.Record{})
	s.WantKeys(t, "nobody "+rand.Text())
}

func contractCreate(s Contract) {
	t := s.T
	alice := "alice " + rand.Text()
	key := NewKey()
	NoError(t, s.Create(t.Context(), key, session.Entry{
		Identity: alice, Value: []byte("the value\x00\xff"), ExpiresAt: s.Now().Add(time.Hour),
	}))
	s.WantRecord(t, key, session.Record{Value: []byte("the value\x00\xff")})
	s.WantRecord(t, NewKey(), session.Record{})
	s.WantKeys(t, alice, key)
}

func contractCreateTwice(s Contract) {
	t := s.T
	alice, bob := "alice "+rand.Text(), "bob "+rand.Text()
	key := s.Make(t, alice)
	err := s.Create(t.Context(), key, session.Entry{Identity: bob, Value: []byte("other"), ExpiresAt: s.Now().Add(time.Minute)})
	if !errors.Is(err, session.ErrExists) {
		t.Fatalf("%v, want ErrExists", err)
	}
	s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
	s.WantKeys(t, alice, key)
	s.WantKeys(t, bob)
}

func contractCreateRevoked(s Contract) {
	t := s.T
	alice := "alice " + rand.Text()
	key, at := NewKey(), s.Now()
	_, err := s.Revoke(t.Context(), key, alice, at, at.Add(time.Hour))
	NoError(t, err)
	if err := s.Create(t.Context(), key, s.NewEntry(alice)); !errors.Is(err, session.ErrExists) {
		t.Fatalf("%v, want ErrExists", err)
	}
	s.WantRecord(t, key, session.Record{RevokedAt: at})
	s.WantKeys(t, alice)
}

func contractRevoke(s Contract) {
	t := s.T
	alice := "alice " + rand.Text()
	key, other := s.Make(t, alice), s.Make(t, alice)
	at := s.Now()
	NoError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
	ended, err := s.Revoke(t.Context(), key, alice, at, at.Add(time.Hour))
	NoError(t, err)
	if !ended {
		t.Error("a session was there, and ended is false")
	}
	s.WantRecord(t, key, session.Record{RevokedAt: at})
	s.WantRecord(t, other, session.Record{Value: []byte(`{"v":1}`)})
	s.WantKeys(t, alice, other)
}

// contractRevokeAll ends more sessions than fit into one round trip, of which few
// are there and one was ended before.
func contractRevokeAll(s Contract) {
	t := s.T
	const many, every = 450, 50
	alice, first, at := "alice "+rand.Text(), s.Now().Add(-time.Second), s.Now()
	stays, before := s.Make(t, alice), s.Make(t, alice)
	_, err := s.Revoke(t.Context(), before, alice, first, at.Add(time.Hour))
	NoError(t, err)
	keys := []session.IndexedKey{{Key: before, ExpiresAt: at.Add(time.Minute)}}
	for i := range many {
		key := NewKey()
		if i%every == 0 {
			key = s.Make(t, alice)
			NoError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
		}
		keys = append(keys, session.IndexedKey{Key: key, ExpiresAt: at.Add(time.Hour)})
	}
	for _, want := range []int{many / every, 0} {
		ended, err := s.RevokeAll(t.Context(), alice, keys, at, at.Add(time.Minute))
		NoError(t, err)
		if ended != want {
			t.Errorf("%d sessions were ended, want %d", ended, want)
		}
	}
	s.WantRecord(t, before, session.Record{RevokedAt: first})
	for _, key := range keys[1:] {
		s.WantRecord(t, key.Key, session.Record{RevokedAt: at})
	}
	s.WantRecord(t, stays, session.Record{Value: []byte(`{"v":1}`)})
	s.WantKeys(t, alice, stays)

	ended, err := s.RevokeAll(t.Context(), alice, nil, at, at)
	NoError(t, err)
	if ended != 0 {
		t.Errorf("none were to be ended, and %d were", ended)
	}
}

// contractRevokeAllLasts looks at when the tombstones end: with the session, or
// later, never earlier.
func contractRevokeAllLasts(s Contract) {
	t := s.T
	at := s.Now()
	short, long := NewKey(), NewKey()
	_, err := s.RevokeAll(t.Context(), "alice", []session.IndexedKey{
		{Key: short, ExpiresAt: at.Add(-time.Second)}, {Key: long, ExpiresAt: at.Add(time.Hour)},
	}, at, at.Add(time.Second))
	NoError(t, err)
	s.Advance(2 * time.Second)
	WaitFor(t, "the tombstone ends", func() bool { return s.Read(t, short).RevokedAt.IsZero() })
	s.WantRecord(t, long, session.Record{RevokedAt: at})
}

func contractRevokeAbsent(s Contract) {
	t := s.T
	key, at := NewKey(), s.Now()
	for _, identity := range []string{"", "alice " + rand.Text()} {
		ended, err := s.Revoke(t.Context(), key, identity, at, at.Add(time.Hour))
		NoError(t, err)
		if ended {
			t.Error("no session was there, and ended is true")
		}
	}
	s.WantRecord(t, key, session.Record{RevokedAt: at})
}

func contractRevokeTwice(s Contract) {
	t := s.T
	alice := "alice " + rand.Text()
	key, first := s.Make(t, alice), s.Now()
	for i, at := range []time.Time{first, first.Add(time.Minute), first.Add(-time.Minute)} {
		ended, err := s.Revoke(t.Context(), key, alice, at, first.Add(time.Hour))
		NoError(t, err)
		if ended != (i == 0) {
			t.Errorf("revocation %d: ended is %v", i, ended)
		}
		s.WantRecord(t, key, session.Record{RevokedAt: first})
	}
}

func contractRevokeLonger(s Contract) {
	t := s.T
	key, at := NewKey(), s.Now()
	for _, last := range []time.Duration{300 * time.Millisecond, time.Hour, 300 * time.Millisecond} {
		_, err := s.Revoke(t.Context(), key, "alice", at, at.Add(last))
		NoError(t, err)
	}
	// A key with the short end only shows when that has passed.
	short := NewKey()
	_, err := s.Revoke(t.Context(), short, "alice", at, at.Add(300*time.Millisecond))
	NoError(t, err)
	s.Advance(300 * time.Millisecond)
	WaitFor(t, "the short tombstone to end", func() bool { return s.Read(t, short).RevokedAt.IsZero() })
	s.WantRecord(t, key, session.Record{RevokedAt: at})
}

func contractTombstoneEnds(s Contract) {
	t := s.T
	key, at := NewKey(), s.Now()
	_, err := s.Revoke(t.Context(), key, "alice", at, at.Add(150*time.Millisecond))
	NoError(t, err)
	s.Advance(150 * time.Millisecond)
	WaitFor(t, "the tombstone to end", func() bool { return s.Read(t, key).RevokedAt.IsZero() })
	NoError(t, s.Create(t.Context(), key, s.NewEntry("alice "+rand.Text())))
}

func contractIndex(s Contract) {
	t := s.T
	alice, bob := "alice "+rand.Text(), "bob "+rand.Text()
	var alices []session.Key
	for range 20 {
		alices = append(alices, s.Make(t, alice))
	}
	bobs := s.Make(t, bob)
	s.WantKeys(t, alice, alices...)
	s.WantKeys(t, bob, bobs)
	listed, err := s.Keys(t.Context(), bob)
	NoError(t, err)
	if late := listed[0].ExpiresAt.Sub(s.NewEntry(bob).ExpiresAt); late < 0 || late >= time.Second {
		t.Errorf("the index has the session end %v after it does", late)
	}
	for i, key := range alices {
		ended, err := s.Revoke(t.Context(), key, alice, s.Now(), s.Now().Add(time.Hour))
		NoError(t, err)
		if !ended {
			t.Errorf("session %d was listed and not there", i)
		}
		s.WantKeys(t, alice, alices[i+1:]...)
	}
	s.WantKeys(t, bob, bobs)
}

func contractIdentities(s Contract) {
	t := s.T
	base := rand.Text()
	identities := []string{
		base, base + "\x00", base + "\x00b", base + "b", base + ":b", base + "{b}", base + "*", base + "é", base + "\xff",
		base + "\r\nDEL x", strings.Repeat("x", 256-len(base)) + base,
		// As long as an identity and a key together.
		base + strings.Repeat("k", len(session.Key{})),
	}
	keys := make(map[string]session.Key)
	for _, identity := range identities {
		keys[identity] = s.Make(t, identity)
	}
	for identity, key := range keys {
		s.WantKeys(t, identity, key)
	}
}

// contractBound looks at whether a new session is one too many. Those that have
// expired and those that were ended do not count, nor those of another person.
func contractBound(s Contract) {
	t := s.T
	alice := "alice " + rand.Text()
	create := func(most int, life time.Duration, want bool) session.Key {
		t.Helper()
		key, e := NewKey(), s.NewEntry(alice)
		e.ExpiresAt, e.Bound = s.Now().Add(life), &session.Bound{Max: most}
		NoError(t, s.Create(t.Context(), key, e))
		if e.Bound.Exceeded != want {
			t.Errorf("exceeded is %v for at most %d, want %v", e.Bound.Exceeded, most, want)
		}
		return key
	}
	s.Make(t, "bob "+rand.Text())
	create(1, time.Hour, false)
	create(2, time.Minute, false)
	create(2, time.Hour, true)
	s.Advance(2*time.Minute + session.ClockTolerance)
	ends := create(3, time.Hour, false)
	create(3, time.Hour, true)
	_, err := s.Revoke(t.Context(), ends, alice, s.Now(), s.Now().Add(time.Hour))
	NoError(t, err)
	create(4, time.Hour, false)
	create(4, time.Hour, true)
}

func contractExpired(s Contract) {
	t := s.T
	alice := "alice " + rand.Text()
	short, long := NewKey(), s.Make(t, alice)
	e := s.NewEntry(alice)
	const life = 200 * time.Millisecond
	e.ExpiresAt = s.Now().Add(life)
	NoError(t, s.Create(t.Context(), short, e))
	s.WantKeys(t, alice, short, long)
	// On a machine that is too busy it has expired by now.
	if rec := s.Read(t, short); rec.Value == nil && time.Since(s.Now()) < life {
		t.Error("the session is not there")
	}

	s.Advance(life)
	WaitFor(t, "the session to expire", func() bool { return s.Read(t, short).Value == nil })
	// An index may be exact to the second, and leaves room for other clocks.
	s.Advance(time.Second + session.ClockTolerance)
	s.WantKeys(t, alice, long)
	s.WantRecord(t, long, session.Record{Value: e.Value})
	// What has expired is no session to end, and its key is free.
	ended, err := s.Revoke(t.Context(), short, alice, s.Now(), s.Now())
	NoError(t, err)
	if ended {
		t.Error("an expired session was ended")
	}
}

func contractTouch(s Contract) {
	t := s.T
	key, at := s.Make(t, "alice "+rand.Text()), s.Now()
	s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
	for _, used := range []time.Time{at, at.Add(time.Minute)} {
		NoError(t, s.Touch(t.Context(), key, used, at.Add(time.Hour)))
		s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`), LastUsed: used})
	}
	rec, err := s.Get(t.Context(), key)
	NoError(t, err)
	if rec.Value == nil || !rec.LastUsed.IsZero() {
		t.Errorf("get without use: %+v", rec)
	}
	NoError(t, s.Touch(t.Context(), key, at, at.Add(100*time.Millisecond)))
	s.Advance(100 * time.Millisecond)
	WaitFor(t, "the use to be forgotten", func() bool { return s.Read(t, key).LastUsed.IsZero() })
	s.WantRecord(t, key, session.Record{Value: []byte(`{"v":1}`)})
}

func contractTouchRevives(s Contract) {
	t := s.T
	alice := "alice " + rand.Text()
	unknown, revoked, at := NewKey(), s.Make(t, alice), s.Now()
	_, err := s.Revoke(t.Context(), revoked, alice, at, at.Add(time.Hour))
	NoError(t, err)
	for _, key := range []session.Key{unknown, revoked} {
		NoError(t, s.Touch(t.Context(), key, at, at.Add(time.Hour)))
	}
	s.WantRecord(t, unknown, session.Record{LastUsed: at})
	s.WantRecord(t, revoked, session.Record{RevokedAt: at, LastUsed: at})
	s.WantKeys(t, alice)
}

func contractErrors(s Contract) {
	t := s.T
	id := rand.Text()
	if _, err := s.GetError(t.Context(), id); !errors.Is(err, session.ErrNotFound) {
		t.Fatalf("%v, want ErrNotFound", err)
	}
	for _, value := range []string{"first", "second"} {
		NoError(t, s.PutError(t.Context(), id, []byte(value), s.Now().Add(time.Hour)))
		got, err := s.GetError(t.Context(), id)
		NoError(t, err)
		if string(got) != value {
			t.Errorf("%q, want %q", got, value)
		}
	}
	NoError(t, s.PutError(t.Context(), id, []byte("short"), s.Now().Add(100*time.Millisecond)))
	s.Advance(100 * time.Millisecond)
	WaitFor(t, "the error to expire", func() bool {
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

func contractLarge(s Contract) {
	t := s.T
	key, value := NewKey(), make([]byte, 1<<20)
	_, _ = rand.Read(value)
	NoError(t, s.Create(t.Context(), key, session.Entry{
		Identity: "alice " + rand.Text(), Value: value, ExpiresAt: s.Now().Add(time.Hour),
	}))
	s.WantRecord(t, key, session.Record{Value: value})
}

func contractCancelled(s Contract) {
	t := s.T
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	WantUnavailable(ctx, t, s.Store)
	NoError(t, s.Ping(t.Context()))
}

func contractCreateRace(s Contract) {
	t := s.T
	for range 20 {
		key, alice := NewKey(), "alice "+rand.Text()
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			wg.Go(func() { errs[i] = s.Create(t.Context(), key, s.NewEntry(alice)) })
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
		s.WantKeys(t, alice, key)
	}
}

// contractRevokeAllRace ends all sessions of someone while one is being made:
// whatever is alive after it must be listed, or the next "log out everywhere"
// would not find it, and what was ended must stay revoked.
func contractRevokeAllRace(s Contract) {
	t := s.T
	for range 50 {
		key, alice := NewKey(), "alice "+rand.Text()
		at, until := s.Now(), s.Now().Add(time.Hour)
		var wg sync.WaitGroup
		var created, failed error
		var revoked bool
		wg.Go(func() { created = s.Create(t.Context(), key, s.NewEntry(alice)) })
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
		NoError(t, failed)
		if created != nil && !errors.Is(created, session.ErrExists) {
			t.Fatal(created)
		}
		rec := s.Read(t, key)
		switch {
		case revoked && (rec.Value != nil || rec.RevokedAt.IsZero()):
			t.Fatalf("revoked, and still live: %+v", rec)
		case rec.Value != nil:
			s.WantKeys(t, alice, key)
		case !revoked:
			t.Fatalf("not revoked, and not there: %v", created)
		}
	}
}
