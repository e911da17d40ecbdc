package caddylogout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/session"
)

// newStreams starts to watch the sessions of one store.
func newStreams(store session.Store, now func() time.Time) *streams.Streams {
	s := streams.New(now)
	s.Add(&manager.UsedStore{Store: store}, streams.Place{}).Use()
	return s
}

// armed makes the store notify of changes.
func arm(s *streams.Streams) { s.ToAsk()[0].Armed(time.Now().Add(time.Hour)) }

// withStreams gives the app its streams.
func (a *testApp) withStreams(t *testing.T) *streams.Streams {
	t.Helper()
	store, err := a.OpenStore()
	if err != nil {
		t.Fatal(err)
	}
	a.reopen(func(o *manager.Opened) { o.Streams = newStreams(store, a.time) })
	t.Cleanup(a.open().Streams.Close)
	return a.open().Streams
}

// serveStream passes a gate and stays with the app until its context is done or
// release is closed. ended gets why.
func (a *testApp) serveStream(t *testing.T, gate *gate.Handler, c session.Credential, release <-chan struct{}) (ended <-chan error) {
	t.Helper()
	result, inside := make(chan error, 1), make(chan struct{})
	next := func(_ http.ResponseWriter, r *http.Request) error {
		close(inside)
		select {
		case <-r.Context().Done():
			result <- context.Cause(r.Context())
		case <-release:
			result <- nil
		}
		return nil
	}
	r := newRequest(t, http.MethodGet, "/", sessionCookieLine(c))
	go func() { _ = gate.ServeHTTP(httptest.NewRecorder(), r, handlerFunc(next)) }()
	<-inside
	return result
}

type handlerFunc func(http.ResponseWriter, *http.Request) error

func (f handlerFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

func wantEnded(t *testing.T, ended <-chan error, want error) {
	t.Helper()
	select {
	case got := <-ended:
		if !errors.Is(got, want) {
			t.Errorf("ended by %v, want %v", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Error("goes on")
	}
}

func TestStreamsEndWithTheSession(t *testing.T) {
	end := map[string]func(a *testApp, s *session.Session) error{
		"logout on this server": func(a *testApp, s *session.Session) error { _, err := a.Revoke(t.Context(), s); return err },
		"logout everywhere": func(a *testApp, s *session.Session) error {
			_, err := a.RevokeKeys(t.Context(), s.Identity, func(session.Key) bool { return true })
			return err
		},
		// As another server does it: only the store knows, and then notifies.
		"elsewhere, reported": func(a *testApp, s *session.Session) error {
			arm(a.open().Streams)
			store, _ := a.OpenStore()
			_, err := store.Revoke(t.Context(), s.Key, s.Identity, a.time(), s.ExpiresAt)
			a.open().Streams.Changed(s.Key)
			return err
		},
		"elsewhere, unreported": func(a *testApp, s *session.Session) error {
			store, _ := a.OpenStore()
			_, err := store.Revoke(t.Context(), s.Key, s.Identity, a.time(), s.ExpiresAt)
			return err
		},
		"expiry": func(a *testApp, s *session.Session) error { a.advance(s.ExpiresAt.Sub(a.time())); return nil },
	}
	for name, end := range end {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			a.withStreams(t)
			gate := newGate(t, a, gate.Options{})
			c, s := a.signIn(t, "alice", "")
			other, _ := a.signIn(t, "bob", "")
			release := make(chan struct{})
			one, two, bobs := a.serveStream(t, gate, c, release), a.serveStream(t, gate, c, release), (<-chan error)(nil)
			if name != "expiry" {
				bobs = a.serveStream(t, gate, other, release)
			}
			if err := end(a, s); err != nil {
				t.Fatal(err)
			}
			wantEnded(t, one, streams.ErrSessionEnded)
			wantEnded(t, two, streams.ErrSessionEnded)
			close(release)
			if bobs != nil {
				wantEnded(t, bobs, nil)
			}
		})
	}
}

func TestStreamsKeep(t *testing.T) {
	a := newTestApp(t, nil)
	a.withStreams(t)
	c, s := a.signIn(t, "alice", "")
	release := make(chan struct{})
	kept := a.serveStream(t, newGate(t, a, gate.Options{KeepStreams: true}), c, release)
	cut := a.serveStream(t, newGate(t, a, gate.Options{}), c, release)
	if _, err := a.Revoke(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, cut, streams.ErrSessionEnded)
	close(release)
	wantEnded(t, kept, nil)
}

// The request that ends its own session still gets its response.
func TestStreamsSpareTheLogoutItself(t *testing.T) {
	a := newTestApp(t, nil)
	a.withStreams(t)
	c, s := a.signIn(t, "alice", "")
	served := false
	next := func(_ http.ResponseWriter, r *http.Request) error {
		if _, err := a.Revoke(r.Context(), s); err != nil {
			return err
		}
		served = r.Context().Err() == nil
		return nil
	}
	serve(t, newGate(t, a, gate.Options{}), newRequest(t, http.MethodGet, "/", sessionCookieLine(c)), next)
	if !served || a.alive(t, c) {
		t.Errorf("served %v, session live %v", served, a.alive(t, c))
	}
}

// An outage is not a logout: streams go on, and end when the store says so.
func TestStreamsDuringAnOutage(t *testing.T) {
	a := newTestApp(t, nil)
	store, _ := a.OpenStore()
	flaky := &flakyStore{Store: store}
	a.reopen(func(o *manager.Opened) { o.Streams = newStreams(flaky, a.time) })
	t.Cleanup(a.open().Streams.Close)
	c, s := a.signIn(t, "alice", "")
	release := make(chan struct{})
	defer close(release)
	ended := a.serveStream(t, newGate(t, a, gate.Options{}), c, release)
	flaky.setAway(true)
	if _, err := store.Revoke(t.Context(), s.Key, s.Identity, a.time(), s.ExpiresAt); err != nil {
		t.Fatal(err)
	}
	a.open().Streams.Check(true)
	select {
	case err := <-ended:
		t.Fatalf("ended during the outage: %v", err)
	default:
	}
	flaky.setAway(false)
	wantEnded(t, ended, streams.ErrSessionEnded)
}

// flakyStore can fail reads.
type flakyStore struct {
	session.Store
	mu   sync.Mutex
	away bool
}

func (f *flakyStore) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *flakyStore) Get(ctx context.Context, key session.Key) (session.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return session.Record{}, errAway
	}
	return f.Store.Get(ctx, key)
}

