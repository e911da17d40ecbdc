// This file holds the password hashes that `caddy hash-password` prints: how
// they are read, and how a password is compared with one.

package login

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
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
type hash interface {
	// matches does the work of comparing, whatever comes of it.
	matches(password string) bool
	// params names the algorithm and its cost: two hashes with equal params
	// take equally long to compare.
	params() string
	// fake returns a hash with the same params that no password matches.
	fake() hash
}

// parseHash reads a hash. Its errors do not repeat it.
func parseHash(s string) (hash, error) {
	switch {
	case strings.HasPrefix(s, "$2"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon2id(s)
	default:
		return nil, errHash
	}
}

type bcryptHash struct {
	encoded []byte
	cost    int
}

// bcryptLen is the length of every bcrypt hash: "$2a$14$", 22 characters of
// salt, 31 of hash.
const bcryptLen = 60

const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func parseBcrypt(s string) (hash, error) {
	// x/crypto compares a hash of any length, and would take one that lost its
	// end when it was pasted for one that no password matches.
	if len(s) != bcryptLen || s[6] != '$' || strings.Trim(s[7:], bcryptAlphabet) != "" {
		return nil, errHash
	}
	if v := s[:4]; v != "$2a$" && v != "$2b$" && v != "$2y$" {
		return nil, errHash
	}
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil {
		return nil, errHash
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("bcrypt cost %d is over %d: each try would take many seconds", cost, maxBcryptCost)
	}
	return bcryptHash{encoded: []byte(s), cost: cost}, nil
}

func (h bcryptHash) matches(password string) bool {
	right := bcrypt.CompareHashAndPassword(h.encoded, []byte(password)) == nil
	return right && len(password) <= bcryptMaxPassword
}

func (h bcryptHash) params() string { return fmt.Sprintf("bcrypt %d", h.cost) }

func (h bcryptHash) fake() hash { return fakeBcrypt(h.cost) }

func fakeBcrypt(cost int) hash {
	// Random bytes instead of a hash of something: nobody knows a password that
	// gives them, and the caller looks at whether the name is known anyhow.
	random := make([]byte, bcryptLen-7)
	_, _ = rand.Read(random) // never fails since Go 1.24
	for i, b := range random {
		random[i] = bcryptAlphabet[b%64]
	}
	return bcryptHash{encoded: fmt.Appendf(nil, "$2a$%02d$%s", cost, random), cost: cost}
}

// argon2idHash is in the PHC string format, as RFC 9106's authors write it:
// $argon2id$v=19$m=47104,t=1,p=1$<salt>$<key>.
type argon2idHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

func parseArgon2id(s string) (hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 {
		return nil, errHash
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("argon2id version is not %d", argon2.Version)
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return nil, errHash
	}
	memory, okM := number(costs[0], "m=", maxArgon2Memory)
	time, okT := number(costs[1], "t=", maxArgon2Time)
	threads, okP := number(costs[2], "p=", maxArgon2Threads)
	if !okM || !okT || !okP || memory < 8*threads || memory*time > maxArgon2Work {
		return nil, fmt.Errorf("argon2id cost is out of bounds (m up to %d, t up to %d, p up to %d, m*t up to %d)",
			maxArgon2Memory, maxArgon2Time, maxArgon2Threads, maxArgon2Work)
	}
	salt, errSalt := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	// RFC 9106, section 3.1: 8 bytes of salt at least. A key of less than 16
	// bytes could be met by chance.
	if errSalt != nil || errKey != nil || len(salt) < 8 || len(salt) > 64 || len(key) < 16 || len(key) > 128 {
		return nil, errHash
	}
	return argon2idHash{
		memory: uint32(memory), time: uint32(time), threads: uint8(threads),
		salt: salt, key: key,
	}, nil
}

// number reads prefix and then a number between 1 and limit.
func number(s, prefix string, limit uint64) (uint64, bool) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return n, err == nil && n >= 1 && n <= limit
}

func (h argon2idHash) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

func (h argon2idHash) params() string {
	return fmt.Sprintf("argon2id %d %d %d %d", h.memory, h.time, h.threads, len(h.key))
}

func (h argon2idHash) fake() hash {
	h.salt, h.key = make([]byte, len(h.salt)), make([]byte, len(h.key))
	_, _ = rand.Read(h.salt) // never fails since Go 1.24
	_, _ = rand.Read(h.key)
	return h
}
