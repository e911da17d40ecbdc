package nearcache

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// Bounds of the near cache.
const (
	DefaultEntries = 100_000
	MaxEntries     = 10_000_000
	// MaxLife is how long an entry lives at most. Invalidation does not
	// need it; it bounds the effect of unknown faults.
	MaxLife = time.Minute
	// deadShare is the part of the entries for tombstones and unknown keys.
	deadShare = 16
	// cacheReadTimeout bounds a read that several requests wait for. The store's
	// own timeouts are shorter.
	cacheReadTimeout = 2 * time.Second
)

// Cache keeps decoded sessions, shared by pointer, and knows of keys that are
// revoked or unknown. It serves nothing unless a [Watcher] has proven, a moment
// ago, that no change notification was lost. All methods are safe for
// concurrent use; those of a nil *Cache find and keep nothing.
type Cache struct {
	// live holds sessions; dead tombstones and unknown keys. They are apart so
	// that no flood of made-up credentials takes the place of a session.
	live, dead *otter.Cache[session.Key, *Entry]

	// Epoch is stamped on entries: those of another epoch do not count. So all
	// are dropped in one step, also those that are just being read.
	epoch atomic.Uint64
	// proven is the end of the time for which no change notification can be
	// missing, as the time since started; 0 is never. The clock is
	// monotonic: one that is set back must not stretch it.
	proven atomic.Int64
	// provenWall is the same by the wall clock, in nanoseconds since 1970: the
	// monotonic one stands still while the machine is suspended.
	provenWall atomic.Int64
	// life is how long an entry lives at most, a time.Duration.
	life atomic.Int64
	// maxStale is the window that the operator accepts where changes are not
	// reported; 0 is none.
	maxStale time.Duration
	started  time.Time
	// Clock has both readings. It is not the one that callers bring along, which
	// may be adjusted.
	clock func() time.Time

	// Checks counts the checks of this server by outcome. It is apart from
	// fields that every check reads, and outlives the cache.
	checks        *telemetry.CheckCounts
	reads, joined atomic.Uint64
	stripes       [256]cacheStripe
}

// cacheStripe guards what is written of the keys that begin with one byte.
// Hits do not come here.
type cacheStripe struct {
	mu sync.Mutex
	// flights are the reads under way. Each is also a reservation: a change of
	// its key takes it out, and what it brings is then not kept.
	flights map[session.Key]*flight
	_       [48]byte // a cache line of its own
}

// flight is one read of the store that several requests wait for.
type flight struct {
	epoch uint64
	done  chan struct{} // closed when entry and err are set
	entry *Entry
	err   error
}

// Entry is what is known of one key: a session, a tombstone, or that the store
// holds nothing.
type Entry struct {
	Session   *session.Session
	RevokedAt time.Time
	until     time.Time
	epoch     uint64
	// LastUsed is the sign-in or the last use that was noted, in milliseconds
	// since 1970. It is not watched: other servers may know of a later one.
	LastUsed atomic.Int64
	// LogoutToken is that of the credential whose key this is, once it was
	// computed.
	LogoutToken atomic.Pointer[string]
}

// Stats are the statistics of the near cache.
type Stats struct {
	// Armed says that hits are served: changes are being reported.
	Armed bool
	// Entries is about how many there are, and Others how many of them are no sessions:
	// tombstones, and keys that were not found.
	Entries, Others int
	// Hits counts the checks that were answered from memory, Misses those
	// that needed the store, both since the process began.
	Hits, Misses uint64
	// Reads counts the reads of the store, Joined the requests that waited for
	// the read of another.
	Reads, Joined uint64
}

// New makes a cache that serves nothing until it is armed.
func New(entries int, maxStale time.Duration) *Cache {
	c := &Cache{
		live:     newOtter(entries),
		dead:     newOtter(max(entries/deadShare, 1)),
		maxStale: maxStale,
		started:  time.Now(),
		clock:    time.Now,
		checks:   new(telemetry.CheckCounts),
	}
	c.life.Store(int64(MaxLife))
	for i := range c.stripes {
		c.stripes[i].flights = make(map[session.Key]*flight)
	}
	return c
}

func newOtter(entries int) *otter.Cache[session.Key, *Entry] {
	return otter.Must(&otter.Options[session.Key, *Entry]{
		MaximumSize: entries,
		// Its upkeep is a few microseconds now and then; this way, it has no
		// goroutine that nobody waits for.
		Executor: func(work func()) { work() },
	})
}

// CountInto has checks counted there, beyond the life of the cache. It comes before the
// first check.
func (c *Cache) CountInto(checks *telemetry.CheckCounts) { c.checks = checks }

// Epoch returns a number that changes when all entries are dropped.
func (c *Cache) Epoch() uint64 { return c.epoch.Load() }

// Get returns the entry of key, nil if the store has to be queried. It takes no
// lock and allocates nothing.
func (c *Cache) Get(key session.Key, now time.Time) *Entry {
	if c == nil || !c.IsArmed() {
		return nil
	}
	epoch := c.epoch.Load()
	e, ok := c.live.GetIfPresent(key)
	if !ok {
		e, ok = c.dead.GetIfPresent(key)
	}
	if !ok || e.epoch != epoch || !session.Within(now, e.until) {
		return nil
	}
	return e
}

