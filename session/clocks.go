package session

import "time"

// ClockTolerance is how far the clocks of two servers may be apart. Whatever one
// server concludes from a time that another one wrote leaves so much room: it
// keeps an entry of the index that has ended by its own clock, and has a
// tombstone outlive the session by other servers' clocks too.
const ClockTolerance = 5 * time.Minute

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Within reports whether now is before until by every reading that both have.
// The monotonic clock stands still while the machine is suspended, and the wall
// clock can be set back: neither may make an end later.
func Within(now, until time.Time) bool {
	return now.Before(until) && now.UnixNano() < until.UnixNano()
}
