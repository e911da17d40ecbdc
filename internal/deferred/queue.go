// Package deferred closes late what a former configuration used: Caddy may still be
// serving its requests. It closes everything before the process ends.
package deferred

import (
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Delay is how long what a new configuration no longer uses stays open. Caddy cleans
// up while requests of the old configuration are still being served: they find their
// store open.
const Delay = time.Minute

// Closes are the deferred closes of this process.
var Closes = Queue{Exiting: caddy.Exiting}

// Queue closes later, or now. When a process ends, Caddy waits for the requests,
// or for the end of its grace_period, before it cleans up: then nothing has to be
// waited for, and nothing may be left open.
type Queue struct {
	Exiting func() bool

	mu      sync.Mutex
	waiting []*Close
}

// Close is one thing to be closed, once.
type Close struct {
	close func()
	timer *time.Timer // nil: it is held
}

// Later calls end after Delay. When the process is exiting, it calls it now,
// after all that waits.
func (q *Queue) Later(end func()) {
	p := &Close{close: sync.OnceFunc(end)}
	q.mu.Lock()
	q.waiting = append(q.waiting, p)
	p.timer = time.AfterFunc(Delay, func() { q.do(p) })
	q.mu.Unlock()
	if q.Exiting() {
		q.Flush()
	}
}

// Hold keeps what is closed by Release, or when the process ends.
func (q *Queue) Hold(end func()) *Close {
	p := &Close{close: sync.OnceFunc(end)}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, p)
	return p
}

// Release closes what was held, if there is anything, and does not wait for that.
func (q *Queue) Release(p *Close) {
	if p == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	p.timer = time.AfterFunc(0, func() { q.do(p) })
}

// Flush closes all that waits, in the order in which it began to, and returns when
// that is done.
func (q *Queue) Flush() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.mu.Unlock()
			return
		}
		p := q.waiting[0]
		if p.timer != nil {
			p.timer.Stop()
		}
		q.mu.Unlock()
		q.do(p) // waits, if the timer is at it
	}
}

// Expire ends every delay now. What is held stays.
func (q *Queue) Expire() {
	q.mu.Lock()
	waiting := slices.Clone(q.waiting)
	q.mu.Unlock()
	for _, p := range waiting {
		if p.timer != nil && p.timer.Stop() {
			q.do(p)
		}
	}
}

// Waiting returns how many things are still to be closed.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

func (q *Queue) do(p *Close) {
	p.close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(have *Close) bool { return have == p })
}
