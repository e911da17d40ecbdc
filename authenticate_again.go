// This file says how long what was found of a request's session holds: a request
// may meet a second gate, inside the first or in handle_errors, or a gate after a
// matcher, and its session may have ended in between.

package caddylogout

import (
	"net/http"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/session"
)

// foundHolds is how long what was found holds at most where the store does not
// report changes.
const foundHolds = streams.StreamsTick

// again answers a check of a request that was checked before. It asks by the
// credential that was found: a gate has taken it out of the request since.
func (a *App) again(r *http.Request, res *authResult) (*authResult, error) {
	if res.session == nil || a.holds(res) {
		return res, nil
	}
	found, err := a.Lookup(r.Context(), res.credential)
	if err != nil {
		return nil, err
	}
	// The other cookies of the request were not looked at: none is cleared.
	fresh := new(authResult)
	if found.Session != nil {
		fresh = authResultOf(&found, res.credential)
		if !res.stream.IsOver() { // the gate that registered it is around this check
			fresh.stream = res.stream
		}
	}
	fresh.gated = res.gated
	remember(r, fresh)
	return fresh, nil
}

// holds reports whether a session that was found live is known to be live still.
func (a *App) holds(res *authResult) bool {
	open, err := a.OpenStore()
	if err != nil {
		return false
	}
	now := a.now()
	return !res.stream.IsOver() && open.Streams.ChangesOf(res.session.Key) == res.changes &&
		now.Sub(res.foundAt) < foundHolds && res.session.Live(now)
}

// authResultOf is what a live session comes to.
func authResultOf(found *manager.Found, c session.Credential) *authResult {
	return &authResult{
		session: found.Session, credential: c, changes: found.Changes, known: found.Known, foundAt: found.At,
	}
}
