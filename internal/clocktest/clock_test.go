package clocktest

import (
	"testing"
	"time"
)

// The test of the test: its clocks are what it says.
func TestSuspendedClock(t *testing.T) {
	now := time.Now()
	later := Suspended(now, time.Hour)
	if later.Sub(now) != 0 {
		t.Errorf("%v passed by the monotonic clock, want none", later.Sub(now))
	}
	if wall := later.Round(0).Sub(now.Round(0)); wall != time.Hour {
		t.Errorf("%v passed by the wall clock, want an hour", wall)
	}
}
