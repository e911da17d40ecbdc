package journal

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

const (
	// journalRetry is how often the journal tries to do the pending logouts.
	journalRetry = time.Second
	// journalSweep is how often the journal looks up the keys that it keeps.
	journalSweep = time.Minute
	// replayAtOnce is how many logouts are done together.
	replayAtOnce = 16
	// replayGiveUp is how many logouts have to fail, and none succeed, before the
	// others wait for the next time: the store is unavailable. One that fails for a
	// reason of its own keeps no other from being done.
	replayGiveUp = 64
	// keptAtOnce is how many of the keys that are kept are looked up together.
	keptAtOnce = 256
)

// Replayer does the logouts of a journal in the store of a configuration.
type Replayer struct {
	// Revoke ends the session of a key; found is false if the store knows neither
	// it nor its tombstone.
	Revoke func(session.Key) (found bool, err error)
	// Live says which of the keys have a session in the store.
	Live func([]session.Key) ([]bool, error)
	// Lifespan is how long a session may live that existed at the time of the logout.
	Lifespan time.Duration
}

// replayAll does what is pending.
func (j *Journal) replayAll() {
	replay := j.replayer()
	if replay == nil || j.count.Load() == 0 {
		return
	}
	var (
		wg           sync.WaitGroup
		done, failed atomic.Int64
		cause        atomic.Pointer[error]
	)
	keys := make(chan session.Key)
	for range replayAtOnce {
		wg.Go(func() {
			for key := range keys {
				if err := j.replayOne(replay, key); err != nil {
					telemetry.Meters.PendingFailures.Inc()
					failed.Add(1)
					cause.Store(&err)
				} else {
					done.Add(1)
				}
			}
		})
	}
	for _, key := range j.waiting() {
		select {
		case <-j.stop:
			close(keys)
			wg.Wait()
			return
		case keys <- key:
		}
		if done.Load() == 0 && failed.Load() >= replayGiveUp {
			break
		}
	}
	close(keys)
	wg.Wait()
	if err := cause.Load(); err != nil {
		j.tell(*err)
	} else {
		j.tell(nil)
	}
}

// waiting lists what is pending in an order of its own each time: those that fail
// must not be the first ones for ever.
func (j *Journal) waiting() []session.Key {
	var keys []session.Key
	j.pending.Range(func(key, _ any) bool {
		keys = append(keys, key.(session.Key))
		return true
	})
	rand.Shuffle(len(keys), func(i, k int) { keys[i], keys[k] = keys[k], keys[i] }) //nolint:gosec // an order, no secret
	return keys
}

// replayOne does one logout.
func (j *Journal) replayOne(replay *Replayer, key session.Key) error {
	found, err := replay.Revoke(key)
	switch {
	case err != nil:
		return err
	case found:
		return j.remove(key)
	}
	asked, ok := j.pending.Load(key)
	if !ok {
		return nil
	}
	return j.keep(key, asked.(note).at.Add(replay.Lifespan+session.ClockTolerance))
}

// tell logs once that logouts cannot be done, and once that they can again.
func (j *Journal) tell(cause error) {
	logger := j.logger()
	switch {
	case cause != nil && !j.failing:
		logger.Warn("pending logouts cannot be done yet", zap.Int64("pending", j.count.Load()), zap.Error(cause))
	case cause == nil && j.failing:
		logger.Info("pending logouts are done again", zap.Int64("pending", j.count.Load()))
	}
	j.failing = cause != nil
}

// sweep forgets keys whose time is over, and finds those whose sessions are in the
// store again, since a backup may bring sessions back.
func (j *Journal) sweep() {
	replay := j.replayer()
	if replay == nil || j.keeping.Load() == 0 {
		return
	}
	var keys []session.Key
	now := j.now()
	j.kept.Range(func(key, kept any) bool {
		if !now.Before(kept.(note).at) {
			_ = j.forget(key.(session.Key)) // else the next time
		} else {
			keys = append(keys, key.(session.Key))
		}
		return true
	})
	for len(keys) > 0 {
		some := keys[:min(keptAtOnce, len(keys))]
		keys = keys[len(some):]
		select {
		case <-j.stop:
			return
		default:
		}
		live, err := replay.Live(some)
		if err != nil {
			return // the next time
		}
		for i, key := range some {
			if !live[i] {
				continue
			}
			if err := j.CameBack(key); err != nil {
				j.tell(err)
			}
		}
	}
}

// replayOnAndOn is the replayer, until Close.
func (j *Journal) replayOnAndOn() {
	defer close(j.done)
	ticker := time.NewTicker(journalRetry)
	defer ticker.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-ticker.C:
			if now := j.now(); now.Sub(j.swept) >= journalSweep {
				j.swept = now
				j.sweep()
			}
			j.replayAll()
		}
	}
}
