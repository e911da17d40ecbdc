// Package clocktest makes times of a machine whose clocks do not go on alike: one that was
// suspended, and one whose clock was set.
package clocktest

import (
	"time"
	"unsafe"
)

// Suspended returns now as it is read after the machine was suspended for d: the
// wall clock went on, and the monotonic one stood still. Package time has no way
// to make such a time, which only a kernel does.
func Suspended(now time.Time, d time.Duration) time.Time {
	type layout struct {
		wall uint64
		ext  int64 // the monotonic reading
		loc  *time.Location
	}
	later := now.Add(d)
	(*layout)(unsafe.Pointer(&later)).ext -= int64(d)
	return later
}

// SetBack returns now as it is read after the wall clock was set back by d.
func SetBack(now time.Time, d time.Duration) time.Time { return Suspended(now, -d) }

// Clock is a clock with both readings, which a test sets.
type Clock struct{ Time time.Time }

// Now returns the time that was set.
func (c *Clock) Now() time.Time { return c.Time }
