package caddylogout

import (
	"net/http"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

func TestCleanUngated(t *testing.T) {
	spoofed := func() *http.Request {
		r := newRequest(t, "POST", "/public/x")
		r.Header = http.Header{"X-User-Id": {"spoofed"}, "X!user_id": {"spoofed"}, "X-Other": {"1"}}
		r.Trailer = http.Header{"X-Role": {"spoofed"}, "X-Sum": {"1"}}
		return r
	}
	names := func(h http.Header) []string {
		var names []string
		for name := range h {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	app := web.New(web.Config{}, nil)
	r := spoofed()
	if app.CleanUngated(r); len(r.Header) != 3 || len(r.Trailer) != 2 {
		t.Errorf("without a gate, left: %v, %v", r.Header, r.Trailer)
	}
	app.GateHeaders.Add("X-User-Id", "X-Logout-Url")
	app.GateHeaders.Add("X-User-Id", "X-Role")
	app.CleanUngated(r)
	if got := names(r.Header); !slices.Equal(got, []string{"X-Other"}) {
		t.Errorf("left in the header: %q", got)
	}
	if got := names(r.Trailer); !slices.Equal(got, []string{"X-Sum"}) {
		t.Errorf("left in the trailer: %q", got)
	}
	// If the operator has the gate before the handler, its headers stay.
	r = spoofed()
	caddyhttp.SetVar(r.Context(), web.AuthVar, &web.Auth{Gated: true})
	if app.CleanUngated(r); len(r.Header) != 3 {
		t.Errorf("behind a gate, left: %v", r.Header)
	}
	r = spoofed()
	caddyhttp.SetVar(r.Context(), web.AuthVar, new(web.Auth)) // a matcher has checked, no gate has
	if app.CleanUngated(r); len(r.Header) != 1 {
		t.Errorf("behind a matcher, left: %v", r.Header)
	}
}
