package login

import "time"

// Lift resets the counts of an account, those of an address, or, if both are
// given, the count of this account from this address; an empty one is not
// given. It returns how many blocks were in force. An account that does not
// exist has counts too.
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
