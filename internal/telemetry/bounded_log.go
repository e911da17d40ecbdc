package telemetry

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// BoundedLog decides which of many lines of a kind are written, and counts those
// that are not.
type BoundedLog struct {
	limit *rate.Limiter

	mu      sync.Mutex
	leftOut int
}

// NewBoundedLog allows so many lines a second, and so many at once.
func NewBoundedLog(often rate.Limit, atOnce int) *BoundedLog {
	return &BoundedLog{limit: rate.NewLimiter(often, atOnce)}
}

// Allow reports whether a line is written now, and how many were not before it.
func (b *BoundedLog) Allow(now time.Time) (leftOut int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.limit.AllowN(now, 1) {
		b.leftOut++
		return 0, false
	}
	leftOut, b.leftOut = b.leftOut, 0
	return leftOut, true
}

// OutageEvery is how often an outage is logged while it lasts.
const OutageEvery = time.Minute
