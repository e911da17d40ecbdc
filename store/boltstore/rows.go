package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-logout/caddy-logout/session"
)

// rowKind is a kind of row; each has a bucket of its own.
type rowKind byte

// The kinds of rows. The numbers are in the file: they stay.
const (
	rowSession   rowKind = 1 // key → encoded session
	rowTombstone rowKind = 2 // key → time of revocation
	rowUse       rowKind = 3 // key → time of last use
	rowIndex     rowKind = 4 // indexName → nothing
	rowError     rowKind = 5 // id → encoded error
)

// rowBuckets are the buckets by kind. In each, a row is 8 bytes of when it ends
// followed by its value. Times are milliseconds since 1970, big-endian.
var rowBuckets = map[rowKind][]byte{
	rowSession:   []byte("sessions"),
	rowTombstone: []byte("tombstones"),
	rowUse:       []byte("uses"),
	rowIndex:     []byte("identities"),
	rowError:     []byte("errors"),
}

var (
	// endsBucket has one entry a row, named end + kind + name of the row: in
	// the order in which rows end.
	endsBucket = []byte("ends")
	// metaBucket says how the file is laid out.
	metaBucket = []byte("meta")
	layoutName = []byte("layout")
	layout     = []byte("1")
)

const (
	timeSize = 8
	// sweepAtOnce is how many rows are swept in one transaction: a few
	// milliseconds for those who wait to write.
	sweepAtOnce = 500
)

// makeBuckets makes a new file ready, and refuses one of another layout.
func makeBuckets(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	switch found := meta.Get(layoutName); {
	case found == nil:
		if err := meta.Put(layoutName, layout); err != nil {
			return fmt.Errorf("write layout: %w", err)
		}
	case string(found) != string(layout):
		return errors.New("the file was made by a newer version of caddy-logout")
	}
	if _, err := tx.CreateBucketIfNotExists(endsBucket); err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	for _, name := range rowBuckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("make bucket: %w", err)
		}
	}
	return nil
}

// readRow returns the value of a row, valid until the transaction ends. A row
// that has expired is not there, swept or not.
func readRow(tx *bbolt.Tx, kind rowKind, name []byte, now int64) ([]byte, bool) {
	row := tx.Bucket(rowBuckets[kind]).Get(name)
	if len(row) < timeSize || decodeTime(row).UnixMilli() <= now {
		return nil, false
	}
	return row[timeSize:], true
}

// rowEnd returns when a row ends, zero if it is not there.
func rowEnd(tx *bbolt.Tx, kind rowKind, name []byte) time.Time {
	row := tx.Bucket(rowBuckets[kind]).Get(name)
	if len(row) < timeSize {
		return time.Time{}
	}
	return decodeTime(row)
}

// writeRow stores a row in place of the one of that name.
func writeRow(tx *bbolt.Tx, kind rowKind, name []byte, end time.Time, value []byte) error {
	if err := deleteRow(tx, kind, name); err != nil {
		return err
	}
	row := append(encodeTime(end), value...)
	if err := tx.Bucket(rowBuckets[kind]).Put(name, row); err != nil {
		return fmt.Errorf("write row: %w", err)
	}
	if err := tx.Bucket(endsBucket).Put(endName(row[:timeSize], kind, name), nil); err != nil {
		return fmt.Errorf("write end of row: %w", err)
	}
	return nil
}

// deleteRow deletes a row, if it is there, and the entry of its end.
func deleteRow(tx *bbolt.Tx, kind rowKind, name []byte) error {
	bucket := tx.Bucket(rowBuckets[kind])
	row := bucket.Get(name)
	if len(row) < timeSize {
		return nil
	}
	if err := tx.Bucket(endsBucket).Delete(endName(row[:timeSize], kind, name)); err != nil {
		return fmt.Errorf("delete end of row: %w", err)
	}
	if err := bucket.Delete(name); err != nil {
		return fmt.Errorf("delete row: %w", err)
	}
	return nil
}

// sweepRows deletes up to sweepAtOnce rows that have expired.
func sweepRows(tx *bbolt.Tx, now int64) (int, error) {
	// Deleting moves a bbolt cursor in ways that skip entries: collect first.
	var expired [][]byte
	cursor := tx.Bucket(endsBucket).Cursor()
	for end, _ := cursor.First(); end != nil && len(expired) < sweepAtOnce; end, _ = cursor.Next() {
		if len(end) > timeSize && decodeTime(end).UnixMilli() > now {
			break
		}
		expired = append(expired, append([]byte(nil), end...))
	}
	for _, end := range expired {
		if err := tx.Bucket(endsBucket).Delete(end); err != nil {
			return 0, fmt.Errorf("delete end of row: %w", err)
		}
		if len(end) <= timeSize {
			continue
		}
		bucket, name := tx.Bucket(rowBuckets[rowKind(end[timeSize])]), end[timeSize+1:]
		if bucket == nil || !bytes.HasPrefix(bucket.Get(name), end[:timeSize]) {
			continue
		}
		if err := bucket.Delete(name); err != nil {
			return 0, fmt.Errorf("delete row: %w", err)
		}
	}
	return len(expired), nil
}

// indexedKeys lists what the index of identity holds.
func indexedKeys(tx *bbolt.Tx, identity string, now int64) []session.IndexedKey {
	prefix := indexName(identity, session.Key{})
	prefix = prefix[:len(prefix)-len(session.Key{})]
	var keys []session.IndexedKey
	cursor := tx.Bucket(rowBuckets[rowIndex]).Cursor()
	for name, row := cursor.Seek(prefix); len(name) == len(prefix)+len(session.Key{}) &&
		string(name[:len(prefix)]) == string(prefix); name, row = cursor.Next() {
		if len(row) >= timeSize && decodeTime(row).UnixMilli() > now {
			keys = append(keys, session.IndexedKey{Key: session.Key(name[len(prefix):]), ExpiresAt: decodeTime(row)})
		}
	}
	return keys
}

// indexName names the entry of key in the index of identity. The length comes
// first, so that no identity's entries can look like another's, whatever bytes
// their names are made of.
func indexName(identity string, key session.Key) []byte {
	name := make([]byte, 0, 4+len(identity)+len(key))
	name = binary.BigEndian.AppendUint32(name, uint32(len(identity)))
	name = append(name, identity...)
	return append(name, key[:]...)
}

func endName(end []byte, kind rowKind, name []byte) []byte {
	entry := make([]byte, 0, timeSize+1+len(name))
	entry = append(entry, end...)
	entry = append(entry, byte(kind))
	return append(entry, name...)
}

// encodeTime writes a time as the file holds it. Times before 1970 have long
// expired and are all the same.
func encodeTime(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(t.UnixMilli(), 0)))
}

// decodeTime reads a time from the first 8 bytes of b.
func decodeTime(b []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()
}

// revokeRows writes the tombstone of a key and deletes what belongs to its
// session, and reports whether there was one.
func revokeRows(tx *bbolt.Tx, key session.Key, identity string, at, until time.Time, now int64) (bool, error) {
	_, ended := readRow(tx, rowSession, key[:], now)
	tombstone, last := encodeTime(at), until
	if first, ok := readRow(tx, rowTombstone, key[:], now); ok {
		tombstone = bytes.Clone(first)
		if end := rowEnd(tx, rowTombstone, key[:]); end.After(last) {
			last = end
		}
	}
	return ended, errors.Join(
		writeRow(tx, rowTombstone, key[:], last, tombstone),
		deleteRow(tx, rowSession, key[:]),
		deleteRow(tx, rowUse, key[:]),
		deleteRow(tx, rowIndex, indexName(identity, key)),
	)
}
