// This file ends the requests under way of sessions that nobody has used for
// idle_timeout. A request that lasts is a use when it begins, and none while it is
// open: what a server pushes, and a ping, say nothing of the person.

package caddylogout

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/session"
)

// idleSession is a session that seems to be idle, by the configuration that let in
// its last request.
type idleSession struct {
	key session.Key
	app *App
}

// used notes the request that a session was last used for, as far as this server
// knows. The lock of its stripe is held.
func (o *openSession) used(a *App, known *nearcache.Entry) {
	if a == nil || a.IdleTimeout <= 0 || known == nil {
		o.app, o.known = nil, nil
		return
	}
	o.app, o.known, o.idleAgain = a, known, time.Time{}
}

// seemsIdle reports whether the session is to be looked up for that.
func (o *openSession) seemsIdle() bool {
	if o.app == nil {
		return false
	}
	now := o.app.now()
	return !now.Before(o.idleAgain) && o.app.seemsIdle(o.known, now)
}

// cutIdle looks up what seems to be idle, since another server may know of a later
// use, and cuts what is. The judgement is the gate's own.
func (s *streams) cutIdle(seem []idleSession) {
	for from := 0; from < len(seem); from += streamsAtOnce {
		var wg sync.WaitGroup
		for _, session := range seem[from:min(from+streamsAtOnce, len(seem))] {
			wg.Go(func() { s.judgeIdle(session) })
		}
		wg.Wait()
	}
}

func (s *streams) judgeIdle(session idleSession) {
	a := session.app
	known, idle, err := s.askIdle(session)
	if err == nil && (known.Session == nil || idle) {
		s.cut(session.key, known.RevokedAt)
		return
	}
	stripe := &s.stripes[session.key[0]]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	open := stripe.sessions[session.key]
	if open == nil || open.app != a {
		return
	}
	// The store cannot be asked, or uses may have been missed: not at each tick.
	open.idleAgain = a.now().Add(min(time.Duration(a.IdleTimeout)/usesShare, maxUsesEvery))
	if err == nil && known.LastUsed.Load() > open.known.LastUsed.Load() {
		open.known = known
	}
}

// askIdle asks the newest store that answers.
func (s *streams) askIdle(sess idleSession) (known *nearcache.Entry, idle bool, err error) {
	err = session.ErrUnavailable
	for _, source := range s.toAsk() {
		ctx, cancel := context.WithTimeout(context.Background(), streamsTimeout)
		store := &opened{Store: source.store, uses: source.uses}
		if known, err = sess.app.read(ctx, store, sess.key); err == nil {
			idle = sess.app.idle(ctx, store, known, sess.app.now())
		}
		cancel()
		if err == nil {
			break
		}
	}
	return known, idle, err
}
