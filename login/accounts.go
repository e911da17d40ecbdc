package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-logout/caddy-logout/internal/person"
)

// Limits on an accounts file and on what is typed into a sign-in form.
const (
	// MaxFile is the most bytes that an accounts file may have: about 10,000
	// accounts. For more, use a login service.
	MaxFile = 1 << 20
	// MaxName is the most bytes that the name of an account may have.
	MaxName = 256
	// MaxTraits is the most bytes that the traits of an account may have.
	MaxTraits = 16 << 10
	// MaxPassword is the most bytes of a password that are looked at. A longer
	// one is wrong. With bcrypt the limit is 72 bytes, as everywhere.
	MaxPassword = 1024
)

// Errors of [Accounts.Verify].
var (
	// ErrWrong says that there is no such account, or that the password is
	// wrong. Which of the two is not said, nor shown by the time it takes.
	ErrWrong = errors.New("wrong name or password")
	// ErrBusy says that too many passwords are being compared at this moment.
	ErrBusy = errors.New("too many sign-ins at once")
)

// maxWait is how long a sign-in waits for its turn to compare a password.
const maxWait = 10 * time.Second

// turns bounds how many passwords are compared at a time, in the whole process:
// at half of the processors, so that a flood of sign-ins slows down sign-ins,
// and nothing else that this process does.
var turns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// Account is a person who may sign in.
type Account struct {
	// Name is what the person types, and the identity of their sessions.
	Name string
	// Traits is a JSON object about the person, nil if the file gives none.
	Traits json.RawMessage

	hash hash
}

// Accounts is a parsed accounts file. It does not change, and is safe for
// concurrent use.
type Accounts struct {
	byName map[string]Account
	// stranger is compared with when the name is unknown.
	stranger hash
}

// ParseAccounts reads an accounts file: one account a line, name:hash or
// name:hash:{"email":"…"}, where hash is what `caddy hash-password` prints and
// what follows it is a JSON object of traits. Blank lines and lines that begin
// with # are skipped. The file's name is only used in errors; these name the
// line, but never show what it holds.
func ParseAccounts(file string, r io.Reader) (*Accounts, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("accounts file %s is over %d bytes", file, MaxFile)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors begin a file with it

	accounts := &Accounts{byName: make(map[string]Account)}
	lines := make(map[string]int)
	costs := make(map[string]int)
	most := 0
	number := 0
	for raw := range strings.Lines(string(text)) {
		number++
		line := strings.TrimSpace(raw)
		if line == "" || line[0] == '#' {
			continue
		}
		account, err := parseAccount(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		if first, taken := lines[account.Name]; taken {
			return nil, fmt.Errorf("%s:%d: the name is taken by line %d", file, number, first)
		}
		lines[account.Name] = number
		accounts.byName[account.Name] = account

		// Strangers are answered as slowly as most of those who are known.
		params := account.hash.params
		if costs[params]++; costs[params] > most {
			most = costs[params]
			accounts.stranger = account.hash.fake()
		}
	}
	if most == 0 {
		stranger, err := parseBcrypt(string(caddyauth.BcryptHash{}.FakeHash()))
		if err != nil {
			return nil, fmt.Errorf("the fake hash of Caddy: %w", err)
		}
		accounts.stranger = stranger.fake()
	}
	return accounts, nil
}

func parseAccount(line string) (Account, error) {
	if !utf8.ValidString(line) {
		return Account{}, errors.New("not UTF-8")
	}
	name, rest, ok := strings.Cut(line, ":")
	if !ok {
		return Account{}, errors.New("want name:hash or name:hash:{traits}")
	}
	if err := checkName(name); err != nil {
		return Account{}, err
	}
	encoded, traits, hasTraits := strings.Cut(rest, ":")
	hash, err := parseHash(encoded)
	if err != nil {
		return Account{}, err
	}
	account := Account{Name: name, hash: hash}
	if !hasTraits {
		return account, nil
	}
	// A syntax error of encoding/json names a character of the line: the error leaves
	// it out.
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(traits), &object) != nil || object == nil {
		return Account{}, errors.New("what follows the hash is not a JSON object")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(traits)); err != nil {
		return Account{}, errors.New("what follows the hash is not a JSON object")
	}
	if compact.Len() > MaxTraits {
		return Account{}, fmt.Errorf("the traits are over %d bytes", MaxTraits)
	}
	if err := person.CheckTraits(compact.Bytes()); err != nil {
		return Account{}, fmt.Errorf("the traits: %w", err)
	}
	account.Traits = compact.Bytes()
	return account, nil
}

func checkName(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("the name is over %d bytes", MaxName)
	}
	if err := person.CheckIdentity(name); err != nil {
		return fmt.Errorf("the name %w", err)
	}
	return nil
}

// Names returns the names of all accounts, in no order.
func (a *Accounts) Names() []string { return slices.Collect(maps.Keys(a.byName)) }

// Len returns how many accounts there are.
func (a *Accounts) Len() int { return len(a.byName) }

// Has reports whether there is an account of that name. The result must not be
// shown at sign-in.
func (a *Accounts) Has(name string) bool {
	_, ok := a.byName[name]
	return ok
}

// Verify returns the account of that name if the password is right, [ErrWrong] if
// not, [ErrBusy] if its turn did not come in 10 seconds, and the context's error if
// that ended first. An unknown name takes the same work as a known one whose hash has
// the cost that most hashes of the file have: keep to one cost, else a client can
// tell the odd ones from strangers by the response time.
func (a *Accounts) Verify(ctx context.Context, name, password string) (Account, error) {
	wait := time.NewTimer(maxWait)
	defer wait.Stop()
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-wait.C:
		return Account{}, ErrBusy
	case <-ctx.Done():
		return Account{}, ctx.Err()
	}

	account, known := a.byName[name]
	compare := a.stranger
	if known {
		compare = account.hash
	}
	fits := len(password) <= MaxPassword
	if !fits {
		// Not skipped but cut: the time it takes must not tell that argon2id is
		// at work, nor that the name is known.
		password = password[:MaxPassword]
	}
	if right := compare.matches(password); !right || !known || !fits {
		return Account{}, ErrWrong
	}
	return account, nil
}
