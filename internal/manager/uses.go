package manager

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
)

const (
	// usesShare is the part of idle_timeout that passes between two checks of
	// whether uses can be noted, within these bounds.
	usesShare    = 20
	minUsesEvery = 100 * time.Millisecond
	maxUsesEvery = 15 * time.Second
	// minUsesGap is the least time without a check that is an interruption, as
	// is that of three checks: no proxy was running, or this one was suspended.
	minUsesGap = 2 * time.Second
	// usesTimeout bounds a check, and a note that nobody waits for.
	usesTimeout = 2 * time.Second
	// usesKept is how long the store keeps what is known of interruptions.
	usesKept = 90 * 24 * time.Hour
	// maxMissedUses bounds the uses that wait to be written. Those beyond it are
	// forgotten, and nobody loses by it: an interruption excuses everybody.
	maxMissedUses = 100_000
	// maxInterruptions bounds the interruptions that are remembered.
	maxInterruptions = 16
	// usesAtOnce is how many missed uses are written together.
	usesAtOnce = 128
)

// What is known of interruptions is in the store, for other servers and for the
// next start: as the last uses of three keys that no session has. To write it is
// to prove that uses can be noted.
var (
	usesCheckedKey = session.KeyOf("uses of sessions: last check")
	usesFromKey    = session.KeyOf("uses of sessions: last interruption, beginning")
	usesUntilKey   = session.KeyOf("uses of sessions: last interruption, end")
)

// Uses knows since when the uses of sessions are noted, and keeps those that
// could not be. It lives as long as its store. A nil *uses has missed nothing.
type Uses struct {
	store  session.Store
	now    func() time.Time
	logger func() *zap.Logger

	every    atomic.Int64 // a time.Duration; 0: no configuration has an idle_timeout
	missing  atomic.Int64 // how many are in missed
	wake     chan struct{}
	stop     chan struct{}
	done     sync.WaitGroup
	starting sync.Once

	checking sync.Mutex // one check at a time; guards the next two
	checked  time.Time  // when the last one began
	works    bool       // what it came to

	mu sync.Mutex
	// worked is until when uses could be noted for sure; zero if that is unknown.
	worked   time.Time
	failing  bool
	failedAt time.Time
	past     []interruption // oldest first
	watching []time.Duration
	missed   map[session.Key]missedUse
}

// missedUse is a use that could not be noted.
type missedUse struct{ at, until time.Time }

// NewUses returns what knows of the uses of the sessions in a store.
func NewUses(store session.Store, now func() time.Time) *Uses {
	return &Uses{
		store: store, now: now, missed: make(map[session.Key]missedUse),
		logger: func() *zap.Logger { return caddy.Log().Named("sessions") },
		wake:   make(chan struct{}, 1), stop: make(chan struct{}),
	}
}

// interval returns the time between two checks.
func (u *Uses) interval() time.Duration {
	if every := time.Duration(u.every.Load()); every > 0 {
		return every
	}
	return maxUsesEvery
}

// watch has it checked as often as an idle_timeout asks for, until the function
// that it returns is called. Of several, the shortest counts. What passes without
// any is an interruption: nobody notes uses then.
func (u *Uses) watch(idleTimeout time.Duration) (unwatch func()) {
	if idleTimeout <= 0 {
		return func() {}
	}
	every := min(max(idleTimeout/usesShare, minUsesEvery), maxUsesEvery)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watching = append(u.watching, every)
	u.every.Store(int64(slices.Min(u.watching)))
	u.starting.Do(func() { u.done.Go(u.checkOnAndOn) })
	u.wakeUp()
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		i := slices.Index(u.watching, every)
		u.watching = slices.Delete(u.watching, i, i+1)
		u.every.Store(0)
		if len(u.watching) > 0 {
			u.every.Store(int64(slices.Min(u.watching)))
		}
	})
}

func (u *Uses) wakeUp() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// close ends the checks and waits for them.
func (u *Uses) close() {
	close(u.stop)
	u.done.Wait()
}

func (u *Uses) checkOnAndOn() {
	for {
		next := time.After(u.interval())
		if u.every.Load() == 0 {
			next = nil
		} else if u.Check(context.Background()) {
			u.writeMissed(context.Background())
		}
		select {
		case <-u.stop:
			return
		case <-u.wake:
		case <-next:
		}
	}
}

// Check finds out whether uses can be noted, by a note: that Redis can be read
// says nothing of that (NOREPLICAS, OOM, READONLY, MISCONF). Several who want to
// know share a check.
func (u *Uses) Check(ctx context.Context) (works bool) {
	u.checking.Lock()
	defer u.checking.Unlock()
	now := u.now()
	if age := now.Sub(u.checked); age >= 0 && age < u.interval()/10 {
		return u.works
	}
	u.checked, u.works = now, false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), usesTimeout)
	defer cancel()
	last, known, err := u.readInterruption(ctx)
	if err == nil {
		err = u.store.Touch(ctx, usesCheckedKey, now, now.Add(usesKept))
	}
	found := u.conclude(now, last, known, err)
	if err != nil {
		return false
	}
	u.works = true
	if found.until.IsZero() {
		return true
	}
	// Other servers may have seen none of it: a Cluster refuses writes by master,
	// a network parts servers one by one.
	if !known.until.Before(found.from) && known.from.Before(found.from) {
		found.from = known.from
	}
	for key, at := range map[session.Key]time.Time{usesFromKey: found.from, usesUntilKey: session.Later(found.until, known.until)} {
		if err := u.store.Touch(ctx, key, at, now.Add(usesKept)); err != nil {
			u.Fail(err)
			u.works = false
		}
	}
	return u.works
}

