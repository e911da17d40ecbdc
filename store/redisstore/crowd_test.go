package redisstore

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

const (
	crowdSize = 8
	// crowdKeeps is how many live and how many revoked sessions there are from
	// the beginning to the end.
	crowdKeeps = 20
	// tooLong is the most that one operation may take, whatever Redis does.
	tooLong = 300 * time.Millisecond
	// farTooLong is what fails a test: the machine may be busy with others.
	farTooLong = 2 * time.Second
)

// crowd counts what many people see who use a store at once. Only what the store
// acknowledged counts: what it could not do may have happened or not.
type crowd struct {
	storetest.Contract
	done chan struct{}
	wg   sync.WaitGroup

	mu            sync.Mutex
	live, revoked []session.Key
	lost          map[session.Key]bool // live by what was acknowledged, and gone
	accepted      map[session.Key]bool // revoked by what was acknowledged, and alive
	refused       []time.Duration      // how long a refusal by the breaker took
	answered      int
	failedReads   int
	failedWrites  int
	tooLong       int
	longest       time.Duration
	hiccup        time.Duration // how late the machine was for a tick, at the most
	strange       []error       // errors that do not say that the store is unavailable
}

// startCrowd makes some sessions, revokes half of them, and lets the crowd loose.
func startCrowd(t *testing.T, store *Store) *crowd {
	t.Helper()
	c := &crowd{
		Contract: storetest.Contract{T: t, Clock: storetest.NewClock(), Store: store},
		done:     make(chan struct{}), lost: make(map[session.Key]bool), accepted: make(map[session.Key]bool),
	}
	for i := range 2 * crowdKeeps {
		var key session.Key
		storetest.WaitFor(t, "a session to be made", func() bool {
			key = storetest.NewKey()
			return c.Create(t.Context(), key, c.NewEntry("alice")) == nil
		})
		if i%2 == 0 {
			c.live = append(c.live, key)
			continue
		}
		storetest.WaitFor(t, "a session to be revoked", func() bool {
			_, err := c.Revoke(t.Context(), key, "alice", c.Now(), c.Now().Add(time.Hour))
			return err == nil
		})
		c.revoked = append(c.revoked, key)
	}
	c.wg.Go(c.feelPulse)
	for range crowdSize {
		c.wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-c.done:
					return
				case <-tick.C:
					c.act()
				}
			}
		})
	}
	return c
}

// feelPulse notes for how long the machine does nothing of ours at all: that much
// longer operations take, with no fault of theirs.
func (c *crowd) feelPulse() {
	const every = 5 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := time.Now(); ; last = time.Now() {
		select {
		case <-c.done:
			return
		case <-tick.C:
			c.mu.Lock()
			c.hiccup = max(c.hiccup, time.Since(last)-every)
			c.mu.Unlock()
		}
	}
}

// act does one thing that someone might do.
func (c *crowd) act() {
	switch n := rand.N(10); {
	case n < 5:
		c.look(c.pick(&c.live, false))
	case n < 8:
		c.look(c.pick(&c.revoked, false))
	case n < 9:
		key := storetest.NewKey()
		if c.note(true, func() error { return c.Create(c.T.Context(), key, c.NewEntry("alice")) }) == nil {
			c.mu.Lock()
			c.live = append(c.live, key)
			c.mu.Unlock()
		}
	default:
		// Out of the live first: what fails may have happened.
		key := c.pick(&c.live, true)
		err := c.note(true, func() error {
			_, err := c.Revoke(c.T.Context(), key, "alice", c.Now(), c.Now().Add(time.Hour))
			return err
		})
		if err == nil {
			c.mu.Lock()
			c.revoked = append(c.revoked, key)
			c.mu.Unlock()
		}
	}
}

