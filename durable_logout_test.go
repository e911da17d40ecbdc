package caddylogout

import (
	"errors"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-logout/caddy-logout/internal/journal"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// withJournal gives the app a journal in file.
func (a *testApp) withJournal(t *testing.T, file string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	a.Replayer = a.NewReplayer()
	j.Use(a.Replayer)
	a.Journal.Store(j)
	return j
}

func closeJournal(t *testing.T, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// wait polls until ok.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func TestDurableLogout(t *testing.T) {
	flows := map[string]func(c session.Credential) *http.Request{
		"browser": func(c session.Credential) *http.Request {
			return newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c), "Accept: text/html")
		},
		"AJAX": func(c session.Credential) *http.Request {
			return newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c), "Accept: application/json")
		},
		"API": func(c session.Credential) *http.Request {
			return newRequest(t, http.MethodDelete, "/self-service/logout/api", "X-Session-Token: wrong", "Authorization: Bearer "+c.Secret())
		},
	}
	for name, request := range flows {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
			defer closeJournal(t, j)
			c, _ := a.signIn(t, "alice", "")
			other, _ := a.signIn(t, "alice", "")
			bringBack := a.takeStoreAway()
			for i := range 2 { // a second click is pending, too, and no more than that
				w := serve(t, &signout.Handler{Site: a.Site}, request(c), nil)
				if w.Code != http.StatusAccepted || w.Header().Get("Location") != "" {
					t.Fatalf("time %d: got %d %q", i, w.Code, w.Body)
				}
			}
			// Refused here at once, though the store is unavailable.
			res, err := a.Authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(c)))
			if err != nil || res.Session != nil || !res.DeadCookie {
				t.Errorf("while pending: %v, %v", res, err)
			}
			if _, err := a.Authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(other))); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("another session: %v", err)
			}
			bringBack()
			wait(t, "replay", func() bool { return j.Pending() == 0 })
			if a.alive(t, c) || !a.alive(t, other) {
				t.Errorf("after the replay: live %v, another %v", a.alive(t, c), a.alive(t, other))
			}
			if name != "API" {
				if w := serve(t, &signout.Handler{Site: a.Site}, request(c), nil); w.Code != http.StatusSeeOther && w.Code != http.StatusNoContent {
					t.Errorf("after the replay: got %d", w.Code)
				}
			}
		})
	}
}

// What was noted is still there for the next process, which refuses it at once.
func TestDurableLogoutOutlivesTheProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pending.db")
	a := newTestApp(t, nil)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // the store's sweeper goes on
	c, _ := a.signIn(t, "alice", "")
	bringBack := a.takeStoreAway()
	j := a.withJournal(t, file)
	if w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c)), nil); w.Code != http.StatusAccepted {
		t.Fatalf("got %d", w.Code)
	}
	closeJournal(t, j)
	j = a.withJournal(t, file)
	if !j.Has(session.KeyOf(c.Secret())) || j.Pending() != 1 {
		t.Error("the next process does not know")
	}
	bringBack()
	wait(t, "replay", func() bool { return j.Pending() == 0 })
	closeJournal(t, j)
	a.Journal.Store(nil)
	if a.alive(t, c) {
		t.Error("the session is live")
	}
	j = a.withJournal(t, file)
	defer closeJournal(t, j)
	if j.Pending() != 0 {
		t.Error("what was done is pending again")
	}
}

// Without a journal, or with a full one, an outage is a 503.
func TestDurableLogoutHasItsLimits(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	a.takeStoreAway()
	var full sync.WaitGroup
	for range journalAtOnce {
		full.Go(func() {
			for range journal.MaxPendingFrom / journalAtOnce {
				storetest.NoError(t, j.Add(storetest.NewKey(), a.now(), "192.0.2.7"))
			}
		})
	}
	full.Wait()
	w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c), "Accept: application/json"), nil)
	if w.Code != http.StatusServiceUnavailable || w.Header()["Set-Cookie"] != nil {
		t.Errorf("full: got %d %q", w.Code, w.Header())
	}
	if n := j.Pending(); n != journal.MaxPendingFrom {
		t.Errorf("%d pending, want %d", n, journal.MaxPendingFrom)
	}
	// A token that fits no credential is not noted.
	w = serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(session.NewCredential("x", session.FromHeader)), sessionCookieLine(c), "Accept: application/json"), nil)
	if w.Code != http.StatusServiceUnavailable || j.Pending() != journal.MaxPendingFrom {
		t.Errorf("another's token: got %d, %d pending", w.Code, j.Pending())
	}
}

// A made-up credential that was noted leaves nothing behind in the store.
func TestDurableLogoutOfNothing(t *testing.T) {
	a := newTestApp(t, nil)
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	bringBack := a.takeStoreAway()
	made := session.NewCredential("ory_st_madeup", session.FromHeader)
	if w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, submitLine(made), sessionCookieLine(made)), nil); w.Code != http.StatusAccepted {
		t.Fatalf("got %d", w.Code)
	}
	bringBack()
	wait(t, "replay", func() bool { return j.Pending() == 0 })
	if found, err := a.Lookup(t.Context(), made); err != nil || !found.RevokedAt.IsZero() {
		t.Errorf("found %+v, %v", found, err)
	}
}

// journalAtOnce is how many note logouts together.
const journalAtOnce = 50
