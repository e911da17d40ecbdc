// This file lifts blocks, for an operator who knows that it was no guessing.

package login

import "time"

// Lift forgets the failed tries at an account, those from an address, or, if both
// are given, what keeps this account out at this address; an empty one is not
// given. It returns how many blocks were in force. What was forgotten about an
// account that does not exist is as good as any other.
func (a *Attempts) Lift(account, address string) int {
	pair, person, from := a.names(account, address)
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	lifted := 0
	if account != "" {
		lifted += a.accounts.lift(person, a.limits.Account, now)
	}
	if address != "" {
		lifted += a.addresses.lift(from, a.limits.Address, now)
	}
	if account != "" && address != "" {
		return lifted + a.pairs.lift(pair, a.limits.Pair, now)
	}
	for n, element := range a.pairs.byName {
		found := element.Value.(*count) //nolint:forcetypeassert // nothing else is put in
		if account != "" && found.account == person || address != "" && found.address == from {
			lifted += a.pairs.lift(n, a.limits.Pair, now)
		}
	}
	return lifted
}

// lift forgets n, and returns 1 if it was blocked.
func (c *counts) lift(n name, limit Limit, now time.Time) int {
	blocked := c.blocked(n, limit, now) > 0
	c.forget(n)
	if blocked {
		return 1
	}
	return 0
}
