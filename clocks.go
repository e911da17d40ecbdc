// This file holds how far the clocks of servers that share a store may differ.

package caddylogout

import "time"

// clockTolerance is how far the clocks of two servers may be apart. Whatever one
// server concludes from a time that another one wrote leaves so much room: it
// keeps an entry of the index that has ended by its own clock, and has a
// tombstone outlive the session by other servers' clocks too.
const clockTolerance = 5 * time.Minute
