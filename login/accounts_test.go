package login

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// quick returns a bcrypt hash of the least cost.
func quick(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func quickArgon2id(password string) string {
	salt := []byte("sixteen bytes ok")
	key := argon2.IDKey([]byte(password), salt, 1, 64, 1, 32)
	return fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s",
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// Printed by `caddy hash-password`, for the password "antitiming".
const (
	caddyBcrypt   = "$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6"
	caddyArgon2id = "$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"
)

func TestParseAccounts(t *testing.T) {
	salt := "c2l4dGVlbiBieXRlcyBvaw"
	key := "xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"
	tests := []struct {
		name, text string
		want       int
		wantErr    string
	}{
		{name: "nothing", text: ""},
		{name: "comments and blank lines", text: "# people\n\n   \n  # more\n"},
		{name: "bcrypt", text: "alice:" + caddyBcrypt, want: 1},
		{name: "bcrypt of other tools", text: "a:$2b$14$" + caddyBcrypt[7:] + "\nb:$2y$14$" + caddyBcrypt[7:], want: 2},
		{name: "argon2id", text: "alice:" + caddyArgon2id + "\n", want: 1},
		{name: "traits", text: `alice:` + caddyArgon2id + `:{"email":"a@example.com","name":{"first":"A: b"}}`, want: 1},
		{name: "empty traits", text: "alice:" + caddyBcrypt + ":{}", want: 1},
		{name: "an e-mail address as name", text: "alice@example.com:" + caddyBcrypt, want: 1},
		{name: "windows line ends and mark", text: "\ufeffalice:" + caddyBcrypt + "\r\nbob:" + caddyBcrypt + "\r\n", want: 2},
		{name: "name of 256 bytes", text: strings.Repeat("n", 256) + ":" + caddyBcrypt, want: 1},

		{name: "no colon", text: "\nhunter2secret", wantErr: "people.txt:2: want name:hash"},
		{name: "no name", text: ":" + caddyBcrypt, wantErr: "people.txt:1: the name is empty"},
		{name: "no hash", text: "alice:", wantErr: "people.txt:1: not a password hash"},
		{name: "password in clear", text: "alice:hunter2secret", wantErr: "not a password hash"},
		{name: "unknown algorithm", text: "alice:$6$hunter2secret", wantErr: "not a password hash"},
		{name: "space before the colon", text: "alice :" + caddyBcrypt, wantErr: "ends with a space"},
		{name: "replacement character", text: "al\ufffdice:" + caddyBcrypt, wantErr: "U+FFFD"},
		{name: "traits of 17 KiB", text: "alice:" + caddyBcrypt + `:{"a":"` + strings.Repeat("a", 17<<10) + `"}`, wantErr: "over 16384 bytes"},
		{name: "control character", text: "al\x00ice:" + caddyBcrypt, wantErr: "control character"},
		{name: "name of 257 bytes", text: strings.Repeat("n", 257) + ":" + caddyBcrypt, wantErr: "over 256 bytes"},
		{name: "invalid UTF-8", text: "al\xffice:" + caddyBcrypt, wantErr: "not UTF-8"},
		{name: "same name twice", text: "alice:" + caddyBcrypt + "\n#\nalice:" + caddyArgon2id, wantErr: "people.txt:3: the name is taken by line 1"},
		{name: "bcrypt cut short", text: "alice:" + caddyBcrypt[:59], wantErr: "not a password hash"},
		{name: "bcrypt too long", text: "alice:" + caddyBcrypt + "a", wantErr: "not a password hash"},
		{name: "bcrypt with a strange character", text: "alice:" + caddyBcrypt[:59] + "!", wantErr: "not a password hash"},
		{name: "bcrypt without a cost", text: "alice:$2a$xx$" + caddyBcrypt[7:], wantErr: "not a password hash"},
		{name: "bcrypt cost too low", text: "alice:$2a$03$" + caddyBcrypt[7:], wantErr: "not a password hash"},
		{name: "bcrypt cost too high", text: "alice:$2a$17$" + caddyBcrypt[7:], wantErr: "bcrypt cost 17 is over 16"},
		{name: "bcrypt of an old version", text: "alice:$2x$14$" + caddyBcrypt[7:], wantErr: "not a password hash"},
		{name: "argon2id without a key", text: "alice:$argon2id$v=19$m=64,t=1,p=1$" + salt, wantErr: "not a password hash"},
		{name: "argon2id of another version", text: "alice:$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + key, wantErr: "version is not 19"},
		{name: "argon2id without passes", text: "alice:$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id without threads", text: "alice:$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with too much memory", text: "alice:$argon2id$v=19$m=262145,t=1,p=1$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with too much work", text: "alice:$argon2id$v=19$m=262144,t=5,p=1$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with two costs", text: "alice:$argon2id$v=19$m=64,t=1$" + salt + "$" + key, wantErr: "not a password hash"},
		{name: "argon2id costs in another order", text: "alice:$argon2id$v=19$t=1,m=64,p=1$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with something after the costs", text: "alice:$argon2id$v=19$m=64,t=1,p=1x$" + salt + "$" + key, wantErr: "not a password hash"},
		{name: "argon2id with a sign", text: "alice:$argon2id$v=19$m=+64,t=1,p=1$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with a space", text: "alice:$argon2id$v=19$m= 64,t=1,p=1$" + salt + "$" + key, wantErr: "not a password hash"},
		{name: "argon2id without names of costs", text: "alice:$argon2id$v=19$64,1,1$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with too many threads", text: "alice:$argon2id$v=19$m=4096,t=1,p=257$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with less memory than its threads need", text: "alice:$argon2id$v=19$m=64,t=1,p=9$" + salt + "$" + key, wantErr: "out of bounds"},
		{name: "argon2id with a short key", text: "alice:$argon2id$v=19$m=64,t=1,p=1$" + salt + "$AAAA", wantErr: "not a password hash"},
		{name: "argon2id with a short salt", text: "alice:$argon2id$v=19$m=64,t=1,p=1$AAAA$" + key, wantErr: "not a password hash"},
		{name: "argon2i", text: "alice:$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + key, wantErr: "not a password hash"},
		{name: "traits that are not an object", text: "alice:" + caddyBcrypt + `:"hunter2secret"`, wantErr: "not a JSON object"},
		{name: "traits that are null", text: "alice:" + caddyBcrypt + ":null", wantErr: "not a JSON object"},
		{name: "traits cut short", text: "alice:" + caddyBcrypt + `:{"hunter2secret":`, wantErr: "not a JSON object"},
		{name: "empty traits field", text: "alice:" + caddyBcrypt + ":", wantErr: "not a JSON object"},
		{name: "too large", text: strings.Repeat("#\n", MaxFile/2+1), wantErr: "over 1048576 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			accounts, err := ParseAccounts("people.txt", strings.NewReader(test.text))
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error is %v, want one with %q", err, test.wantErr)
				}
				if strings.Contains(err.Error(), "hunter2secret") || strings.Contains(err.Error(), caddyBcrypt[7:30]) {
					t.Fatalf("the error shows what the line holds: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if accounts.Len() != test.want {
				t.Errorf("got %d accounts, want %d", accounts.Len(), test.want)
			}
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestParseAccountsReadError(t *testing.T) {
	if _, err := ParseAccounts("people.txt", brokenReader{}); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("error is %v, want that of the reader", err)
	}
}

func TestVerify(t *testing.T) {
	long := strings.Repeat("p", bcryptMaxPassword)
	huge := strings.Repeat("p", MaxPassword)
	accounts, err := ParseAccounts("people.txt", strings.NewReader(strings.Join([]string{
		`alice:` + quick(t, "correct horse") + `: { "email" : "alice@example.com" }`,
		`bob@example.com:` + quickArgon2id("staple"),
		`long:` + quick(t, long),
		`huge:` + quickArgon2id(huge),
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, account, password string
		right                   bool
	}{
		{"bcrypt", "alice", "correct horse", true},
		{"argon2id", "bob@example.com", "staple", true},
		{"wrong bcrypt password", "alice", "correct horsf", false},
		{"wrong argon2id password", "bob@example.com", "stapler", false},
		{"password of another", "alice", "staple", false},
		{"no password", "alice", "", false},
		{"unknown name", "carol", "correct horse", false},
		{"no name", "", "correct horse", false},
		{"another case", "Alice", "correct horse", false},
		{"72 bytes", "long", long, true},
		{"bcrypt looks at 72 bytes, we at all", "long", long + "x", false},
		{"1024 bytes", "huge", huge, true},
		{"1025 bytes", "huge", huge + "p", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			account, err := accounts.Verify(t.Context(), test.account, test.password)
			switch {
			case test.right && err != nil:
				t.Fatal(err)
			case test.right && account.Name != test.account:
				t.Errorf("got account %q, want %q", account.Name, test.account)
			case !test.right && !errors.Is(err, ErrWrong):
				t.Errorf("error is %v, want ErrWrong", err)
			case !test.right && account.Name != "":
				t.Errorf("an account came with the error")
			}
		})
	}

	account, err := accounts.Verify(t.Context(), "alice", "correct horse")
	if err != nil || string(account.Traits) != `{"email":"alice@example.com"}` {
		t.Errorf("traits are %s (%v), want them compacted", account.Traits, err)
	}
	if !accounts.Has("alice") || accounts.Has("carol") {
		t.Error("Has does not tell who has an account")
	}
}

// TestHashesOfCaddy compares with what the command of Caddy printed.
func TestHashesOfCaddy(t *testing.T) {
	for name, encoded := range map[string]string{
		// --bcrypt-cost 4, since the race detector makes 14 take ten seconds.
		"bcrypt": "$2a$04$ujjCiVP3Dn.94XICR88mxu3vPeXYu6qbtMLQOqnGPelGn6xsyykX6", "argon2id": caddyArgon2id,
	} {
		t.Run(name, func(t *testing.T) {
			h, err := parseHash(encoded)
			if err != nil {
				t.Fatal(err)
			}
			if !h.matches("antitiming") {
				t.Error("the right password is wrong")
			}
		})
	}
}

// TestStrangerCost checks that an unknown name costs what most names cost.
func TestStrangerCost(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no accounts", "", "bcrypt 14"},
		{"one", "a:" + caddyArgon2id, "argon2id 47104 1 1 32"},
		{"most are bcrypt", "a:" + caddyArgon2id + "\nb:" + caddyBcrypt + "\nc:" + caddyBcrypt, "bcrypt 14"},
		{"most are argon2id", "a:" + caddyBcrypt + "\nb:" + caddyArgon2id + "\nc:" + caddyArgon2id, "argon2id 47104 1 1 32"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			accounts, err := ParseAccounts("people.txt", strings.NewReader(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := accounts.stranger.params; got != test.want {
				t.Errorf("a stranger costs %q, want %q", got, test.want)
			}
			// A fake that Caddy cannot read would be answered at once.
			if _, err := parseHash(string(accounts.stranger.encoded)); err != nil {
				t.Errorf("the fake is no hash: %v", err)
			}
		})
	}
}

// TestFakes checks that a fake has the params of what it stands for, and that the
// password of that does not match it.
func TestFakes(t *testing.T) {
	for name, encoded := range map[string]string{
		"bcrypt": quick(t, "antitiming"), "argon2id": quickArgon2id("antitiming"),
		"a salt that begins with A": "$2a$04$A" + quick(t, "antitiming")[8:],
	} {
		t.Run(name, func(t *testing.T) {
			h, err := parseHash(encoded)
			if err != nil {
				t.Fatal(err)
			}
			fake, err := parseHash(string(h.fake().encoded))
			if err != nil {
				t.Fatal(err)
			}
			if fake.params != h.params {
				t.Errorf("the fake costs %q, not %q", fake.params, h.params)
			}
			if string(fake.encoded) == encoded || fake.matches("antitiming") {
				t.Error("the fake is no fake")
			}
		})
	}
}

// BenchmarkCompare compares the right password with a hash of usual cost, and with
// one of the least, where what is done besides shows.
func BenchmarkCompare(b *testing.B) {
	for _, bench := range []struct{ name, encoded string }{
		{"bcrypt-14", caddyBcrypt},
		{"bcrypt-4", quick(b, "antitiming")},
		{"argon2id-46MiB", caddyArgon2id},
		{"argon2id-64KiB", quickArgon2id("antitiming")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h, err := parseHash(bench.encoded)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if !h.matches("antitiming") {
					b.Fatal("the right password is wrong")
				}
			}
		})
	}
}

func TestVerifyWaitsForItsTurn(t *testing.T) {
	accounts, err := ParseAccounts("people.txt", strings.NewReader("alice:"+quick(t, "correct horse")))
	if err != nil {
		t.Fatal(err)
	}
	for range cap(turns) {
		turns <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := accounts.Verify(ctx, "alice", "correct horse"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v while all turns are taken, want the context's", err)
	}

	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = accounts.Verify(t.Context(), "alice", "correct horse") })
	}
	for range cap(turns) {
		<-turns
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("whoever waited was refused: %v", err)
	}
	if len(turns) != 0 {
		t.Errorf("%d turns were not given back", len(turns))
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add("alice:" + caddyBcrypt)
	f.Add("# x\nalice:" + caddyArgon2id + `:{"email":"a@example.com"}` + "\r\n")
	f.Add("\ufeffa:$2a$04$:{}\n:::")
	f.Add("a:$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		accounts, err := ParseAccounts("people.txt", strings.NewReader(text))
		if err != nil {
			if accounts != nil {
				t.Fatal("accounts came with an error")
			}
			return
		}
		for name, account := range accounts.byName {
			if name == "" || len(name) > MaxName || name != account.Name || account.hash.comparer == nil {
				t.Fatalf("account %q should not be there", name)
			}
			var memory, time uint64
			_, err := fmt.Sscanf(account.hash.params, "argon2id %d %d", &memory, &time)
			if err == nil && (memory == 0 || time == 0 || memory*time > maxArgon2Work) {
				t.Fatal("a comparison may take for ever")
			}
			if account.Traits != nil && account.Traits[0] != '{' {
				t.Fatal("traits are no object")
			}
		}
	})
}
