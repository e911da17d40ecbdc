// This file gives back what a former configuration used: late, as requests of
// that configuration are still being served, but before the process ends.

package caddylogout

import (
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// storeLinger is how long what the new configuration no longer uses stays open.
// Caddy cleans up while requests of the old configuration are still being served;
// they find their store open.
const storeLinger = time.Minute

// linger holds what is to be given back in this process.
var linger = lingering{exiting: caddy.Exiting}

// lingering gives back later, or now. When a process ends, Caddy waits for the
// requests, or for the end of its grace_period, before it cleans up: then nothing
// has to be waited for, and nothing may be left open.
type lingering struct {
	exiting func() bool

	mu      sync.Mutex
	waiting []*farewell
}

// farewell is one thing to be given back, once.
type farewell struct {
	giveBack func()
	timer    *time.Timer
}

// later calls giveBack after storeLinger. When the process is exiting, it calls
// it now, after all that waits.
func (l *lingering) later(giveBack func()) {
	f := &farewell{giveBack: sync.OnceFunc(giveBack)}
	l.mu.Lock()
	l.waiting = append(l.waiting, f)
	f.timer = time.AfterFunc(storeLinger, func() {
		f.giveBack()
		l.forget(f)
	})
	l.mu.Unlock()
	if l.exiting() {
		l.now()
	}
}

// hold keeps what is given back by release, or when the process ends.
func (l *lingering) hold(giveBack func()) *farewell {
	f := &farewell{giveBack: sync.OnceFunc(giveBack)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, f)
	return f
}

// release gives back what was held, if there is anything, and does not wait for
// that.
func (l *lingering) release(f *farewell) {
	if f == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.timer = time.AfterFunc(0, func() {
		f.giveBack()
		l.forget(f)
	})
}

// now gives back all that waits, in the order in which it began to, and returns
// when that is done.
func (l *lingering) now() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.mu.Unlock()
			return
		}
		f := l.waiting[0]
		if f.timer != nil { // it is not held
			f.timer.Stop()
		}
		l.mu.Unlock()
		f.giveBack() // waits, if the timer is at it
		l.forget(f)
	}
}

func (l *lingering) forget(f *farewell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(have *farewell) bool { return have == f })
}
