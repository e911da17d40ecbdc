package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
)

const (
	// embeddedLockWait is how long Open waits for another process to let go of
	// the file: a Caddy that is being replaced gets the time to end.
	embeddedLockWait = time.Second
	// embeddedBatchDelay is how long a write waits for others to share its
	// fsync. It is small beside the fsync itself, and all that a write that is
	// alone pays for the sharing.
	embeddedBatchDelay = time.Millisecond
	// embeddedSweepInterval is how often expired rows are deleted. They are
	// invisible from the moment they expire: this is about disk space only.
	embeddedSweepInterval = time.Minute
)

// Store is an open file. See rows.go for what is in it.
type Store struct {
	db     *bbolt.DB
	now    func() time.Time
	logger func() *zap.Logger
	stop   chan struct{} // closed to end the sweeper
	done   chan struct{} // closed by the sweeper when it has ended
}

// Open opens the store in file, whose clock is now, and starts its sweeper. The
// error names the file, and says so if another process has it open.
func Open(file string, now func() time.Time, logger func() *zap.Logger) (*Store, error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{
		Timeout:      embeddedLockWait,
		FreelistType: bbolt.FreelistMapType,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("embedded store: %s: another process has this file open; "+
			"one process at a time can use it, several share a redis store", file)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded store: %s: %w", file, err)
	}
	db.MaxBatchDelay = embeddedBatchDelay
	if err := db.Update(makeBuckets); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded store: %s: %w", file, err), db.Close())
	}
	syncFolder(dir)
	s := &Store{db: db, now: now, logger: logger, stop: make(chan struct{}), done: make(chan struct{})}
	go s.sweepOnAndOn()
	return s, nil
}

// syncFolder makes the name of a new file last through a power failure. Not
// every system can do it, and those that cannot do not need it.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// Close ends the sweeper, waits for it and for what is being written, and
// closes the file.
func (s *Store) Close() error {
	close(s.stop)
	<-s.done
	return embeddedError("close", s.db.Close())
}

// Get reads the session and the tombstone of key.
func (s *Store) Get(ctx context.Context, key session.Key) (session.Record, error) {
	return s.get(ctx, key, false)
}

// GetWithUse reads the session, the tombstone and the last use of key.
func (s *Store) GetWithUse(ctx context.Context, key session.Key) (session.Record, error) {
	return s.get(ctx, key, true)
}

