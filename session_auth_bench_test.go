package caddylogout

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

// BenchmarkGate is a request with a session that the near cache knows. What
// Caddy makes of each request before any handler sees it is measured alone, to be
// subtracted.
func BenchmarkGate(b *testing.B) {
	store := openRedisForBench(b, redistest.Start(b).Addr())
	cache := armedForBench(b, store)
	a := appForBench()
	open := &manager.Opened{Store: store, Cache: cache, Streams: newStreams(store, time.Now)}
	defer open.Streams.Close()
	a.OpenStore = sync.OnceValues(func() (*manager.Opened, error) { return open, nil }) // as in use
	c, _, err := a.Issue(b.Context(), manager.NewSession{Identity: "alice", Method: "password"})
	if err != nil {
		b.Fatal(err)
	}
	answer := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header()["Content-Type"] = []string{"text/plain"}
		_, err := io.WriteString(w, "hello")
		return err
	})
	header := http.Header{
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"Accept":          {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Accept-Encoding": {"gzip, deflate, br, zstd"},
		"Accept-Language": {"en-US,en;q=0.5"},
		"Cookie":          {"theme=dark; " + web.DefaultCookieName + "=" + c.Secret()},
		"Sec-Fetch-Dest":  {"document"},
		"Sec-Fetch-Mode":  {"navigate"},
		"Sec-Fetch-Site":  {"same-origin"},
	}
	server := new(caddyhttp.Server)
	serve := func(b *testing.B, handler caddyhttp.MiddlewareHandler) {
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, "/a/page?of=it", http.NoBody).WithContext(b.Context())
			r.Header = header.Clone()
			w := httptest.NewRecorder()
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server)
			if err := handler.ServeHTTP(w, r, answer); err != nil || w.Code != http.StatusOK {
				b.Fatal(w.Code, err)
			}
		}
	}
	b.Run("without", func(b *testing.B) { serve(b, passOn{}) })
	gate := gate.New(gate.Options{}, a.Site, zap.NewNop())
	b.Run("with", func(b *testing.B) { serve(b, gate) })
}

// passOn is not a gate.
type passOn struct{}

func (passOn) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}
