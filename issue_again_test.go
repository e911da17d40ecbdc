package caddylogout

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// takenStore says that the next keys are taken.
type takenStore struct {
	session.Store
	left, tries int
}

func (s *takenStore) Create(ctx context.Context, key session.Key, e session.Entry) error {
	s.tries++
	if s.left--; s.left >= 0 {
		return session.ErrExists
	}
	return s.Store.Create(ctx, key, e)
}

func TestIssueTriesAgain(t *testing.T) {
	for taken, ok := range map[int]bool{0: true, 1: true, manager.IssueTries - 1: true, manager.IssueTries: false, 1000: false} {
		a := newTestApp(t, nil)
		store, err := a.OpenStore()
		storetest.NoError(t, err)
		counter := &takenStore{Store: store, left: taken}
		a.reopen(func(o *manager.Opened) { o.Store = counter })
		w := serve(t, newGate(t, a, gate.Options{IssueOnHeader: "X-Signed-In", Optional: true}),
			newRequest(t, http.MethodGet, "/", "Accept: application/json"), func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("X-Signed-In", `{"identity":"alice"}`)
				w.WriteHeader(http.StatusOK)
				return nil
			})
		if want := min(taken+1, manager.IssueTries); counter.tries != want {
			t.Errorf("%d taken: %d tries, want %d", taken, counter.tries, want)
		}
		switch h := w.Header(); {
		case ok && (w.Code != http.StatusOK || len(h["Set-Cookie"]) != 1):
			t.Errorf("%d taken: %d %v", taken, w.Code, h)
		case !ok && (w.Code != http.StatusServiceUnavailable || h.Get("Retry-After") == "" || h.Get("Ory-Error-Id") != "sessions_ended_meanwhile" || len(h["Set-Cookie"]) > 0):
			t.Errorf("%d taken: %d %v", taken, w.Code, h)
		}
	}
}

// Many sign in while all sessions of the person are ended again and again, and more
// than max_sessions at once. No sign-in fails but with the error that asks to try
// again, and after the last end nobody is left.
func TestSignInWhileAllAreEnded(t *testing.T) {
	const people, each = 8, 60
	server, bound := redistest.Start(t), 3
	a := newTestApp(t, func(a *App) { a.MaxSessions = &bound })
	a.useClock(time.Now)
	store := openRedis(t, RedisStore{Address: server.Addr(), Timeout: unhurried}, time.Now)
	t.Cleanup(func() { _ = store.Close() })
	a.reopen(func(o *manager.Opened) { o.Store = store })
	all := func(session.Key) bool { return true }
	var made, again, failed atomic.Int64
	var signIns, ends sync.WaitGroup
	done := make(chan struct{})
	ends.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := a.RevokeKeys(t.Context(), "alice", all); err != nil {
				failed.Add(1)
				t.Error(err)
			}
		}
	})
	for range people {
		signIns.Go(func() {
			for range each {
				_, s, err := a.Issue(t.Context(), manager.NewSession{Identity: "alice", Method: "password"})
				switch {
				case err == nil && s != nil:
					made.Add(1)
				case errors.Is(err, session.ErrExists) && a.AsAPIError(newRequest(t, http.MethodGet, "/"), err).Code == http.StatusServiceUnavailable:
					again.Add(1)
				default:
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	signIns.Wait()
	close(done)
	ends.Wait()
	if _, err := a.RevokeKeys(t.Context(), "alice", all); err != nil {
		t.Fatal(err)
	}
	storetest.NoError(t, store.WalkKeys(t.Context(), func(keys []session.Key) error {
		t.Errorf("%d sessions outlived their end", len(keys))
		return nil
	}))
	t.Logf("%d sign-ins while all are ended: %d made, %d to try again, %d failed", people*each, made.Load(), again.Load(), failed.Load())
	if made.Load() == 0 {
		t.Error("nobody could sign in")
	}
}