// readInterruption reads when any server checked last, and the last interruption
// that one has told of.
func (u *Uses) readInterruption(ctx context.Context) (last time.Time, known interruption, err error) {
	records, err := u.store.GetMany(ctx, []session.Key{usesCheckedKey, usesFromKey, usesUntilKey})
	if err != nil {
		return time.Time{}, interruption{}, err
	}
	return records[0].LastUsed, interruption{records[1].LastUsed, records[2].LastUsed}, nil
}

// conclude takes in what a check at the given time came to, and returns the
// interruption that others are to be told of.
func (u *Uses) conclude(now, last time.Time, known interruption, err error) (tell interruption) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.worked.IsZero() {
		// Since the start nothing is known: another server, or this one before it
		// was started, made the check before.
		u.worked = last
	}
	if !known.until.IsZero() {
		u.remember(known)
	}
	if err != nil {
		u.startFailing(err)
		return interruption{}
	}
	if u.worked.IsZero() {
		// The first check of all: no use was noted before it.
		u.worked = time.UnixMilli(1)
	}
	gap := max(3*u.interval(), minUsesGap)
	if u.failing || now.Sub(u.worked) > gap {
		tell = interruption{u.worked, now}
		u.remember(tell)
	}
	if len(u.missed) > 0 {
		return tell // it goes on until they are written
	}
	if u.failing {
		u.failing = false
		u.logger().Info("uses of sessions are recorded again", zap.Duration("failed_for", now.Sub(u.failedAt)))
	}
	u.worked = now
	return tell
}

// Fail notes that a use could not be noted.
func (u *Uses) Fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.startFailing(err)
}

// startFailing says so once. The lock is held.
func (u *Uses) startFailing(err error) {
	if u.failing {
		return
	}
	u.failing, u.failedAt = true, u.now()
	u.logger().Warn("uses of sessions cannot be recorded; until they can, no session becomes idle", zap.Error(err))
}

// note notes a use. While notes are known to fail, it is kept without asking the
// store, which may take its time to refuse, and a request waits for the note.
func (u *Uses) note(ctx context.Context, store session.Store, key session.Key, at, until time.Time) {
	err := session.ErrNotQueried
	if !u.knownToFail() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), usesTimeout)
		defer cancel()
		err = store.Touch(ctx, key, at, until)
	}
	if err != nil && u != nil {
		u.miss(key, at, until, err)
	}
}

func (u *Uses) knownToFail() bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failing
}

// miss keeps a use that could not be noted, and has it written later.
func (u *Uses) miss(key session.Key, at, until time.Time, err error) {
	u.mu.Lock()
	if _, have := u.missed[key]; have || len(u.missed) < maxMissedUses {
		u.missed[key] = missedUse{at, until}
		u.missing.Store(int64(len(u.missed)))
	}
	first := !u.failing
	u.startFailing(err)
	u.mu.Unlock()
	if first {
		u.wakeUp() // others are to hear of it now
	}
}

// missedUse returns the last use of a session that could not be noted.
func (u *Uses) missedUse(key session.Key) time.Time {
	if u == nil || u.missing.Load() == 0 {
		return time.Time{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.missed[key].at
}

// writeMissed writes the uses that could not be noted, until many fail together:
// of a Cluster, one master may refuse.
func (u *Uses) writeMissed(ctx context.Context) {
	u.mu.Lock()
	missed := maps.Clone(u.missed)
	u.mu.Unlock()
	for some := range slices.Chunk(slices.Collect(maps.Keys(missed)), usesAtOnce) {
		select {
		case <-u.stop:
			return
		default:
		}
		var (
			wg     sync.WaitGroup
			failed atomic.Int64
		)
		for _, key := range some {
			wg.Go(func() {
				if err := u.writeOne(ctx, key, missed[key]); err != nil {
					failed.Add(1)
					u.Fail(err)
					return
				}
				u.written(key, missed[key])
			})
		}
		wg.Wait()
		if failed.Load() == int64(len(some)) {
			return
		}
	}
}

// written takes out a use that is written, unless there is a later one.
func (u *Uses) written(key session.Key, use missedUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.missed[key] == use {
		delete(u.missed, key)
		u.missing.Store(int64(len(u.missed)))
	}
}

// writeOne writes a missed use, unless the session is over, or another server
// has noted a later one.
func (u *Uses) writeOne(ctx context.Context, key session.Key, use missedUse) error {
	ctx, cancel := context.WithTimeout(ctx, usesTimeout)
	defer cancel()
	record, err := u.store.GetWithUse(ctx, key)
	if err != nil || record.Value == nil || !record.RevokedAt.IsZero() || !record.LastUsed.Before(use.at) {
		return err
	}
	return u.store.Touch(ctx, key, use.at, use.until)
}
