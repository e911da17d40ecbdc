package login

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"golang.org/x/crypto/bcrypt"
)

// Bounds on the work that one comparison may ask for. An accounts file is
// trusted, but a slip of the finger in it must not let each sign-in take a
// minute, or all of the memory.
const (
	maxBcryptCost    = 16         // about 4 s a try; `caddy hash-password` uses 14
	maxArgon2Memory  = 256 * 1024 // KiB; `caddy hash-password` uses 46 MiB
	maxArgon2Time    = 16         // passes over the memory
	maxArgon2Threads = 16
	// maxArgon2Work bounds passes times KiB: 1 GiB to write is about 1 s.
	maxArgon2Work = 1024 * 1024
)

// bcryptMaxPassword is how many bytes of a password bcrypt looks at. Nothing
// longer can have been hashed (x/crypto refuses to), so nothing longer is ever
// right; comparing would cut it and accept a right beginning.
const bcryptMaxPassword = 72

var errHash = errors.New("not a password hash as `caddy hash-password` prints it")

// hash is one parsed password hash.
type hash struct {
	encoded  []byte
	comparer caddyauth.Comparer
	// longest is how many bytes a password may have at most.
	longest int
	// params names the algorithm and its cost: two hashes with equal params
	// take equally long to compare.
	params string
}

// matches does the work of comparing, whatever comes of it.
func (h hash) matches(password string) bool {
	right, err := h.comparer.Compare(h.encoded, []byte(password))
	return right && err == nil && len(password) <= h.longest
}

// fake returns a hash with the same params that no known password matches: it
// differs in the first character behind the last $, which belongs to the salt of
// bcrypt and to the key of Argon2id. Caddy's FakeHash has one cost only.
func (h hash) fake() hash {
	h.encoded = bytes.Clone(h.encoded)
	if first := &h.encoded[bytes.LastIndexByte(h.encoded, '$')+1]; *first == 'A' {
		*first = 'B'
	} else {
		*first = 'A'
	}
	return h
}

// parseHash reads a hash. Its errors do not repeat it.
func parseHash(s string) (hash, error) {
	switch {
	case strings.HasPrefix(s, "$2"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon2id(s)
	default:
		return hash{}, errHash
	}
}

// bcryptLen is the length of every bcrypt hash: "$2a$14$", 22 characters of
// salt, 31 of hash.
const bcryptLen = 60

const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func parseBcrypt(s string) (hash, error) {
	// x/crypto compares a hash of any length, and would take one that lost its
	// end when it was pasted for one that no password matches.
	if len(s) != bcryptLen || s[6] != '$' || strings.Trim(s[7:], bcryptAlphabet) != "" {
		return hash{}, errHash
	}
	if v := s[:4]; v != "$2a$" && v != "$2b$" && v != "$2y$" {
		return hash{}, errHash
	}
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil {
		return hash{}, errHash
	}
	if cost > maxBcryptCost {
		return hash{}, fmt.Errorf("bcrypt cost %d is over %d: each try would take many seconds", cost, maxBcryptCost)
	}
	return hash{
		encoded: []byte(s), comparer: caddyauth.BcryptHash{}, longest: bcryptMaxPassword,
		params: fmt.Sprintf("bcrypt %d", cost),
	}, nil
}

// parseArgon2id reads the PHC string format, as RFC 9106's authors write it:
// $argon2id$v=19$m=47104,t=1,p=1$<salt>$<key>.
func parseArgon2id(s string) (hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || strings.Count(parts[3], ",") != 2 {
		return hash{}, errHash
	}
	if parts[2] != "v=19" {
		return hash{}, errors.New("argon2id version is not 19")
	}
	// Caddy's DecodeHash bounds no cost and tells none. It does refuse what Sscanf
	// lets pass: spaces, and what follows the last number.
	var memory, time uint32
	var threads uint8
	_, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads)
	if err != nil || time < 1 || time > maxArgon2Time || threads < 1 || threads > maxArgon2Threads ||
		memory > maxArgon2Memory || memory < 8*uint32(threads) || memory*time > maxArgon2Work {
		return hash{}, fmt.Errorf("argon2id cost is out of bounds (m up to %d, t up to %d, p up to %d, m*t up to %d)",
			maxArgon2Memory, maxArgon2Time, maxArgon2Threads, maxArgon2Work)
	}
	_, key, err := caddyauth.DecodeHash([]byte(s))
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	// RFC 9106, section 3.1: 8 bytes of salt at least. A key of less than 16
	// bytes could be met by chance.
	if err != nil || errSalt != nil || len(salt) < 8 || len(salt) > 64 || len(key) < 16 || len(key) > 128 {
		return hash{}, errHash
	}
	return hash{
		encoded: []byte(s), comparer: caddyauth.Argon2idHash{}, longest: MaxPassword,
		params: fmt.Sprintf("argon2id %d %d %d %d", memory, time, threads, len(key)),
	}, nil
}
