package login

import "testing"

func TestLift(t *testing.T) {
	const here, there = "192.0.2.1", "192.0.2.2"
	// blocked returns the blocked pairs of two accounts and two addresses.
	blocked := func(a *Attempts) string {
		out := ""
		for _, account := range []string{"alice", "bob"} {
			for _, address := range []string{here, there} {
				if _, ok := a.Begin(account, address); ok {
					a.Withdrawn(account, address)
					out += "-"
				} else {
					out += "x"
				}
			}
		}
		return out
	}
	guess := func(a *Attempts, account, address string, tries int) {
		for range tries {
			a.Begin(account, address)
		}
	}
	for _, tt := range []struct {
		name             string
		guess            func(a *Attempts)
		before           string
		account, address string
		lifted           int
		after            string
	}{
		{
			"nothing is blocked", func(a *Attempts) { guess(a, "alice", here, 2) }, "----", "alice", here, 0, "----",
		},
		{
			"a pair, by account", func(a *Attempts) { guess(a, "alice", here, 3) }, "x---", "alice", "", 1, "----",
		},
		{
			"a pair, by address", func(a *Attempts) { guess(a, "alice", here, 3) }, "x---", "", here, 1, "----",
		},
		{
			"a pair, by both", func(a *Attempts) { guess(a, "alice", here, 3) }, "x---", "alice", here, 1, "----",
		},
		{
			"a pair, by another account", func(a *Attempts) { guess(a, "alice", here, 3) }, "x---", "bob", "", 0, "x---",
		},
		{
			"a pair, by another address", func(a *Attempts) { guess(a, "alice", here, 3) }, "x---", "alice", there, 0, "x---",
		},
		{
			"one pair of two", func(a *Attempts) { guess(a, "alice", here, 3); guess(a, "bob", there, 3) }, "x--x", "alice", "", 1, "---x",
		},
		{
			"an account, and its pairs", func(a *Attempts) { guess(a, "alice", here, 3); guess(a, "alice", there, 3) }, "xx--", "alice", "", 3, "----",
		},
		{
			"an account is not lifted by an address alone", func(a *Attempts) { guess(a, "alice", here, 3); guess(a, "alice", there, 3) },
			"xx--", "", here, 1, "xx--",
		},
		{
			"an address, and its pairs", func(a *Attempts) { guess(a, "alice", here, 3); guess(a, "bob", here, 3) }, "x-x-", "", here, 2, "----",
		},
		{
			"the network of an address of IPv6", func(a *Attempts) { guess(a, "alice", "2001:db8::1", 3); guess(a, "bob", "2001:db8::1", 3) },
			"----", "", "2001:db8::ffff", 2, "----",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAttempts(small, newClock().now)
			tt.guess(a)
			if got := blocked(a); got != tt.before {
				t.Fatalf("blocked %s, want %s", got, tt.before)
			}
			if got := a.Lift(tt.account, tt.address); got != tt.lifted {
				t.Errorf("lifted %d, want %d", got, tt.lifted)
			}
			if got := blocked(a); got != tt.after {
				t.Errorf("after it blocked %s, want %s", got, tt.after)
			}
		})
	}
}
