// This file holds the journal of pending logouts: what was asked for while the
// store was away, synced to disk before anybody is told.

package caddylogout

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

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// maxPendingLogouts bounds the journal: during an outage nobody can say which
// credentials are real, and whoever makes them up must not fill the disk.
const maxPendingLogouts = 100_000

// journalRetry is how often the store is asked whether it takes the pending
// logouts.
const journalRetry = time.Second

// errJournalFull says that no more logouts can be kept.
var errJournalFull = errors.New("journal of pending logouts is full")

// pendingBucket maps a key to the time, in milliseconds since 1970, at which
// its logout was asked for.
var pendingBucket = []byte("pending")

// journal keeps the keys whose sessions are to be revoked as soon as the store
// is back. A key is in it until the store has acknowledged the revocation.
type journal struct {
	db      *bbolt.DB
	pending sync.Map // Key → time.Time
	count   atomic.Int64
	adding  sync.Mutex // makes the bound exact

	// replayers are of the configurations that use the journal; the last one
	// replays. When a reload fails, the one before is the last again.
	mu        sync.Mutex
	replayers []*replayer

	stop chan struct{}
	done chan struct{}
}

// replayer revokes one key in the store of a configuration.
type replayer struct{ revoke func(Key) error }

// use makes r the one that replays.
func (j *journal) use(r *replayer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.replayers = append(j.replayers, r)
}

// drop takes r out.
func (j *journal) drop(r *replayer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.replayers = slices.DeleteFunc(j.replayers, func(have *replayer) bool { return have == r })
}

func (j *journal) replayer() *replayer {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.replayers) == 0 {
		return nil
	}
	return j.replayers[len(j.replayers)-1]
}

// openJournal opens the journal in file, or makes it, reads what is pending
// since the process last ran, and starts to replay.
func openJournal(file string) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("journal of pending logouts: %w", err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: embeddedLockWait})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("journal of pending logouts: %s: another process has this file open; each needs its own", file)
	}
	if err != nil {
		return nil, fmt.Errorf("journal of pending logouts: %s: %w", file, err)
	}
	j := &journal{db: db, stop: make(chan struct{}), done: make(chan struct{})}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("journal of pending logouts: %s: %w", file, err), db.Close())
	}
	go j.replayOnAndOn()
	return j, nil
}

func (j *journal) load() error {
	return j.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(pendingBucket)
		if err != nil {
			return err
		}
		return bucket.ForEach(func(name, value []byte) error {
			if len(name) != len(Key{}) || len(value) != 8 {
				return errors.New("not a journal of this version")
			}
			j.pending.Store(Key(name), time.UnixMilli(int64(binary.BigEndian.Uint64(value))))
			j.count.Add(1)
			return nil
		})
	})
}

// add notes that a key is to be revoked. When it returns nil, the note is on
// disk, and this node refuses the key.
func (j *journal) add(key Key, at time.Time) error {
	j.adding.Lock()
	defer j.adding.Unlock()
	if _, known := j.pending.Load(key); known {
		return nil
	}
	if j.count.Load() >= maxPendingLogouts {
		return errJournalFull
	}
	err := j.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(pendingBucket).Put(key[:], binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())))
	})
	if err != nil {
		return fmt.Errorf("journal of pending logouts: %w", err)
	}
	j.pending.Store(key, at)
	j.count.Add(1)
	return nil
}

// has reports whether the logout of a key is pending. While none is, which is
// nearly always, it costs one atomic load.
func (j *journal) has(key Key) bool {
	if j.count.Load() == 0 {
		return false
	}
	_, pending := j.pending.Load(key)
	return pending
}

// remove forgets a key whose revocation the store has acknowledged.
func (j *journal) remove(key Key) error {
	err := j.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(pendingBucket).Delete(key[:]) })
	if err != nil {
		return fmt.Errorf("journal of pending logouts: %w", err)
	}
	if _, known := j.pending.LoadAndDelete(key); known {
		j.count.Add(-1)
	}
	return nil
}

// replayAll revokes what is pending until the store fails again.
func (j *journal) replayAll() {
	replay := j.replayer()
	if replay == nil || j.count.Load() == 0 {
		return
	}
	j.pending.Range(func(key, _ any) bool {
		select {
		case <-j.stop:
			return false
		default:
		}
		k := key.(Key)
		return replay.revoke(k) == nil && j.remove(k) == nil
	})
}

// replayOnAndOn is the replayer, until Close.
func (j *journal) replayOnAndOn() {
	defer close(j.done)
	ticker := time.NewTicker(journalRetry)
	defer ticker.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-ticker.C:
			j.replayAll()
		}
	}
}

// Close ends the replayer, waits for it, and closes the file.
func (j *journal) Close() error {
	close(j.stop)
	<-j.done
	return j.db.Close()
}

// Destruct implements caddy.Destructor.
func (j *journal) Destruct() error { return j.Close() }
