//go:build !windows

package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// holders is how many people hold a stream open at a time, for each group.
const holders = 8

// hold opens stream after stream until during is done. It still watches the open ones
// to their end.
func (s *soak) hold(ctx, during context.Context, g *group, identity string) {
	for during.Err() == nil {
		if !s.holdOne(ctx, during, g, identity) {
			wait(during, time.Second)
		}
	}
}

// holdOne opens a stream, holds it for a while, ends its session somewhere, and
// waits for its end. It reports whether there was a stream.
func (s *soak) holdOne(ctx, during context.Context, g *group, identity string) bool {
	one := s.signIn(ctx, g, identity, true)
	if one == nil {
		return false
	}
	defer s.endHeld(ctx, g, one)
	n := g.any()
	life := n.life.Load()
	stream, end, err := s.openStream(ctx, n, one)
	if err != nil {
		return false
	}
	defer end()
	s.counts.streams.Add(1)
	select {
	case <-during.Done():
	case <-time.After(s.plan.hold/8 + rand.N(s.plan.hold*7/8)):
	case <-stream:
		if n.life.Load() == life && ctx.Err() == nil && time.Now().Before(one.expiresFrom.Add(-clockSlack)) {
			s.complain(&s.counts.cutAlive, "a stream on %s ended although its session lives; quiet for %v", n.name, g.quiet().Round(time.Millisecond))
		}
		return true
	}
	s.signOut(ctx, g, one)
	if stands := one.stands(); stands.state == ended || stands.state == pending {
		s.awaitCut(ctx, g, n, one, stream)
	}
	return true
}

// endHeld releases a held session, so that other clients can end it.
func (s *soak) endHeld(ctx context.Context, g *group, one *session) {
	for range 3 {
		if state := one.stands().state; state == ended || state == pending || ctx.Err() != nil {
			return
		}
		s.signOut(ctx, g, one)
	}
}

// openStream opens a stream of events; the channel is closed when it has ended.
func (s *soak) openStream(ctx context.Context, n *node, one *session) (ended <-chan struct{}, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL("/app/events"), nil)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	r.Header.Set("Cookie", rig.Cookie+"="+one.credential)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := s.streaming.RoundTrip(r)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		cancel()
		return nil, nil, errors.New("no stream")
	}
	done := make(chan struct{})
	s.wg.Go(func() {
		defer close(done)
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
	})
	return done, func() { cancel(); <-done }, nil
}

// awaitCut waits for the end of a stream whose session has ended.
func (s *soak) awaitCut(ctx context.Context, g *group, n *node, one *session, stream <-chan struct{}) {
	stands := one.stands()
	bound := s.plan.streamBound
	if stands.state == pending && stands.by != n {
		bound = s.plan.settled // a server learns of the end when the store is back
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-stream:
			if lag := time.Since(stands.since); g.quiet() > lag+s.plan.settled && stands.state == ended {
				s.lags.add(lag, stands.by == n)
			}
			s.counts.streamsCut.Add(1)
			return
		case <-time.After(50 * time.Millisecond):
		}
		if min(g.quiet(), time.Since(stands.since)) > bound {
			s.complain(&s.counts.accepted, "a stream on %s goes on %v after its session, in state %d",
				n.name, time.Since(stands.since).Round(time.Millisecond), stands.state)
			return
		}
	}
}

// lags are the times from a logout to the end of a stream, where there was no
// trouble.
type lags struct {
	mu          sync.Mutex
	here, there []time.Duration
}

func (l *lags) add(lag time.Duration, here bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if here {
		l.here = append(l.here, lag)
		return
	}
	l.there = append(l.there, lag)
}

// summary returns how many there are, the median and the longest.
func summary(of []time.Duration) (n int, median, longest time.Duration) {
	if len(of) == 0 {
		return 0, 0, 0
	}
	slices.Sort(of)
	return len(of), of[len(of)/2], of[len(of)-1]
}
