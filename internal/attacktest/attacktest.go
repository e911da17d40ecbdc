// Package attacktest counts the attempts of attacks in tests, and their successes.
// Their names begin with TestAttack, by which `make attack` finds them.
package attacktest

import "testing"

// Report tells how often an attack was tried and got through, in a line that `make
// attack` shows, and fails the test if it did, or if nothing was tried.
func Report(tb testing.TB, what string, tries, through int) {
	tb.Helper()
	tb.Logf("attack: %s: %d tries, %d got through", what, tries, through)
	if tries == 0 {
		tb.Errorf("%s: nothing was tried", what)
	}
	if through > 0 {
		tb.Errorf("%s: %d of %d got through", what, through, tries)
	}
}
