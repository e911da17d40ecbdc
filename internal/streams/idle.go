package streams

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/session"
)

// A session that seems to be idle and is not is looked up again after this part of
// its idle timeout, and at least so often.
const (
	idleChecks   = 20
	maxIdlePause = 15 * time.Second
)

// idleSession is a session that seems to be idle, by the configuration that let in
// its last request.
type idleSession struct {
	key session.Key
	by  Judge
}

// Judge is the configuration that let a request in.
type Judge interface {
	// IdleAfter is how long a session lives without a use; 0: for ever.
	IdleAfter() time.Duration
	// SeemsIdle reports whether a session is idle as far as this server knows.
	SeemsIdle(known *nearcache.Entry, now time.Time) bool
	// Now is the time by its clock.
	Now() time.Time
}

// used notes the request that a session was last used for, as far as this server
// knows. The lock of its stripe is held.
func (o *openSession) used(by Judge, known *nearcache.Entry) {
	if by == nil || by.IdleAfter() <= 0 || known == nil {
		o.by, o.known = nil, nil
		return
	}
	o.by, o.known, o.idleAgain = by, known, time.Time{}
}

// seemsIdle reports whether the session is to be looked up for that.
func (o *openSession) seemsIdle() bool {
	if o.by == nil {
		return false
	}
	now := o.by.Now()
	return !now.Before(o.idleAgain) && o.by.SeemsIdle(o.known, now)
}

// cutIdle looks up the sessions that seem to be idle, since another server may know
// of a later use, and cuts those that are. The beginning of a request is a use of its
// session. An open request is not: data that an app pushes, and a ping, say nothing
// of the person.
func (s *Streams) cutIdle(seem []idleSession) {
	for from := 0; from < len(seem); from += streamsAtOnce {
		var wg sync.WaitGroup
		for _, session := range seem[from:min(from+streamsAtOnce, len(seem))] {
			wg.Go(func() { s.judgeIdle(session) })
		}
		wg.Wait()
	}
}

func (s *Streams) judgeIdle(session idleSession) {
	known, idle, err := s.askIdle(session)
	if err == nil && (known.Session == nil || idle) {
		s.Cut(session.key, known.RevokedAt)
		return
	}
	stripe := &s.Stripes[session.key[0]]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	open := stripe.Sessions[session.key]
	if open == nil || open.by != session.by {
		return
	}
	// The store is unavailable, or uses may have been missed: not at each tick.
	open.idleAgain = session.by.Now().Add(min(session.by.IdleAfter()/idleChecks, maxIdlePause))
	if err == nil && known.LastUsed.Load() > open.known.LastUsed.Load() {
		open.known = known
	}
}

// askIdle queries the newest store that answers.
func (s *Streams) askIdle(sess idleSession) (known *nearcache.Entry, idle bool, err error) {
	err = session.ErrUnavailable
	for _, source := range s.ToAsk() {
		ctx, cancel := context.WithTimeout(context.Background(), streamsTimeout)
		known, idle, err = source.sessions.Idle(ctx, sess.key, sess.by)
		cancel()
		if err == nil {
			break
		}
	}
	return known, idle, err
}
