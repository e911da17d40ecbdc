//go:build !windows

package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

// state is what the ledger knows of a session.
type state int

const (
	// alive: its sign-in was acknowledged, and no client has tried to end it.
	alive state = iota
	// unclear: a client has tried to end it, and has no response. Any response about
	// it is right; a client tries again.
	unclear
	// pending: a server has noted its logout and answered 202.
	pending
	// ended: its logout was acknowledged.
	ended
)

// standing is a state, since when, and the server that acknowledged it.
type standing struct {
	state state
	since time.Time
	by    *node
}

// session is one that a person has signed in for.
type session struct {
	identity, credential string
	// It expires between these two.
	expiresFrom, expiresTo time.Time
	// held is for a stream, which will end it; no other client does.
	held bool

	mu sync.Mutex
	standing
	touched int // how often clients have tried to end it
}

func (s *session) stands() standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing
}

// try notes that a client tries to end it. It returns the state before, and a
// function that reports whether no other client has tried since.
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

// become notes the outcome of an attempt.
func (s *session) become(now state, by *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.move(now, by)
}

// move notes a state. An ended session stays ended, and a pending one only ends.
func (s *session) move(now state, by *node) {
	if s.state == ended || (s.state == pending && now != ended) {
		return
	}
	s.standing = standing{state: now, since: time.Now(), by: by}
}

// verdict is the meaning of a response.
type verdict int

const (
	right verdict = iota
	// open: nothing follows from the response.
	open
	// lost: a session that is alive was refused.
	lost
	// accepted: a session that has ended was accepted.
	accepted
	// away: the response was 503.
	away
	// strange: no server should send such a response.
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

// judge returns the meaning of the response to a question about s.
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
		// Its session ended during the request.
		if q.after.state != alive || !q.answered.Before(s.expiresFrom.Add(-clockSlack)) {
			return open
		}
	}
	return strange
}

// group is one store with its servers and sessions.
type group struct {
	name  string
	nodes []*node

	mu   sync.Mutex
	live []*session
	dead []*session // the last ones, a ring
	next int
	// ending counts the requests that end all sessions of a person now, and ended is
	// the time of the last one.
	ending map[string]int
	ended  map[string]time.Time

	troubled int
	calm     time.Time
}

// keepDead is how many ended or expired sessions the ledger keeps.
const keepDead = 2000

func newGroup(name string) *group {
	return &group{name: name, ending: make(map[string]int), ended: make(map[string]time.Time), calm: time.Now()}
}

// trouble notes that the store or a server is unavailable, until the caller calls the
// function that it returns.
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

// add notes a session whose sign-in began at a time and is now acknowledged. If a
// request ended all sessions of its person meanwhile, it may be one of them.
func (g *group) add(s *session, began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending[s.identity] > 0 || g.ended[s.identity].After(began) {
		s.try()
	}
	g.live = append(g.live, s)
}

// pick returns a random live session of the wanted kind. It moves the sessions that
// it finds ended or expired.
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

// bury notes an ended or expired session.
func (g *group) bury(s *session) {
	if len(g.dead) < keepDead {
		g.dead = append(g.dead, s)
		return
	}
	g.dead[g.next] = s
	g.next = (g.next + 1) % keepDead
}

// pickDead picks an ended or expired session.
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

// all returns every session of the ledger.
func (g *group) all() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(append([]*session(nil), g.live...), g.dead...)
}

// endAll notes that a client is about to end all sessions of a person, perhaps except
// one. The caller calls done with the outcome.
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
