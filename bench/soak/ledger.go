//go:build !windows

// This file is the ledger: what is known of every session, and what an answer
// about it means.

package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

// state is what is known of a session.
type state int

const (
	// alive: its sign-in was acknowledged, and nobody has tried to end it.
	alive state = iota
	// unclear: somebody has tried to end it, and has no answer. Nothing follows
	// from what is answered about it; it is tried again.
	unclear
	// pending: a server has noted its logout and answered 202.
	pending
	// ended: its logout was acknowledged.
	ended
)

// standing is a state, since when, and who acknowledged it.
type standing struct {
	state state
	since time.Time
	by    *node
}

// session is one that somebody has signed in for.
type session struct {
	identity, credential string
	// It expires between these two.
	expiresFrom, expiresTo time.Time
	// held is for a stream, which will end it; nobody else does.
	held bool

	mu sync.Mutex
	standing
	touched int // how often somebody has tried to end it
}

func (s *session) stands() standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing
}

// try notes that somebody tries to end it, and returns how it stood, and a
// function that says whether nobody else has tried since.
func (s *session) try() (before standing, alone func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched++
	before, mine := s.standing, s.touched
	s.move(unclear, nil)
	return before, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.touched == mine
	}
}

// become notes what came of a try.
func (s *session) become(now state, by *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.move(now, by)
}

// move notes a state. What is ended stays ended, and what is pending only ends.
func (s *session) move(now state, by *node) {
	if s.state == ended || (s.state == pending && now != ended) {
		return
	}
	s.standing = standing{state: now, since: time.Now(), by: by}
}

// verdict is what an answer means.
type verdict int

const (
	right verdict = iota
	// nothing can be said.
	open
	// lost: a session that is alive was refused.
	lost
	// accepted: a session that has ended was accepted.
	accepted
	// away: the answer was 503.
	away
	// strange: no such answer was to be expected.
	strange
)

// question is a check of a session on a server, and its circumstances.
type question struct {
	before, after standing
	on            *node
	sent          time.Time
	answered      time.Time
	// quiet is how long there had been no trouble when it was sent.
	quiet time.Duration
	// settled is how long after trouble a pending logout has to be done.
	settled time.Duration
	status  int
}

// judge says what the answer to a question about s means.
func (s *session) judge(q question) verdict {
	switch q.status {
	case 503:
		return away
	case 200:
		switch {
		case q.sent.After(s.expiresTo.Add(clockSlack)):
			return accepted
		case q.before.state == ended && q.on == q.before.by,
			q.before.state == pending && q.on == q.before.by:
			return accepted
		case q.before.state == ended && q.sent.Sub(q.before.since) > lagBound:
			return accepted
		case q.before.state == pending && min(q.quiet, q.sent.Sub(q.before.since)) > q.settled:
			return accepted
		case q.before.state == alive && q.after.state == alive:
			return right
		}
		return open
	case 401:
		switch {
		case !q.answered.Before(s.expiresFrom.Add(-clockSlack)):
			return open
		case q.after.state == alive:
			return lost
		case q.before.state == ended || q.before.state == pending:
			return right
		}
		return open
	case 499:
		// It was being served when its session ended.
		if q.after.state != alive || !q.answered.Before(s.expiresFrom.Add(-clockSlack)) {
			return open
		}
	}
	return strange
}

// group is what shares one store: its servers, and the sessions in it.
type group struct {
	name  string
	nodes []*node

	mu   sync.Mutex
	live []*session
	dead []*session // the last ones, a ring
	next int
	// ending says of which person all sessions are being ended, and ended when
	// they were, last.
	ending map[string]int
	ended  map[string]time.Time

	troubled int
	calm     time.Time
}

// keepDead is how many sessions that are over are remembered.
const keepDead = 2000

func newGroup(name string) *group {
	return &group{name: name, ending: make(map[string]int), ended: make(map[string]time.Time), calm: time.Now()}
}

// trouble notes that the store or a server is away, until the function that it
// returns is called.
func (g *group) trouble() (over func()) {
	g.mu.Lock()
	g.troubled++
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		g.troubled--
		g.calm = time.Now()
		g.mu.Unlock()
	}
}

// quiet is how long there has been no trouble.
func (g *group) quiet() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.troubled > 0 {
		return 0
	}
	return time.Since(g.calm)
}

// add notes a session whose sign-in began at a time and is now acknowledged.
// While all sessions of its person were being ended, nobody knows whether it is
// one of them.
func (g *group) add(s *session, began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending[s.identity] > 0 || g.ended[s.identity].After(began) {
		s.try()
	}
	g.live = append(g.live, s)
}

// pick takes a session out of the living by chance, one of the kind that is
// asked for. It moves on those that it meets and that are over.
func (g *group) pick(want func(*session, standing) bool) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range 20 {
		if len(g.live) == 0 {
			return nil
		}
		i := rand.IntN(len(g.live))
		s := g.live[i]
		stands := s.stands()
		over := time.Now().After(s.expiresFrom)
		if over || stands.state == ended || stands.state == pending {
			g.live[i] = g.live[len(g.live)-1]
			g.live = g.live[:len(g.live)-1]
			if stands.state == pending || time.Now().Before(s.expiresTo.Add(time.Minute)) {
				g.bury(s)
			}
			continue
		}
		if want(s, stands) {
			return s
		}
	}
	return nil
}

// bury notes one that is over.
func (g *group) bury(s *session) {
	if len(g.dead) < keepDead {
		g.dead = append(g.dead, s)
		return
	}
	g.dead[g.next] = s
	g.next = (g.next + 1) % keepDead
}

// pickDead picks one that is over.
func (g *group) pickDead() *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.dead) == 0 {
		return nil
	}
	// Rather those that ended a moment ago.
	if n := len(g.dead); rand.IntN(2) == 0 {
		newest := n - 1
		if n == keepDead {
			newest = (g.next + keepDead - 1) % keepDead
		}
		return g.dead[(newest-rand.IntN(min(n, 20))+n)%n]
	}
	return g.dead[rand.IntN(len(g.dead))]
}

// all returns every session that is remembered.
func (g *group) all() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(append([]*session(nil), g.live...), g.dead...)
}

// endAll notes that all sessions of a person are about to be ended, except one
// that may be given. done is to be called with what it came to.
func (g *group) endAll(identity string, except *session) (done func(now state, by *node)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending[identity]++
	var of []*session
	for _, s := range g.live {
		if s.identity == identity && s != except {
			s.try()
			of = append(of, s)
		}
	}
	return func(now state, by *node) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ending[identity]--
		g.ended[identity] = time.Now()
		for _, s := range of {
			s.become(now, by)
		}
	}
}
