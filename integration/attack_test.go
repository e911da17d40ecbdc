package integration_test

import "testing"

// attacked reports what an attack came to, in a line that `make attack` shows, and
// fails the test if anything got through. Tests of attacks are called TestAttack….
func attacked(t *testing.T, what string, tries, through int) {
	t.Helper()
	t.Logf("attack: %s: %d tries, %d got through", what, tries, through)
	if tries == 0 {
		t.Errorf("%s: nothing was tried", what)
	}
	if through > 0 {
		t.Errorf("%s: %d of %d got through", what, through, tries)
	}
}
