package caddylogout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/admin"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// keyLike returns a key that begins as the id of its session shows.
func keyLike(begin ...byte) session.Key {
	key := storetest.NewKey()
	copy(key[:], begin)
	return key
}

// put stores a session under a key of the test's choice.
func (a *testApp) put(t *testing.T, key session.Key, identity string, ends time.Duration) {
	t.Helper()
	now := a.time()
	s := &session.Session{Key: key, ID: key.ID(), Identity: identity, IssuedAt: now, AuthenticatedAt: now, ExpiresAt: now.Add(ends)}
	value, err := a.Format.Encode(s)
	storetest.NoError(t, err)
	store, err := a.OpenStore()
	storetest.NoError(t, err)
	storetest.NoError(t, store.Create(t.Context(), key, session.Entry{Identity: identity, Value: value, ExpiresAt: s.ExpiresAt}))
}

// statusOf returns the status of an error of the admin endpoint.
func statusOf(err error) int {
	if api, ok := errors.AsType[caddy.APIError](err); ok {
		return api.HTTPStatus
	}
	return 0
}

func TestAdminNames(t *testing.T) {
	a := newTestApp(t, nil)
	one, twin, other := keyLike(1, 2, 3, 4, 5), keyLike(1, 2, 3, 4, 6), keyLike(9, 2, 3, 4)
	for _, key := range []session.Key{one, twin, other} {
		a.put(t, key, "alice", time.Hour)
	}
	for _, tt := range []struct {
		handle string
		want   session.Key
		status int
	}{
		{one.ID(), one, 0},
		{twin.ID(), twin, 0},
		{other.Short(), other, 0},
		{one.Short(), session.Key{}, http.StatusConflict},
		{storetest.NewKey().ID(), session.Key{}, 404},
		{"", session.Key{}, 400},
		{"0102030", session.Key{}, 400},
		{"0102030g", session.Key{}, 400},
		{one.String(), session.Key{}, 400},
		{"urn:uuid:" + one.ID(), session.Key{}, 400},
		{"{" + one.ID() + "}", session.Key{}, 400},
	} {
		r := httptest.NewRequest(http.MethodGet, "/sessions/x?identity=alice", nil)
		r.SetPathValue("id", tt.handle)
		key, _, err := new(admin.API).Named(a.Site, r)
		if err != nil {
			err = new(admin.API).Fail(httptest.NewRecorder(), err)
		}
		if key != tt.want || statusOf(err) != tt.status {
			t.Errorf("%q: %v %v, want status %d", tt.handle, key.Short(), err, tt.status)
		}
	}
}

// TestAdminPages pages through sessions that end together and apart, while others
// come and go.
func TestAdminPages(t *testing.T) {
	a := newTestApp(t, nil)
	var want []session.Key
	for i := range 30 {
		key := storetest.NewKey()
		a.put(t, key, "alice", time.Hour+time.Duration(i/10)*time.Minute)
		want = append(want, key)
	}
	var got []string
	query := url.Values{"page_size": {"4"}}
	for n := 0; ; n++ {
		page, err := admin.ParseCursor(query)
		storetest.NoError(t, err)
		answer, err := admin.ReadPage(t.Context(), a.Site, "alice", page)
		storetest.NoError(t, err)
		for i, s := range answer.Sessions {
			got = append(got, s.ID)
			if i > 0 && s.ExpiresAt.After(answer.Sessions[i-1].ExpiresAt) {
				t.Error("what ends last does not come first")
			}
		}
		if answer.NextPageToken == "" {
			break
		}
		query.Set("page_token", answer.NextPageToken)
		// One of the page before ends, and a new one sorts before it.
		store, err := a.OpenStore()
		storetest.NoError(t, err)
		key := want[slices.IndexFunc(want, func(key session.Key) bool { return key.ID() == got[0] })]
		_, err = store.Revoke(t.Context(), key, "alice", a.time(), a.time().Add(time.Hour))
		storetest.NoError(t, err)
		a.put(t, storetest.NewKey(), "alice", 3*time.Hour)
		if n > len(want) {
			t.Fatal("the pages do not end")
		}
	}
	ids := make([]string, 0, len(want))
	for _, key := range want {
		ids = append(ids, key.ID())
	}
	slices.Sort(ids)
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		t.Errorf("%d sessions in the pages, want %d, each once", len(got), len(ids))
	}
}