// pick returns one of some keys, and takes it out if asked to.
func (c *crowd) pick(from *[]session.Key, out bool) session.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The first ones stay as they are throughout.
	if out && len(*from) == crowdKeeps {
		return storetest.NewKey()
	}
	i := rand.N(len(*from))
	if out {
		i = crowdKeeps + rand.N(len(*from)-crowdKeeps)
	}
	key := (*from)[i]
	if out {
		*from = slices.Delete(*from, i, i+1)
	}
	return key
}

// look reads a key and holds it against what was acknowledged before.
func (c *crowd) look(key session.Key) {
	c.mu.Lock()
	isLive, isRevoked := slices.Contains(c.live, key), slices.Contains(c.revoked, key)
	c.mu.Unlock()
	var rec session.Record
	err := c.note(false, func() (err error) {
		rec, err = c.Get(c.T.Context(), key)
		return err
	})
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	alive := rec.Value != nil && rec.RevokedAt.IsZero()
	if isRevoked && alive {
		c.accepted[key] = true
	}
	// It may have been taken out to be revoked while it was read.
	if isLive && !alive && slices.Contains(c.live, key) {
		c.lost[key] = true
	}
}

// note runs an operation and counts how it went.
func (c *crowd) note(write bool, run func() error) error {
	begin := time.Now()
	err := run()
	took := time.Since(begin)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.longest = max(c.longest, took)
	if took > tooLong {
		c.tooLong++
	}
	switch {
	case err == nil:
		c.answered++
	case !errors.Is(err, session.ErrUnavailable):
		c.strange = append(c.strange, err)
	case write:
		c.failedWrites++
	default:
		c.failedReads++
	}
	if errors.Is(err, session.ErrNotQueried) {
		c.refused = append(c.refused, took)
	}
	return err
}

// waitBack waits until the store reads and writes again, and returns how long
// that took.
func (c *crowd) waitBack(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	storetest.WaitFor(t, "the store to be back", func() bool {
		_, err := c.Get(t.Context(), storetest.NewKey())
		return err == nil && c.Create(t.Context(), storetest.NewKey(), c.NewEntry("bob")) == nil
	})
	return time.Since(begin)
}

// results are what a test looks at when the crowd has gone.
type results struct {
	lost, failedReads, failedWrites, refused int
}

// stop sends the crowd home, looks at every session once more, and tells what it
// saw. Revoked sessions that were accepted, and operations that took far too
// long, fail the test.
func (c *crowd) stop(t *testing.T, back time.Duration) results {
	t.Helper()
	close(c.done)
	c.wg.Wait()
	for _, key := range slices.Concat(c.live, c.revoked) {
		c.look(key)
	}
	slices.Sort(c.refused)
	var refused time.Duration
	if len(c.refused) > 0 {
		refused = c.refused[len(c.refused)/2]
	}
	t.Logf("%d operations answered, %d reads and %d writes unavailable (%d of them not asked, in %v at the median); "+
		"revoked sessions accepted: %d of %d; live sessions lost: %d of %d; operations over %v: %d (longest %v, "+
		"where the machine did nothing for up to %v); back after %v",
		c.answered, c.failedReads, c.failedWrites, len(c.refused), refused,
		len(c.accepted), len(c.revoked), len(c.lost), len(c.live), tooLong, c.tooLong,
		c.longest.Round(time.Millisecond), c.hiccup.Round(time.Millisecond), back.Round(time.Millisecond))
	if len(c.accepted) > 0 {
		t.Errorf("%d revoked sessions were accepted", len(c.accepted))
	}
	if c.longest > farTooLong+2*c.hiccup {
		t.Errorf("an operation took %v", c.longest)
	}
	if refused > time.Millisecond+c.hiccup/10 {
		t.Errorf("with the breaker open, an operation takes %v", refused)
	}
	for _, err := range c.strange {
		t.Errorf("an error that is not about the store: %v", err)
	}
	if c.answered < 50 {
		t.Errorf("%d operations answered: too few to show anything", c.answered)
	}
	return results{len(c.lost), c.failedReads, c.failedWrites, len(c.refused)}
}

// during waits while the crowd goes on.
func during(d time.Duration) { <-time.After(d) }
