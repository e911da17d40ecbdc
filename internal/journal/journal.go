// Package journal keeps the logouts of an outage of the store: it syncs each to disk
// before the client gets a response, and revokes the sessions when the store is back.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// Bounds of the journal: during an outage no server can tell which credentials are
// real, and a client that makes them up must neither fill the disk nor take all the
// room.
const (
	// maxPending is how many logouts wait at most, and as many are kept.
	maxPending = 100_000
	// MaxPendingFrom is how many of them may be of one client address, waiting and
	// kept: more than people behind one address sign out during an outage.
	MaxPendingFrom = 1_000
)

// journalLockWait is how long the opening waits for another process to close the file.
const journalLockWait = time.Second

// journalBatchDelay is how long a logout waits for others to share its sync.
const journalBatchDelay = time.Millisecond

// errJournalFull means that the journal is full.
var errJournalFull = errors.New("journal of pending logouts is full")

// errTooManyFrom says that no more logouts of one client address can be kept.
var errTooManyFrom = errors.New("journal of pending logouts has as many of this client address as it keeps")

// The buckets of the file. Both map a key to a time, in milliseconds since 1970.
var (
	// pendingBucket has the time of the client's request.
	pendingBucket = []byte("pending")
	// keptBucket has the time until which a key is refused whose session was not
	// in the store when it was back: a backup may bring it back, too.
	keptBucket = []byte("kept")
)

// Journal keeps the keys whose sessions are to be revoked as soon as the store
// is back. A key waits in it until the store has acknowledged the revocation. One
// that the store does not know stays refused for as long as its session could have
// lived.
type Journal struct {
	db      *bbolt.DB
	pending sync.Map // Key → note
	kept    sync.Map // Key → note
	count   atomic.Int64
	keeping atomic.Int64

	places sync.Mutex     // makes the bounds exact
	from   map[string]int // of each client address; what an earlier process noted is of none

	// replayers are of the configurations that use the journal; the last one
	// replays. When a reload fails, the one before is the last again.
	mu        sync.Mutex
	replayers []*Replayer

	// Refused bounds how often the log says that a logout was not noted: made-up ones
	// must not fill the log either.
	Refused *telemetry.BoundedLog

	now     func() time.Time
	logger  func() *zap.Logger
	failing bool // the last replay revoked nothing; of the replaying goroutine
	swept   time.Time
	stop    chan struct{}
	done    chan struct{}
}

// note is an entry of the journal for a key.
type note struct {
	at   time.Time // of the request, or until when it is kept
	from string    // the client address
}

// Use makes r the one that replays.
func (j *Journal) Use(r *Replayer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.replayers = append(j.replayers, r)
}

// Drop takes r out.
func (j *Journal) Drop(r *Replayer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.replayers = slices.DeleteFunc(j.replayers, func(have *Replayer) bool { return have == r })
}

func (j *Journal) replayer() *Replayer {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.replayers) == 0 {
		return nil
	}
	return j.replayers[len(j.replayers)-1]
}

// Open opens the journal in file, or makes it, reads what is pending
// since the process last ran, and starts to replay.
func Open(file string) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("journal of pending logouts: %w", err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: journalLockWait})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("journal of pending logouts: %s: another process has this file open; each needs its own", file)
	}
	if err != nil {
		return nil, fmt.Errorf("journal of pending logouts: %s: %w", file, err)
	}
	db.MaxBatchDelay = journalBatchDelay
	j := &Journal{db: db, from: make(map[string]int), Refused: telemetry.NewBoundedLog(rate.Every(telemetry.OutageEvery), 1), now: time.Now, logger: func() *zap.Logger { return caddy.Log().Named("sessions.journal") }, stop: make(chan struct{}), done: make(chan struct{})}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("journal of pending logouts: %s: %w", file, err), db.Close())
	}
	go j.replayOnAndOn()
	return j, nil
}

