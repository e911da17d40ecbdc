package caddylogout

import (
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

// BenchmarkAuthenticate measures the check alone, with a query of Redis;
// BenchmarkLookup has a check from the near cache.
func BenchmarkAuthenticate(b *testing.B) {
	config := RedisStore{Address: redistest.Start(b).Addr()}
	if err := config.Provision(caddy.Context{}); err != nil {
		b.Fatal(err)
	}
	store, err := config.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	a := appForBench()
	a.use(&manager.Opened{Store: store})
	c, _, err := a.Issue(b.Context(), manager.NewSession{Identity: "alice", Method: "password"})
	if err != nil {
		b.Fatal(err)
	}
	request := func(cookie string) *http.Request {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "/", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Cookie", "theme=dark; "+cookie)
		return r
	}
	anonymous, signedIn := request("lang=en"), request(web.DefaultCookieName+"="+c.Secret())
	check := func(r *http.Request, want bool) error {
		if res, err := a.Authenticate(r); err != nil || (res.Session != nil) != want {
			return fmt.Errorf("%v, %w", res, err)
		}
		return nil
	}
	b.Run("anonymous", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := check(anonymous, false); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := check(signedIn, true); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("miss, 64 at once", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64 / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := check(signedIn, true); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
