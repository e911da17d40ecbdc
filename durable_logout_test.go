package caddylogout

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-logout/caddy-logout/session"
)

// withJournal gives the app a journal in file.
func (a *testApp) withJournal(t *testing.T, file string) *journal {
	t.Helper()
	j, err := openJournal(file)
	if err != nil {
		t.Fatal(err)
	}
	a.durable.replayer = a.newReplayer()
	j.use(a.durable.replayer)
	a.durable.journal.Store(j)
	return j
}

func closeJournal(t *testing.T, j *journal) {
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
				w := serve(t, &Logout{app: a.App}, request(c), nil)
				if w.Code != http.StatusAccepted || w.Header().Get("Location") != "" {
					t.Fatalf("time %d: got %d %q", i, w.Code, w.Body)
				}
			}
			// Refused here at once, though the store cannot be asked.
			res, err := a.authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(c)))
			if err != nil || res.session != nil || !res.deadCookie {
				t.Errorf("while pending: %v, %v", res, err)
			}
			if _, err := a.authenticate(newRequest(t, http.MethodGet, "/", sessionCookieLine(other))); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("another session: %v", err)
			}
			bringBack()
			wait(t, "replay", func() bool { return j.count.Load() == 0 })
			if a.alive(t, c) || !a.alive(t, other) {
				t.Errorf("after the replay: live %v, another %v", a.alive(t, c), a.alive(t, other))
			}
			if name != "API" {
				if w := serve(t, &Logout{app: a.App}, request(c), nil); w.Code != http.StatusSeeOther && w.Code != http.StatusNoContent {
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
	if w := serve(t, &Logout{app: a.App}, newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c)), nil); w.Code != http.StatusAccepted {
		t.Fatalf("got %d", w.Code)
	}
	closeJournal(t, j)
	j = a.withJournal(t, file)
	if !j.has(session.KeyOf(c.Secret())) || j.count.Load() != 1 {
		t.Error("the next process does not know")
	}
	bringBack()
	wait(t, "replay", func() bool { return j.count.Load() == 0 })
	closeJournal(t, j)
	a.durable.journal.Store(nil)
	if a.alive(t, c) {
		t.Error("the session is live")
	}
	j = a.withJournal(t, file)
	defer closeJournal(t, j)
	if j.count.Load() != 0 {
		t.Error("what was done is pending again")
	}
}

// Without a journal, or with one that is full, an outage is a 503 as ever.
func TestDurableLogoutHasItsLimits(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	a.takeStoreAway()
	j.count.Store(MaxPending)
	w := serve(t, &Logout{app: a.App}, newRequest(t, http.MethodGet, submitLine(c), sessionCookieLine(c), "Accept: application/json"), nil)
	if w.Code != http.StatusServiceUnavailable || w.Header()["Set-Cookie"] != nil {
		t.Errorf("full: got %d %q", w.Code, w.Header())
	}
	j.count.Store(0)
	// A token that fits no credential is not noted.
	w = serve(t, &Logout{app: a.App}, newRequest(t, http.MethodGet, submitLine(session.NewCredential("x", session.FromHeader)), sessionCookieLine(c), "Accept: application/json"), nil)
	if w.Code != http.StatusServiceUnavailable || j.count.Load() != 0 {
		t.Errorf("another's token: got %d, %d pending", w.Code, j.count.Load())
	}
}

// A made-up credential that was noted leaves nothing behind in the store.
func TestDurableLogoutOfNothing(t *testing.T) {
	a := newTestApp(t, nil)
	j := a.withJournal(t, filepath.Join(t.TempDir(), "pending.db"))
	defer closeJournal(t, j)
	bringBack := a.takeStoreAway()
	made := session.NewCredential("ory_st_madeup", session.FromHeader)
	if w := serve(t, &Logout{app: a.App}, newRequest(t, http.MethodGet, submitLine(made), sessionCookieLine(made)), nil); w.Code != http.StatusAccepted {
		t.Fatalf("got %d", w.Code)
	}
	bringBack()
	wait(t, "replay", func() bool { return j.count.Load() == 0 })
	if found, err := a.lookup(t.Context(), made); err != nil || !found.revokedAt.IsZero() {
		t.Errorf("found %+v, %v", found, err)
	}
}

// After a failed reload, the configuration before replays again.
func TestJournalReplaysIntoTheLastConfiguration(t *testing.T) {
	j, err := openJournal(filepath.Join(t.TempDir(), "pending.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	first, second := &replayer{}, &replayer{}
	j.use(first)
	j.use(second)
	if j.replayer() != second {
		t.Error("the new configuration does not replay")
	}
	j.drop(second)
	if j.replayer() != first {
		t.Error("after a failed reload nobody replays")
	}
	j.drop(first)
	if j.replayer() != nil {
		t.Error("a configuration that is gone replays")
	}
}

func TestJournalOfAnotherProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pending.db")
	j, err := openJournal(file)
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	if _, err := openJournal(file); err == nil || !strings.Contains(err.Error(), "another process") || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}
