package manager

import (
	"context"
	"slices"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
)

// interruption is a time in which uses could not be noted.
type interruption struct{ from, until time.Time }

// remember adds an interruption to the past. What touches the one before is one
// with it. The lock is held.
func (u *Uses) remember(i interruption) {
	for n, have := range u.past {
		if !i.from.After(have.until.Add(u.interval())) && !have.from.After(i.until.Add(u.interval())) {
			if have.from.Before(i.from) {
				i.from = have.from
			}
			u.past[n] = interruption{i.from, session.Later(i.until, have.until)}
			return
		}
	}
	u.past = append(u.past, i)
	slices.SortFunc(u.past, func(a, b interruption) int { return a.from.Compare(b.from) })
	if len(u.past) > maxInterruptions {
		u.past[1].from = u.past[0].from
		u.past = slices.Delete(u.past, 0, 1)
	}
}

// mayHaveMissed reports whether a session that seems to be idle since idleAt may
// have been used all the same. If it says that it was not, notes are
// proven to work now, and no interruption is known that the session could have been used
// in.
func (u *Uses) mayHaveMissed(ctx context.Context, idleAt, now time.Time, idleTimeout time.Duration) bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	// A session that was idle when notes last worked is idle, whatever came then:
	// a credential that was found long after its use costs the store nothing.
	sure := !idleAt.After(u.worked) && !idleAt.After(now.Add(-3*u.interval()))
	u.mu.Unlock()
	if !sure {
		u.Check(ctx)
	}
	return u.excuses(idleAt, now, idleTimeout)
}

// excuses reports the same by what is known without asking. An interruption
// excuses who was not idle when it began, until one idle_timeout after its end;
// interruptions that follow each other within that time are one.
func (u *Uses) excuses(idleAt, now time.Time, idleTimeout time.Duration) bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	next := now
	if u.failing {
		if idleAt.After(u.worked) {
			return true
		}
		next = u.worked
	}
	for _, i := range slices.Backward(u.past) {
		if !i.until.Add(idleTimeout).After(next) {
			break
		}
		if idleAt.After(i.from) {
			return true
		}
		next = i.from
	}
	return false
}
