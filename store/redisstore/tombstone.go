package redisstore

import (
	"encoding/json"
	"time"
)

// tombstoneTime is how a tombstone and nothing else writes a time: RFC 3339 with
// milliseconds.
const tombstoneTime = "2006-01-02T15:04:05.000Z07:00"

// tombstone is the value of a tombstone.
type tombstone struct {
	RevokedAt string `json:"revoked_at"`
}

// encodeTombstone returns the value of a tombstone, of version 1.
func encodeTombstone(at time.Time) []byte {
	value := append(make([]byte, 0, 64), `{"v":1,"revoked_at":"`...)
	return append(at.UTC().AppendFormat(value, tombstoneTime), `"}`...)
}

// readTombstone returns the time of a tombstone. Whatever is under its key, it is
// a tombstone: one that was set by hand and cannot be read is as old as can be.
func readTombstone(value string) time.Time {
	var t tombstone
	if json.Unmarshal([]byte(value), &t) == nil {
		if at, err := time.Parse(time.RFC3339, t.RevokedAt); err == nil && !at.IsZero() {
			return at.UTC()
		}
	}
	return time.Unix(0, 0).UTC()
}
