package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// Key names a session in a store: the SHA-256 of its credential. A reader of
// the store learns no credential from it.
type Key [sha256.Size]byte

// KeyOf returns the key of a credential.
func KeyOf(credential string) Key {
	var buf [64]byte // holds ours, so that a check allocates nothing
	return sha256.Sum256(append(buf[:0], credential...))
}

// ParseKey reads the 64 hex digits that [Key.String] prints.
func ParseKey(s string) (Key, error) {
	var key Key
	if len(s) != hex.EncodedLen(len(key)) {
		return Key{}, errors.New("session key: want 64 hex digits")
	}
	if _, err := hex.Decode(key[:], []byte(s)); err != nil {
		return Key{}, errors.New("session key: want 64 hex digits")
	}
	return key, nil
}

// String returns the 64 lower-case hex digits of the key.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Short returns the first 8 hex digits: how logs name a session. They are also
// the first 8 digits of [Key.ID].
func (k Key) Short() string { return hex.EncodeToString(k[:4]) }

// ID returns the session id that goes with the key: a UUID of version 8
// (RFC 9562, section 5.8) made of the first 16 bytes of the key. It is what
// clients and people see; neither the key nor the credential follows from it.
func (k Key) ID() string {
	var b [16]byte
	copy(b[:], k[:16])
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	out := make([]byte, 36)
	hex.Encode(out[0:8], b[0:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:36], b[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out)
}
