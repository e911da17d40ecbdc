package login

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// Limit is how many failed attempts are allowed in a window of time. The window
// begins with the first of them; when it ends, the count is zero again.
type Limit struct {
	Tries  int
	Window time.Duration
}

// Limits are those of [Attempts].
type Limits struct {
	// Pair limits the attempts at one account from one address. It stops an
	// attacker who guesses, and blocks no other person.
	Pair Limit
	// Account limits the attempts at one account from all addresses
	// together. It is higher: it is against many machines that guess one
	// password together. While it holds it blocks the owner too, unless
	// they come from an address from which they have signed in before.
	Account Limit
	// Address limits the attempts from one address at all accounts
	// together: it stops an attacker who tries one password on every name.
	Address Limit
}

// DefaultLimits are 10 attempts in 15 minutes for a pair of account and
// address, 100 in 15 minutes for an account, 20 in 5 minutes for an address.
var DefaultLimits = Limits{
	Pair:    Limit{Tries: 10, Window: 15 * time.Minute},
	Account: Limit{Tries: 100, Window: 15 * time.Minute},
	Address: Limit{Tries: 20, Window: 5 * time.Minute},
}

// Bounds on memory: 32 Ki counts of each kind take about 8 MiB each at most.
const (
	maxCounts = 1 << 15
	// maxKnown bounds the addresses that are remembered as the owner's. Only a
	// right password adds one, so guessing cannot push them out.
	maxKnown = 1 << 14
)

// Attempts counts failed attempts to sign in, by account and by client address.
// It is bounded in memory, keeps no typed name (people type passwords there),
// and is safe for concurrent use. The counts are of one process.
type Attempts struct {
	limits Limits
	now    func() time.Time
	salt   string

	mu        sync.Mutex
	pairs     *counts
	accounts  *counts
	addresses *counts
	known     *counts
}

// NewAttempts returns an empty count. A nil now is [time.Now].
func NewAttempts(limits Limits, now func() time.Time) *Attempts {
	if now == nil {
		now = time.Now
	}
	return &Attempts{
		limits: limits, now: now, salt: rand.Text(),
		pairs: newCounts(maxCounts), accounts: newCounts(maxCounts), addresses: newCounts(maxCounts),
		known: newCounts(maxKnown),
	}
}

// Begin counts an attempt at account from address as failed, before its result
// is known: concurrent attempts cannot exceed the limit together. If one of the
// limits is reached, the attempt is refused and not counted, and wait is the
// time until the next one is allowed. An account that does not exist is counted
// like one that does. After the right password, call [Attempts.Succeeded]; if
// no password was compared, [Attempts.Withdrawn].
func (a *Attempts) Begin(account, address string) (wait time.Duration, ok bool) {
	pair, person, from := a.names(account, address)
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()

	wait = max(
		a.pairs.blocked(pair, a.limits.Pair, now),
		a.addresses.blocked(from, a.limits.Address, now),
	)
	if !a.known.has(pair) {
		wait = max(wait, a.accounts.blocked(person, a.limits.Account, now))
	}
	if wait > 0 {
		return wait, false
	}
	found := a.pairs.add(pair, a.limits.Pair, now)
	found.account, found.address = person, from
	a.accounts.add(person, a.limits.Account, now)
	a.addresses.add(from, a.limits.Address, now)
	return 0, true
}

// Succeeded takes back the attempt that [Attempts.Begin] counted, resets the
// count of this pair, and remembers the address as one of the owner's. The
// other failed attempts of the address stay counted: an attacker with an
// account must not clear their attempts at other accounts by signing in to
// their own.
func (a *Attempts) Succeeded(account, address string) {
	pair, person, from := a.names(account, address)
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()

	a.pairs.forget(pair)
	a.accounts.takeBack(person)
	a.addresses.takeBack(from)
	a.known.add(pair, Limit{}, now)
}

// Withdrawn takes back the attempt that [Attempts.Begin] counted, when no
// password was compared after all.
func (a *Attempts) Withdrawn(account, address string) {
	pair, person, from := a.names(account, address)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pairs.takeBack(pair)
	a.accounts.takeBack(person)
	a.addresses.takeBack(from)
}

// name is a salted hash, so that what is kept has one size and says nothing.
type name [16]byte

func (a *Attempts) names(account, address string) (pair, person, from name) {
	address = Network(address)
	hash := func(s string) (n name) {
		sum := sha256.Sum256([]byte(a.salt + s))
		copy(n[:], sum[:])
		return n
	}
	return hash("pair\n" + address + "\n" + account), hash("account\n" + account), hash("address\n" + address)
}

// Network returns what counts as one address: of IPv6 the first 64 bits, since
// each customer has at least all addresses of such a network to try from.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return prefix.String()
}

// counts is a bounded set of counts; when it is full, the one that was touched
// least recently goes.
type counts struct {
	limit  int
	byName map[name]*list.Element
	recent *list.List // of *count, the most recent first
}

type count struct {
	name  name
	since time.Time
	tries int
	// account and address are the parts of a pair, for [Attempts.Lift].
	account, address name
}

func newCounts(limit int) *counts {
	return &counts{limit: limit, byName: make(map[name]*list.Element), recent: list.New()}
}

func (c *counts) get(n name) *count {
	element, ok := c.byName[n]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(element)
	return element.Value.(*count) //nolint:forcetypeassert // nothing else is put in
}

func (c *counts) has(n name) bool { return c.get(n) != nil }

// blocked returns how long n is still blocked, zero if it is not.
func (c *counts) blocked(n name, limit Limit, now time.Time) time.Duration {
	found := c.get(n)
	if found == nil || found.tries < limit.Tries {
		return 0
	}
	return max(0, found.since.Add(limit.Window).Sub(now))
}

func (c *counts) add(n name, limit Limit, now time.Time) *count {
	found := c.get(n)
	if found == nil {
		if c.recent.Len() >= c.limit {
			c.forget(c.recent.Back().Value.(*count).name) //nolint:forcetypeassert // as above
		}
		found = &count{name: n, since: now}
		c.byName[n] = c.recent.PushFront(found)
	}
	if !now.Before(found.since.Add(limit.Window)) {
		found.since, found.tries = now, 0
	}
	found.tries++
	return found
}

func (c *counts) takeBack(n name) {
	found := c.get(n)
	if found == nil {
		return
	}
	if found.tries--; found.tries <= 0 {
		c.forget(n)
	}
}

func (c *counts) forget(n name) {
	if element, ok := c.byName[n]; ok {
		c.recent.Remove(element)
		delete(c.byName, n)
	}
}