// IsArmed reports whether the proof holds by both clocks.
func (c *Cache) IsArmed() bool {
	now := c.clock()
	return int64(now.Sub(c.started)) < c.proven.Load() && now.UnixNano() < c.provenWall.Load()
}

// Fill reads key from the store and keeps it, unless the key changed meanwhile.
// Requests for one key wait for one read. While the cache is not armed each
// request reads for itself: a read that began before a logout must not answer a
// request that came after it.
func (c *Cache) Fill(ctx context.Context, key session.Key, now time.Time, read func(context.Context) (*Entry, error)) (*Entry, error) {
	if c == nil || !c.IsArmed() {
		return read(ctx)
	}
	stripe, epoch := &c.stripes[key[0]], c.epoch.Load()
	stripe.mu.Lock()
	if f := stripe.flights[key]; f != nil && f.epoch == epoch {
		stripe.mu.Unlock()
		c.joined.Add(1)
		select {
		case <-f.done:
			return f.entry, f.err
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, context.Cause(ctx))
		}
	}
	f := &flight{epoch: epoch, done: make(chan struct{}), err: session.ErrUnavailable}
	stripe.flights[key] = f
	stripe.mu.Unlock()

	c.reads.Add(1)
	defer c.land(stripe, key, now, f)
	// Others wait for this read, so it goes on if the first client
	// disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cacheReadTimeout)
	defer cancel()
	f.entry, f.err = read(ctx)
	return f.entry, f.err
}

// land caches the result of a read if its reservation is still valid, and wakes
// the requests that wait for it.
func (c *Cache) land(stripe *cacheStripe, key session.Key, now time.Time, f *flight) {
	stripe.mu.Lock()
	if stripe.flights[key] == f {
		delete(stripe.flights, key)
		if f.err == nil {
			c.put(key, f.entry, now, f.epoch)
		}
	}
	stripe.mu.Unlock()
	close(f.done)
}

// put keeps an entry. The stripe of its key is locked.
func (c *Cache) put(key session.Key, e *Entry, now time.Time, epoch uint64) {
	e.epoch, e.until = epoch, now.Add(time.Duration(c.life.Load()))
	to, from := c.live, c.dead
	if e.Session == nil {
		to, from = c.dead, c.live
	} else if e.Session.ExpiresAt.Before(e.until) {
		e.until = e.Session.ExpiresAt
	}
	from.Invalidate(key)
	to.Set(key, e)
}

// Revoked records that key was revoked here, before the store reports it.
func (c *Cache) Revoked(key session.Key, at time.Time) {
	if c == nil {
		return
	}
	stripe := &c.stripes[key[0]]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	delete(stripe.flights, key)
	c.put(key, &Entry{RevokedAt: at}, at, c.epoch.Load())
}

// Changed implements [WatchSink]: it drops key, and the reservations of reads
// in flight.
func (c *Cache) Changed(key session.Key) {
	if c == nil {
		return
	}
	stripe := &c.stripes[key[0]]
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	delete(stripe.flights, key)
	c.live.Invalidate(key)
	c.dead.Invalidate(key)
}

// ChangedAll implements [WatchSink]. The step of the epoch does it; the rest
// gives back memory.
func (c *Cache) ChangedAll() {
	c.epoch.Add(1)
	c.live.InvalidateAll()
	c.dead.InvalidateAll()
}

// Armed implements [WatchSink].
func (c *Cache) Armed(until time.Time) {
	c.proven.Store(0)
	c.ChangedAll()
	c.life.Store(int64(MaxLife))
	c.Alive(until)
}

// Alive implements [WatchSink].
func (c *Cache) Alive(until time.Time) {
	c.provenWall.Store(until.UnixNano())
	c.proven.Store(int64(until.Sub(c.started)))
}

// Disarmed implements [WatchSink].
func (c *Cache) Disarmed() {
	c.proven.Store(0)
	c.ChangedAll()
}

// Refused implements [WatchSink]: without max_stale the cache stays off; with
// it entries live that long, without change notifications.
func (c *Cache) Refused() {
	c.Disarmed()
	if c.maxStale > 0 {
		c.life.Store(int64(min(c.maxStale, MaxLife)))
		c.provenWall.Store(1<<63 - 1)
		c.proven.Store(1<<63 - 1)
	}
}

// Stats returns the statistics of the cache.
func (c *Cache) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	return Stats{
		Hits:    c.checks.Hits(),
		Misses:  c.checks.Misses(),
		Armed:   c.IsArmed(),
		Entries: c.live.EstimatedSize() + c.dead.EstimatedSize(),
		Others:  c.dead.EstimatedSize(),
		Reads:   c.reads.Load(),
		Joined:  c.joined.Load(),
	}
}

// Counts is where the checks are counted, with a cache and without.
func (c *Cache) Counts() *telemetry.CheckCounts {
	if c == nil {
		return &telemetry.Meters.Checks
	}
	return c.checks
}

// Interface guard.
var _ session.WatchSink = (*Cache)(nil)
