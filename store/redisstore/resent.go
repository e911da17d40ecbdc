// If the connection breaks after Redis has run a SET and before it answers, the library
// sends the SET again. The two replies are told apart by the value.

package redisstore

import (
	"bytes"
	"context"
	"encoding"
)

// sentValue is the value of a SET with NX. It counts how often the library wrote
// it to a connection. Redis answers the second SET that the key is taken, which may
// be the work of the first.
type sentValue struct {
	bytes []byte
	times int
}

// MarshalBinary is called for each time that the command is sent.
func (v *sentValue) MarshalBinary() ([]byte, error) {
	v.times++
	return v.bytes, nil
}

// isOwn reports whether a key that a SET found taken was taken by an earlier
// sending of the same SET.
func (s *Store) isOwn(ctx context.Context, name string, v *sentValue) (bool, error) {
	if v.times < 2 {
		return false, nil
	}
	held, err := s.client.Get(ctx, name).Bytes()
	if err != nil && !isNil(err) {
		return false, failure("create", err)
	}
	return bytes.Equal(held, v.bytes), nil
}

// Interface guard.
var _ encoding.BinaryMarshaler = (*sentValue)(nil)
