package telemetry

import (
	"sync/atomic"
	"time"
)

// StreamCut is the requests of one session that were cancelled together. The
// time runs until the last of them has really ended, when its handler has
// returned.
type StreamCut struct {
	// RevokedAt is zero if the session expired, or was deleted without a
	// tombstone, and 1970 if the tombstone says no time.
	RevokedAt time.Time
	left      atomic.Int64
}

// Add counts one request in, while none can end.
func (c *StreamCut) Add() *StreamCut {
	c.left.Add(1)
	Meters.streamsCut.Inc()
	return c
}

// Ended counts one request out, and records how long the last one went on. A
// nil cut is that of a request that ended by itself.
func (c *StreamCut) Ended(now func() time.Time) {
	if took, last := c.Last(now); last {
		Meters.cutSeconds.Observe(took.Seconds())
	}
}

// Last reports whether this was the last request of a session that was revoked,
// and how long ago. The revocation may be by another server's clock, which may be
// ahead of ours.
func (c *StreamCut) Last(now func() time.Time) (took time.Duration, last bool) {
	if c == nil || c.left.Add(-1) > 0 || c.RevokedAt.Unix() <= 0 {
		return 0, false
	}
	return max(0, now().Sub(c.RevokedAt)), true
}
