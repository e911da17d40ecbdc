package native

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// storedValue is a session as the encoder writes it.
func storedValue(tb testing.TB, key session.Key) []byte {
	tb.Helper()
	at := time.Date(2026, 11, 22, 10, 0, 0, 123_000_000, time.UTC)
	value, err := Format{}.Encode(&session.Session{
		Key: key, ID: key.ID(), Identity: "alice", Method: "password",
		Traits:   json.RawMessage(`{"email":"alice@example.com","name":{"first":"Alice","last":"\u00c4\"}"}}`),
		IssuedAt: at, AuthenticatedAt: at, ExpiresAt: at.Add(24 * time.Hour),
		Device: session.Device{IPAddress: "192.0.2.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// oddValues are values that only one of two readers may get wrong.
func oddValues(tb testing.TB) []string {
	tb.Helper()
	plain := string(storedValue(tb, storetest.NewKey()))
	return []string{
		plain,
		strings.ReplaceAll(strings.ReplaceAll(plain, ",", " , "), ":\"", " : \""),
		`{"v":1,"id":"a","identity":"b","issued_at":"2026-11-22T10:00:00Z","expires_at":"2026-11-23T10:00:00+01:00"}`,
		strings.Replace(plain, "alice", `al\u0069ce`, 1),
		strings.Replace(plain, "alice", "al\xffce", 1),
		strings.Replace(plain, "alice", "al\x00ce", 1),
		strings.Replace(plain, "alice", "älïce", 1),
		strings.Replace(plain, `"identity"`, `"Identity"`, 1),
		strings.Replace(plain, `"identity"`, `"identity":"bob","identity"`, 1),
		strings.Replace(plain, `"identity":"alice"`, `"identity":"alice","IDENTITY":"bob"`, 1),
		strings.Replace(plain, `"identity":"alice"`, `"identity":null`, 1),
		strings.Replace(plain, `"identity":"alice"`, `"identity":1`, 1),
		strings.Replace(plain, `"v":1`, `"v":10`, 1),
		strings.Replace(plain, `"v":1`, `"v":01`, 1),
		strings.Replace(plain, `"v":1`, `"v":1.0`, 1),
		strings.Replace(plain, `"v":1`, `"v":1,"new":[]`, 1),
		strings.Replace(plain, `"v":1,`, `"v":1`, 1),
		strings.Replace(plain, `"v":1,`, `"v":1,,`, 1),
		strings.Replace(plain, `{"email"`, `[{"email"`, 1),
		strings.Replace(plain, `{"email"`, `{{"email"`, 1),
		strings.Replace(plain, `{"ip_address"`, `{"ip_address":"192.0.2.8","ip_address"`, 1),
		strings.Replace(plain, `10:00:00.123Z`, `25:00:00Z`, 1),
		plain + plain, plain + " \n", plain + "x", plain[:len(plain)-1], plain[1:], plain[:40],
		"", "null", "{}", "[]", `{"v":1,}`, `{"traits":"text"}`, `{"traits":{}}`, `{"traits":}`, `{"device":{}}`, `{"device":null}`,
	}
}

// sameAsJSON compares the decoder with encoding/json.
func sameAsJSON(t *testing.T, value []byte) {
	t.Helper()
	var want, got storedSession
	wantErr, gotErr := json.Unmarshal(value, &want), decodeStored(value, &got)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("%q: error %v, want %v", value, gotErr, wantErr)
	}
	if wantErr == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q:\n%+v, want\n%+v", value, got, want)
	}
}

func TestDecodeStored(t *testing.T) {
	for _, value := range oddValues(t) {
		sameAsJSON(t, []byte(value))
	}
	// The quick decoder reads what we write ourselves, with spaces or without.
	for _, value := range oddValues(t)[:3] {
		if !decodePlain([]byte(value), new(storedSession)) {
			t.Errorf("not read the quick way: %s", value)
		}
	}
}

func FuzzDecodeStored(f *testing.F) {
	for _, value := range oddValues(f) {
		f.Add([]byte(value))
	}
	f.Fuzz(sameAsJSON)
}

func TestDecodeRefuses(t *testing.T) {
	key := session.KeyOf("ory_st_example")
	good := fmt.Sprintf(`{"v":1,"id":%q,"identity":"alice","issued_at":"2026-01-02T03:04:05Z","expires_at":"2026-01-03T03:04:05Z"}`, key.ID())
	s, err := Format{}.Decode(key, []byte(good))
	if err != nil || s.Identity != "alice" || !s.AuthenticatedAt.Equal(s.IssuedAt) {
		t.Fatalf("good value: %+v, %v", s, err)
	}
	tests := map[string]string{
		"not JSON":        "x",
		"empty":           "",
		"another version": strings.Replace(good, `"v":1`, `"v":2`, 1),
		"no version":      strings.Replace(good, `"v":1,`, ``, 1),
		"another's id":    strings.Replace(good, key.ID(), session.KeyOf("x").ID(), 1),
		"no identity":     strings.Replace(good, `"alice"`, `""`, 1),
		"no end":          strings.Replace(good, `"expires_at"`, `"x"`, 1),
		"no beginning":    strings.Replace(good, `"issued_at"`, `"x"`, 1),
		"traits a list":   strings.Replace(good, `"v":1`, `"v":1,"traits":[1]`, 1),
	}
	for name, value := range tests {
		t.Run(name, func(t *testing.T) {
			if s, err := (Format{}).Decode(key, []byte(value)); !errors.Is(err, errForeign) {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}
