package native

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

func BenchmarkDecode(b *testing.B) {
	key := storetest.NewKey()
	value := storedValue(b, key)
	b.Run("session", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (Format{}).Decode(key, value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding json for comparison", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(value, new(storedSession)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCookie(b *testing.B) {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Header.Set("Cookie", "theme=dark; consent=yes; "+cookieNameOfTest+"="+session.NewToken()+"; lang=en")
	var buf [session.MaxCredentials]session.Credential
	b.Run("locate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := locateCredentials(r, cookieNameOfTest, buf[:0]); len(got) != 1 {
				b.Fatal(got)
			}
		}
	})
	c := locateCredentials(r, cookieNameOfTest, buf[:0])[0]
	b.Run("key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = Format{}.Key(c)
		}
	})
	b.Run("cut", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h := http.Header{"Cookie": r.Header["Cookie"]}
			if !httpx.CutCookies(h, func(name string) bool { return name == cookieNameOfTest }) {
				b.Fatal("nothing was cut")
			}
		}
	})
}

const cookieNameOfTest = "ory_kratos_session"
