//go:build !windows

package main

import "time"

// fullLength is the length that the other times are made for.
const fullLength = 30 * time.Minute

// plan holds the times of events.
type plan struct {
	// reload is the time between two reloads of a Caddy, redis that between two
	// outages of Redis, kill that between two kills, in the parts of the run with
	// kills.
	reload, redis, kill time.Duration
	// away is the length of an outage of Redis.
	away time.Duration
	// lifespan is how long a session lives.
	lifespan time.Duration
	// sample is the time between two samples of memory.
	sample time.Duration
	// hold is how long a stream is held open at most.
	hold time.Duration
	// killsUntil and killsFrom bound the part of the run without kills, so that
	// growth has time to show.
	killsUntil, killsFrom time.Duration
	// settled is how long after trouble a pending logout has to be done, and a
	// stream whose session has ended has to be closed.
	settled time.Duration
	// streamBound is how long a stream may go on after its session without trouble.
	streamBound time.Duration
}

// newPlan makes the plan of a run. A shorter run has the same events closer together.
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
	// lagBound is how long another server may serve an ended session: the lease of
	// the near cache. The server that ended it must refuse it at once.
	lagBound = time.Second
	// clockSlack is allowed around the end of a session: wall clocks are set.
	clockSlack = time.Second
	// judgeAtLeast is the shortest time that tells growth from a start.
	judgeAtLeast = 8 * time.Minute
)