// A session that ends between the check at the gate and the registration of the
// request is not missed.
func TestStreamsRegisterTooLate(t *testing.T) {
	a := newTestApp(t, nil)
	s := a.withStreams(t)
	arm(s) // so that no tick looks it up
	c, session := a.signIn(t, "alice", "")
	found, err := a.Lookup(t.Context(), c)
	if err != nil || found.Session == nil {
		t.Fatalf("%+v, %v", found, err)
	}
	store, _ := a.OpenStore()
	if _, err := store.Revoke(t.Context(), session.Key, "alice", a.time(), session.ExpiresAt); err != nil {
		t.Fatal(err)
	}
	s.Changed(session.Key)
	r, st := s.Open(nil, newRequest(t, http.MethodGet, "/"), streams.Admission{Session: found.Session, Changes: found.Changes})
	defer s.Done(st)
	select {
	case <-r.Context().Done():
	case <-time.After(20 * time.Second):
		t.Error("goes on")
	}
}

// A served request leaves nothing behind.
func TestStreamsForget(t *testing.T) {
	a := newTestApp(t, nil)
	s := a.withStreams(t)
	_, session := a.signIn(t, "alice", "")
	var open []*streams.Stream
	for range 3 {
		_, st := s.Open(nil, newRequest(t, http.MethodGet, "/"), streams.Admission{Session: session, Changes: s.ChangesOf(session.Key)})
		open = append(open, st)
	}
	for _, i := range []int{1, 0, 2} {
		s.Done(open[i])
	}
	if n := len(s.Stripes[session.Key[0]].Sessions); n != 0 {
		t.Errorf("%d sessions left", n)
	}
	s.Done(open[1]) // again
	if cut := s.Cut(session.Key, time.Time{}); cut != 0 {
		t.Errorf("%d cut", cut)
	}
}

// Ten thousand streams cost one goroutine, and are cut at once.
func TestManyStreams(t *testing.T) {
	const many = 10_000
	a := newTestApp(t, nil)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	store, _ := a.OpenStore()
	s := newStreams(store, a.time)
	defer s.Close()
	_, session := a.signIn(t, "alice", "")
	contexts := make([]context.Context, 0, many)
	for range many {
		r, _ := s.Open(nil, newRequest(t, http.MethodGet, "/"), streams.Admission{Session: session, Changes: s.ChangesOf(session.Key)})
		contexts = append(contexts, r.Context())
	}
	if cut := s.Cut(session.Key, time.Time{}); cut != many {
		t.Errorf("%d cut, want %d", cut, many)
	}
	for _, ctx := range contexts {
		if ctx.Err() == nil {
			t.Fatal("one goes on")
		}
	}
}