// TestRevokeEverybody ends sessions that are in an index and others, unreadable ones,
// and ones that another program wrote back after their end.
func TestRevokeEverybody(t *testing.T) {
	a := newTestApp(t, nil)
	store, err := a.OpenStore()
	storetest.NoError(t, err)
	for range 3 {
		a.put(t, storetest.NewKey(), "alice", time.Hour)
		a.put(t, storetest.NewKey(), "bob", time.Hour)
	}
	unreadable := storetest.NewKey()
	storetest.NoError(t, store.Create(t.Context(), unreadable, session.Entry{Identity: "carol", Value: []byte("{}"), ExpiresAt: a.time().Add(time.Hour)}))
	expired := storetest.NewKey()
	a.put(t, expired, "dave", time.Minute)
	a.advance(2 * time.Minute)

	var told []int
	count, err := a.RevokeEverybody(t.Context(), new(manager.EverybodyTrail), func(count int) { told = append(told, count) })
	if err != nil || count != 7 {
		t.Errorf("%d sessions ended, %v; want 7", count, err)
	}
	if !slices.IsSorted(told) || len(told) == 0 || told[len(told)-1] != 7 {
		t.Errorf("progress %v", told)
	}
	storetest.NoError(t, store.WalkKeys(t.Context(), func(keys []session.Key) error {
		t.Errorf("%d sessions are left", len(keys))
		return nil
	}))
	if record, err := store.Get(t.Context(), unreadable); err != nil || record.RevokedAt.IsZero() {
		t.Errorf("what could not be read has no tombstone: %+v, %v", record, err)
	}
	if again, err := a.RevokeEverybody(t.Context(), new(manager.EverybodyTrail), func(int) {}); again != 0 || err != nil {
		t.Errorf("again: %d, %v", again, err)
	}

	// It goes on without the client, and reports an outage.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	a.put(t, storetest.NewKey(), "alice", time.Hour)
	if count, err := a.RevokeEverybody(gone, new(manager.EverybodyTrail), func(int) {}); count != 1 || err != nil {
		t.Errorf("when the client has gone: %d, %v", count, err)
	}
	a.OpenStore = func() (*manager.Opened, error) { return nil, errAway }
	if _, err := a.RevokeEverybody(t.Context(), new(manager.EverybodyTrail), func(int) {}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("without a store: %v", err)
	}
}

// TestRevokeEverybodyUnlisted ends a session that is in no index of its person.
func TestRevokeEverybodyUnlisted(t *testing.T) {
	a := newTestApp(t, nil)
	key := storetest.NewKey()
	value, err := a.Format.Encode(&session.Session{Key: key, ID: key.ID(), Identity: "alice", IssuedAt: a.time(), ExpiresAt: a.time().Add(time.Hour)})
	storetest.NoError(t, err)
	store, err := a.OpenStore()
	storetest.NoError(t, err)
	// In the index of another person, and not in that of alice.
	storetest.NoError(t, store.Create(t.Context(), key, session.Entry{Identity: "mallory", Value: value, ExpiresAt: a.time().Add(time.Hour)}))
	if found, err := a.Peek(t.Context(), key); err != nil || found.Session == nil {
		t.Fatalf("before: %+v %v", found, err)
	}
	count := 0
	storetest.NoError(t, a.RevokeUnlisted(t.Context(), &count, new(manager.EverybodyTrail), func(int) {}))
	if count != 1 {
		t.Errorf("%d sessions ended, want 1", count)
	}
	if found, err := a.Peek(t.Context(), key); err != nil || found.Session != nil {
		t.Errorf("after: %+v %v", found, err)
	}
}
