package web

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
)

// gateHeaders are the names that the gates of one configuration set, all
// together. Handlers are provisioned before any request comes, so the set does not
// change while it is used.
type gateHeaders struct {
	mu    sync.Mutex
	names []string
	set   atomic.Pointer[httpx.HeaderSet] // nil without a gate
}

// Add adds the names of one gate.
func (h *gateHeaders) Add(names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		if !slices.Contains(h.names, name) {
			h.names = append(h.names, name)
		}
	}
	h.set.Store(httpx.NewHeaderSet(h.names...))
}

// CleanUngated deletes from a request the headers that a gate sets for the app, in
// every spelling and behind the body too. The handlers that see every request of a
// site call it before they pass one on: an app that gets X-User-Id on one path
// believes it on all, and some paths may have no gate in front. What a gate has set
// already, in a route of the operator's own order, stays.
func (site *Site) CleanUngated(r *http.Request) {
	set := site.GateHeaders.set.Load()
	if set == nil {
		return
	}
	if res, ok := caddyhttp.GetVar(r.Context(), AuthVar).(*Auth); ok && res.Gated {
		return
	}
	set.DeleteFrom(r.Header)
	set.CutTrailers(r)
}
