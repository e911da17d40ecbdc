//go:build !windows

// This file holds what happens when: a run of half an hour, and the same closer
// together for a shorter one.

package main

import "time"

// fullLength is the length that the other times are made for.
const fullLength = 30 * time.Minute

// plan is when things happen.
type plan struct {
	// reload is how often each Caddy is reloaded, redis how often Redis is taken
	// away, kill how often a Caddy is killed while Caddys are killed.
	reload, redis, kill time.Duration
	// away is how long Redis stays away.
	away time.Duration
	// lifespan is how long a session lives.
	lifespan time.Duration
	// sample is how often memory is looked at.
	sample time.Duration
	// hold is how long a stream is held open at most.
	hold time.Duration
	// killsUntil and killsFrom bound the part of the run in which no Caddy is
	// killed, so that what grows has time to show.
	killsUntil, killsFrom time.Duration
	// settled is how long after trouble a pending logout has to be done, and a
	// stream whose session has ended has to be closed.
	settled time.Duration
	// streamBound is how long a stream may go on after its session where there
	// is no trouble.
	streamBound time.Duration
}

// newPlan makes the plan of a run.
func newPlan(last time.Duration) plan {
	scaled := func(full, least time.Duration) time.Duration {
		return max(least, time.Duration(float64(full)*min(1, float64(last)/float64(fullLength))))
	}
	return plan{
		reload:     scaled(time.Minute, 4*time.Second),
		redis:      scaled(3*time.Minute, 5*time.Second),
		kill:       scaled(2*time.Minute, 5*time.Second),
		away:       scaled(4*time.Second, 1500*time.Millisecond),
		lifespan:   scaled(5*time.Minute, 8*time.Second),
		sample:     scaled(10*time.Second, 2*time.Second),
		hold:       scaled(40*time.Second, 4*time.Second),
		killsUntil: last * 3 / 10,
		killsFrom:  last * 19 / 20,

		settled:     15 * time.Second,
		streamBound: 5 * time.Second,
	}
}

const (
	// lagBound is how long another server may serve a session that was ended:
	// the lease of the near cache. The one that ended it has no such time.
	lagBound = time.Second
	// clockSlack is allowed around the end of a session: wall clocks are set.
	clockSlack = time.Second
	// judgeAtLeast is the shortest time in which growth can be told from a start.
	judgeAtLeast = 8 * time.Minute
)