// GetMany is GetWithUse for many keys, in one transaction.
func (s *Store) GetMany(ctx context.Context, keys []session.Key) ([]session.Record, error) {
	records := make([]session.Record, len(keys))
	err := s.view(ctx, "get", func(tx *bbolt.Tx, now int64) {
		for i, key := range keys {
			records[i] = readRecordRows(tx, key, now, true)
		}
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

func (s *Store) get(ctx context.Context, key session.Key, withUse bool) (rec session.Record, err error) {
	err = s.view(ctx, "get", func(tx *bbolt.Tx, now int64) { rec = readRecordRows(tx, key, now, withUse) })
	return rec, err
}

// readRecordRows reads all that is stored of one key.
func readRecordRows(tx *bbolt.Tx, key session.Key, now int64, withUse bool) (rec session.Record) {
	if value, ok := readRow(tx, rowSession, key[:], now); ok {
		rec.Value = bytes.Clone(value)
	}
	if at, ok := readRow(tx, rowTombstone, key[:], now); ok {
		rec.RevokedAt = decodeTime(at)
	}
	if withUse {
		if at, ok := readRow(tx, rowUse, key[:], now); ok {
			rec.LastUsed = decodeTime(at)
		}
	}
	return rec
}

// Create stores a session and its index entry in one transaction.
func (s *Store) Create(ctx context.Context, key session.Key, e session.Entry) error {
	var taken bool
	err := s.batch(ctx, "create", func(tx *bbolt.Tx, now int64) error {
		_, live := readRow(tx, rowSession, key[:], now)
		_, revoked := readRow(tx, rowTombstone, key[:], now)
		// Not an error of the transaction: that would roll back, and run again,
		// what others have in the same one.
		if taken = live || revoked; taken {
			return nil
		}
		if err := writeRow(tx, rowIndex, indexName(e.Identity, key), e.ExpiresAt, nil); err != nil {
			return err
		}
		if e.Bound != nil {
			e.Bound.Exceeded = len(indexedKeys(tx, e.Identity, now)) > e.Bound.Max
		}
		return writeRow(tx, rowSession, key[:], e.ExpiresAt, e.Value)
	})
	if err == nil && taken {
		return session.ErrExists
	}
	return err
}

// Revoke writes the tombstone and deletes the session in one transaction.
func (s *Store) Revoke(ctx context.Context, key session.Key, identity string, at, until time.Time) (bool, error) {
	var ended bool
	err := s.batch(ctx, "revoke", func(tx *bbolt.Tx, now int64) (err error) {
		ended, err = revokeRows(tx, key, identity, at, until, now)
		return err
	})
	return ended && err == nil, err
}

// RevokeAll does it for many keys in one transaction: all of them, or none.
func (s *Store) RevokeAll(
	ctx context.Context, identity string, keys []session.IndexedKey, at, least time.Time,
) (int, error) {
	var count int
	err := s.batch(ctx, "revoke all", func(tx *bbolt.Tx, now int64) error {
		count = 0
		for _, key := range keys {
			ended, err := revokeRows(tx, key.Key, identity, at, session.Later(key.ExpiresAt, least), now)
			if err != nil {
				return err
			}
			if ended {
				count++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

// Touch notes a use of key.
func (s *Store) Touch(ctx context.Context, key session.Key, at, until time.Time) error {
	return s.batch(ctx, "touch", func(tx *bbolt.Tx, _ int64) error {
		return writeRow(tx, rowUse, key[:], until, encodeTime(at))
	})
}

// Keys lists the keys in the index of identity.
func (s *Store) Keys(ctx context.Context, identity string) ([]session.IndexedKey, error) {
	var keys []session.IndexedKey
	err := s.view(ctx, "keys", func(tx *bbolt.Tx, now int64) {
		keys = indexedKeys(tx, identity, now)
	})
	return keys, err
}

// PutError keeps value under id until the given time.
func (s *Store) PutError(ctx context.Context, id string, value []byte, until time.Time) error {
	return s.batch(ctx, "put error", func(tx *bbolt.Tx, _ int64) error {
		return writeRow(tx, rowError, []byte(id), until, value)
	})
}

// GetError returns what PutError kept.
func (s *Store) GetError(ctx context.Context, id string) ([]byte, error) {
	var value []byte
	var found bool
	err := s.view(ctx, "get error", func(tx *bbolt.Tx, now int64) {
		var row []byte
		if row, found = readRow(tx, rowError, []byte(id), now); found {
			value = bytes.Clone(row)
		}
	})
	if err == nil && !found {
		return nil, session.ErrNotFound
	}
	return value, err
}

// Ping reports whether the file is open.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, "ping", func(*bbolt.Tx, int64) {})
}

// view runs fn in a transaction that reads. What fn reads is gone when it
// returns: it copies what it keeps.
func (s *Store) view(ctx context.Context, operation string, fn func(tx *bbolt.Tx, now int64)) error {
	if err := ctx.Err(); err != nil {
		return embeddedError(operation, err)
	}
	return embeddedError(operation, s.db.View(func(tx *bbolt.Tx) error {
		fn(tx, s.now().UnixMilli())
		return nil
	}))
}

// batch runs fn in a transaction that writes, which is on disk when batch
// returns nil. Writes that come at the same time share one. It may run fn
// several times, so fn sets each result anew.
func (s *Store) batch(ctx context.Context, operation string, fn func(tx *bbolt.Tx, now int64) error) error {
	if err := ctx.Err(); err != nil {
		return embeddedError(operation, err)
	}
	return embeddedError(operation, s.db.Batch(func(tx *bbolt.Tx) error {
		return fn(tx, s.now().UnixMilli())
	}))
}

// sweepOnAndOn is the sweeper, until Close.
func (s *Store) sweepOnAndOn() {
	defer close(s.done)
	ticker := time.NewTicker(embeddedSweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			if _, err := s.sweep(); err != nil {
				s.logger().Warn("sweeping expired sessions failed", zap.Error(err))
			}
		}
	}
}

// sweep deletes what has expired and reports how many rows that were. It takes
// a transaction for every so many, so that writers get their turn in between.
func (s *Store) sweep() (int, error) {
	total := 0
	for {
		var swept int
		err := s.db.Update(func(tx *bbolt.Tx) (err error) {
			swept, err = sweepRows(tx, s.now().UnixMilli())
			return err
		})
		if err != nil {
			return total, embeddedError("sweep", err)
		}
		total += swept
		if swept < sweepAtOnce {
			return total, nil
		}
		select {
		case <-s.stop:
			return total, nil
		default:
		}
	}
}

// embeddedError makes an error of the file one of the contract.
func embeddedError(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("embedded store: %s: %w: %w", operation, session.ErrUnavailable, err)
}

// Interface guards.
var (
	_ session.Store = (*Store)(nil)
)
