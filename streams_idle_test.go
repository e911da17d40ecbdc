package caddylogout

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// isCut reports whether a stream ends as one that was cut.
func isCut(t *testing.T, ended <-chan error) bool {
	t.Helper()
	select {
	case err := <-ended:
		return errors.Is(err, streams.ErrSessionEnded)
	default:
		return false
	}
}

// TestAttackIdleStreams leaves streams open without a use: they end when the session
// is idle, and not before. Ordinary requests keep them, on this server or another; an
// interruption in which uses cannot be noted does, too.
func TestAttackIdleStreams(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Minute
	tries, through := 0, 0
	for _, tc := range []struct {
		name string
		// use is what happens after nine minutes; two more follow.
		use  func(t *testing.T, a *testApp, c session.Credential, s *session.Session)
		live bool
	}{
		{name: "nobody is there", use: func(*testing.T, *testApp, session.Credential, *session.Session) {}},
		{name: "an ordinary request", live: true, use: func(t *testing.T, a *testApp, c session.Credential, _ *session.Session) {
			t.Helper()
			a.wantLive(t, c, true)
		}},
		{name: "another server", live: true, use: func(t *testing.T, a *testApp, _ session.Credential, s *session.Session) {
			t.Helper()
			storetest.NoError(t, a.open().Touch(t.Context(), s.Key, a.time(), s.ExpiresAt))
		}},
		{name: "uses cannot be noted", live: true, use: func(_ *testing.T, a *testApp, _ session.Credential, _ *session.Session) {
			a.open().Uses.Fail(errAway)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newTestApp(t, idleAfter(timeout))
			open := a.open()
			u := manager.NewUses(open.Store, a.time)
			u.Check(t.Context())
			s := streams.New(a.time)
			s.Add(&manager.UsedStore{Store: open.Store, Uses: u}, streams.Place{}).Use()
			t.Cleanup(s.Close)
			a.reopen(func(o *manager.Opened) { o.Streams, o.Uses = s, u })
			arm(s)

			c, session := a.signIn(t, "alice", "")
			gate, release := newGate(t, a, gate.Options{}), make(chan struct{})
			defer close(release)
			var streams []<-chan error
			for range 5 {
				streams = append(streams, a.serveStream(t, gate, c, release))
			}
			// A past of notes that worked, so that no interruption is known.
			for range 36 {
				a.advance(15 * time.Second)
				u.Check(t.Context())
			}
			s.Check(true)
			for _, ended := range streams {
				if isCut(t, ended) {
					t.Fatal("cut before it was idle")
				}
			}
			tc.use(t, a, c, session)
			for range 8 {
				a.advance(15 * time.Second)
				if tc.name != "uses cannot be noted" {
					u.Check(t.Context())
				}
			}
			s.Check(true)
			for _, ended := range streams {
				cut := false
				if tc.live {
					cut = isCut(t, ended)
				} else {
					tries++
					storetest.WaitFor(t, "the stream is cut", func() bool { cut = cut || isCut(t, ended); return cut })
					if !cut {
						through++
					}
				}
				if cut == tc.live {
					t.Errorf("cut %v, session live %v", cut, tc.live)
				}
			}
		})
	}
	t.Logf("attack: streams of sessions that are idle: %d tries, %d got through", tries, through)
}

// Which idle_timeout counts for what is open is that of the configuration that let
// in the last request of the session.
func TestIdleStreamsOfTwoConfigurations(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		next time.Duration
		cut  bool
	}{"a longer one": {time.Hour, false}, "none": {0, false}, "a shorter one": {time.Minute, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newTestApp(t, idleAfter(10*time.Minute))
			s := a.withStreams(t)
			arm(s)
			c, _ := a.signIn(t, "alice", "")
			release := make(chan struct{})
			defer close(release)
			ended := a.serveStream(t, newGate(t, a, gate.Options{}), c, release)

			next := newTestApp(t, nil)
			next.Manager.IdleTimeout = test.next
			next.useClock(a.time)
			next.use(a.open())
			next.Manager.Format = a.Format
			serve(t, newGate(t, next, gate.Options{}), newRequest(t, http.MethodGet, "/", sessionCookieLine(c)), nil)
			a.advance(11 * time.Minute)
			s.Check(true)
			if test.cut {
				storetest.WaitFor(t, "the stream is cut", func() bool { return isCut(t, ended) })
			} else if isCut(t, ended) {
				t.Error("cut by the idle_timeout before")
			}
		})
	}
}
