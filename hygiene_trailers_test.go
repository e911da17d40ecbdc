package caddylogout

import (
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/httpx"
)

// lateBody is a body whose end brings trailers, as a server's does.
type lateBody struct {
	io.Reader
	trailer, late http.Header
}

func (b *lateBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		maps.Copy(b.trailer, b.late)
	}
	return n, err
}

func (b *lateBody) Close() error { return nil }

func TestCutTrailers(t *testing.T) {
	set := httpx.NewHeaderSet("X-User-Id", "X-Session-Token")
	for _, test := range []struct {
		name                         string
		announced, late, early, want http.Header
	}{
		{
			name: "announced", announced: http.Header{"X-User-Id": nil, "X-Sum": nil}, late: http.Header{"X-User-Id": {"root"}, "X-Sum": {"1"}},
			early: http.Header{"X-Sum": nil}, want: http.Header{"X-Sum": {"1"}},
		},
		{
			name: "not announced", announced: http.Header{"X-Sum": nil}, late: http.Header{"X_User.Id": {"root"}, "x-session-token": {"t"}, "X-Sum": {"1"}},
			early: http.Header{"X-Sum": nil}, want: http.Header{"X-Sum": {"1"}},
		},
		{
			name: "credentials", announced: http.Header{"Cookie": nil, "Authorization": nil}, late: http.Header{"Cookie": {"a=b"}, "Authorization": {"Bearer x"}},
			early: http.Header{}, want: http.Header{},
		},
		{name: "announced and not sent", announced: http.Header{"X-User-Id": nil}, early: http.Header{}, want: http.Header{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRequest(t, http.MethodPost, "/")
			r.Trailer = test.announced
			r.Body = &lateBody{strings.NewReader("body"), test.announced, test.late}
			set.CutTrailers(r)
			if !reflect.DeepEqual(r.Trailer, test.early) {
				t.Errorf("before the body: %v, want %v", r.Trailer, test.early)
			}
			body, err := io.ReadAll(r.WithContext(t.Context()).Body) // a copy, as a proxy makes one
			if err != nil || string(body) != "body" {
				t.Errorf("body %q, %v", body, err)
			}
			if !reflect.DeepEqual(r.Trailer, test.want) {
				t.Errorf("after the body: %v, want %v", r.Trailer, test.want)
			}
		})
	}
}

// A request that announces no trailer pays nothing, and keeps its body.
func TestCutNoTrailers(t *testing.T) {
	set, r := httpx.NewHeaderSet("X-User-Id"), newRequest(t, http.MethodPost, "/")
	body := io.NopCloser(strings.NewReader("body"))
	r.Body = body
	if n := testing.AllocsPerRun(100, func() { set.CutTrailers(r) }); n != 0 || r.Body != body || r.Trailer != nil {
		t.Errorf("%v allocations, body %v, trailers %v", n, r.Body, r.Trailer)
	}
}

// The gate cuts them for everyone.
func TestGateCutsTrailers(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	gate := newGate(t, a, gate.Options{Optional: true})
	for name, header := range map[string]string{"signed in": sessionCookieLine(c), "anonymous": "X-Other: 1"} {
		r := newRequest(t, http.MethodPost, "/", header)
		r.Trailer = http.Header{"X-User-Id": nil}
		r.Body = &lateBody{strings.NewReader(""), r.Trailer, http.Header{"X-Logout-Url": {"x"}, "X_session_token": {"x"}, "X-Sum": {"1"}}}
		serve(t, gate, r, func(_ http.ResponseWriter, r *http.Request) error {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return err
			}
			if want := (http.Header{"X-Sum": {"1"}}); !reflect.DeepEqual(r.Trailer, want) {
				t.Errorf("%s: %v, want %v", name, r.Trailer, want)
			}
			return nil
		})
	}
}
