// This file bounds how often something is told that many requests meet: an outage
// is one event, however many people see it.

package caddylogout

import (
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// boundedLog decides which of many lines of a kind are written, and counts those
// that are not.
type boundedLog struct {
	limit *rate.Limiter

	mu      sync.Mutex
	leftOut int
}

func newBoundedLog(often rate.Limit, atOnce int) *boundedLog {
	return &boundedLog{limit: rate.NewLimiter(often, atOnce)}
}

// allow reports whether a line is written now, and how many were not before it.
func (b *boundedLog) allow(now time.Time) (leftOut int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.limit.AllowN(now, 1) {
		b.leftOut++
		return 0, false
	}
	leftOut, b.leftOut = b.leftOut, 0
	return leftOut, true
}

// outageEvery is how often an outage is told of while it lasts.
const outageEvery = time.Minute

// logOutage says that the store could not be asked: once, and once a minute. The
// circuit breaker has said that the server is away, and will say when it is back.
func (a *App) logOutage(err error) {
	if errors.Is(err, errNotAsked) {
		return
	}
	if leftOut, ok := a.outages.allow(a.now()); ok {
		a.logger.Error("session store unavailable", zap.Int("left_out", leftOut), zap.Error(err))
	}
}