func (j *Journal) load() error {
	return j.db.Update(func(tx *bbolt.Tx) error {
		for _, of := range []struct {
			bucket []byte
			notes  *sync.Map
			count  *atomic.Int64
		}{{pendingBucket, &j.pending, &j.count}, {keptBucket, &j.kept, &j.keeping}} {
			bucket, err := tx.CreateBucketIfNotExists(of.bucket)
			if err != nil {
				return err
			}
			err = bucket.ForEach(func(name, value []byte) error {
				if len(name) != len(session.Key{}) || len(value) != 8 {
					return errors.New("not a journal of this version")
				}
				of.notes.Store(session.Key(name), note{at: time.UnixMilli(int64(binary.BigEndian.Uint64(value)))})
				of.count.Add(1)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// write changes the file; what is changed at once shares a sync.
func (j *Journal) write(change func(tx *bbolt.Tx) error) error {
	if err := j.db.Batch(change); err != nil {
		return fmt.Errorf("journal of pending logouts: %w", err)
	}
	return nil
}

func putNote(tx *bbolt.Tx, bucket []byte, key session.Key, at time.Time) error {
	return tx.Bucket(bucket).Put(key[:], binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())))
}

// take takes a place for a logout from an address.
func (j *Journal) take(from string) error {
	j.places.Lock()
	defer j.places.Unlock()
	switch {
	case j.count.Load() >= maxPending:
		return errJournalFull
	case from != "" && j.from[from] >= MaxPendingFrom:
		return errTooManyFrom
	}
	j.count.Add(1)
	if from != "" {
		j.from[from]++
	}
	return nil
}

// leave gives a place of an address back.
func (j *Journal) leave(from string) {
	if from == "" {
		return
	}
	j.places.Lock()
	defer j.places.Unlock()
	if j.from[from]--; j.from[from] <= 0 {
		delete(j.from, from)
	}
}

// Add notes that a client at an address wants a key revoked; an empty address has no
// bound. When it returns nil, the note is on disk, and this node refuses the key.
func (j *Journal) Add(key session.Key, at time.Time, from string) error {
	if _, known := j.pending.Load(key); known {
		return nil
	}
	if err := j.take(from); err != nil {
		return err
	}
	err := j.write(func(tx *bbolt.Tx) error { return putNote(tx, pendingBucket, key, at) })
	if err == nil {
		if _, known := j.pending.LoadOrStore(key, note{at, from}); !known {
			return nil
		}
	}
	j.count.Add(-1)
	j.leave(from)
	return err
}

// Has reports whether the logout of a key is pending. While none is, which is
// nearly always, it costs one atomic load.
func (j *Journal) Has(key session.Key) bool {
	if j.count.Load() == 0 {
		return false
	}
	_, pending := j.pending.Load(key)
	return pending
}

// Pending returns how many logouts wait.
func (j *Journal) Pending() int64 { return j.count.Load() }

// Kept returns how many keys are kept.
func (j *Journal) Kept() int64 { return j.keeping.Load() }

// Keeps reports whether a key is kept, at the same cost.
func (j *Journal) Keeps(key session.Key) bool {
	if j.keeping.Load() == 0 {
		return false
	}
	kept, ok := j.kept.Load(key)
	return ok && j.now().Before(kept.(note).at)
}

// remove forgets a key whose revocation the store has acknowledged.
func (j *Journal) remove(key session.Key) error {
	if err := j.write(func(tx *bbolt.Tx) error { return tx.Bucket(pendingBucket).Delete(key[:]) }); err != nil {
		return err
	}
	if done, known := j.pending.LoadAndDelete(key); known {
		j.count.Add(-1)
		j.leave(done.(note).from)
	}
	return nil
}

// keep goes on refusing a key that the store does not know. When the journal is full,
// it forgets the key like one that is revoked.
func (j *Journal) keep(key session.Key, until time.Time) error {
	if j.keeping.Add(1) > maxPending {
		j.keeping.Add(-1)
		return j.remove(key)
	}
	err := j.write(func(tx *bbolt.Tx) error {
		if err := putNote(tx, keptBucket, key, until); err != nil {
			return err
		}
		return tx.Bucket(pendingBucket).Delete(key[:])
	})
	if err != nil {
		j.keeping.Add(-1)
		return err
	}
	from := ""
	if noted, known := j.pending.Load(key); known {
		from = noted.(note).from
	}
	if _, known := j.kept.Swap(key, note{until, from}); known {
		j.keeping.Add(-1)
		j.leave(from)
	}
	if _, known := j.pending.LoadAndDelete(key); known {
		j.count.Add(-1)
	}
	return nil
}

// forget takes out a key that was kept.
func (j *Journal) forget(key session.Key) error {
	if err := j.write(func(tx *bbolt.Tx) error { return tx.Bucket(keptBucket).Delete(key[:]) }); err != nil {
		return err
	}
	if kept, known := j.kept.LoadAndDelete(key); known {
		j.keeping.Add(-1)
		j.leave(kept.(note).from)
	}
	return nil
}

// CameBack has a key that was kept revoked after all: its session is in the store.
func (j *Journal) CameBack(key session.Key) error {
	if err := j.Add(key, j.now(), ""); err != nil {
		return err
	}
	return j.forget(key)
}

// Close ends the replayer, waits for it, and closes the file.
func (j *Journal) Close() error {
	close(j.stop)
	<-j.done
	return j.db.Close()
}

// Destruct implements caddy.Destructor.
func (j *Journal) Destruct() error { return j.Close() }
