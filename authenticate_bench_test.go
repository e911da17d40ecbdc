// This file measures the check itself: what stands between a request and the app,
// without the servers around it.

package caddylogout

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	key := newKey()
	value := storedValue(b, key)
	b.Run("session", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (nativeFormat{}).Decode(key, value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json for comparison", func(b *testing.B) {
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
	r.Header.Set("Cookie", "theme=dark; consent=yes; "+defaultCookieName+"="+newSessionToken()+"; lang=en")
	var buf [maxCredentials]Credential
	b.Run("locate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := locateCredentials(r, defaultCookieName, buf[:0]); len(got) != 1 {
				b.Fatal(got)
			}
		}
	})
	c := locateCredentials(r, defaultCookieName, buf[:0])[0]
	b.Run("key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = nativeFormat{}.Key(c)
		}
	})
	b.Run("cut", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h := http.Header{"Cookie": r.Header["Cookie"]}
			if !cutCookies(h, func(name string) bool { return name == defaultCookieName }) {
				b.Fatal("nothing was cut")
			}
		}
	})
}
