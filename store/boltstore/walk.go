package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/caddy-logout/caddy-logout/session"
)

// walkAtOnce is how many rows are read in one transaction.
const walkAtOnce = 1000

// WalkIdentities implements [Store].
func (s *Store) WalkIdentities(ctx context.Context, found func([]string) error) error {
	last := ""
	return s.walk(ctx, rowIndex, func(names [][]byte) error {
		var identities []string
		for _, name := range names {
			// The rows of one identity stand together.
			if identity, ok := indexedIdentity(name); ok && identity != last {
				last, identities = identity, append(identities, identity)
			}
		}
		return found(identities)
	})
}

// WalkKeys implements [Store].
func (s *Store) WalkKeys(ctx context.Context, found func([]session.Key) error) error {
	return s.walk(ctx, rowSession, func(names [][]byte) error {
		keys := make([]session.Key, 0, len(names))
		for _, name := range names {
			if len(name) == len(session.Key{}) {
				keys = append(keys, session.Key(name))
			}
		}
		return found(keys)
	})
}

// walk calls found with the names of the rows of a kind that have not expired,
// some at a time and outside of any transaction, so that found may write.
func (s *Store) walk(ctx context.Context, kind rowKind, found func(names [][]byte) error) error {
	var names [][]byte
	var next []byte
	for {
		if err := s.view(ctx, "walk", func(tx *bbolt.Tx, now int64) { names, next = someRows(tx, kind, next, now) }); err != nil {
			return err
		}
		if len(names) > 0 {
			if err := found(names); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
	}
}

// someRows returns the names of some rows beginning with from, and the name of
// the row behind them, nil if there is none.
func someRows(tx *bbolt.Tx, kind rowKind, from []byte, now int64) (names [][]byte, next []byte) {
	cursor := tx.Bucket(rowBuckets[kind]).Cursor()
	name, row := cursor.Seek(from)
	for range walkAtOnce {
		if name == nil {
			return names, nil
		}
		if len(row) >= timeSize && decodeTime(row).UnixMilli() > now {
			names = append(names, bytes.Clone(name))
		}
		name, row = cursor.Next()
	}
	return names, bytes.Clone(name)
}

// indexedIdentity returns whose entry of the index a row is, see indexName.
func indexedIdentity(name []byte) (string, bool) {
	const length = 4
	if len(name) < length+len(session.Key{}) {
		return "", false
	}
	identity := name[length : len(name)-len(session.Key{})]
	return string(identity), int(binary.BigEndian.Uint32(name)) == len(identity)
}
