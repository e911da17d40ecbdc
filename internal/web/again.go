package web

import (
	"net/http"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/session"
)

// foundHolds is how long a look-up holds at most if the store does not notify of
// changes.
const foundHolds = streams.StreamsTick

// again checks a request that was checked before: it may meet a second gate, inside
// the first or in handle_errors, or a gate after a matcher, and its session may have
// ended in between. It uses the credential of the first check, since a gate has
// deleted it from the request.
func (site *Site) again(r *http.Request, res *Auth) (*Auth, error) {
	if res.Session == nil || site.holds(res) {
		return res, nil
	}
	found, err := site.Lookup(r.Context(), res.Credential)
	if err != nil {
		return nil, err
	}
	// This check did not look at the other cookies of the request: it clears none.
	fresh := new(Auth)
	if found.Session != nil {
		fresh = authResultOf(&found, res.Credential)
		if !res.Stream.IsOver() { // the gate that registered it is around this check
			fresh.Stream = res.Stream
		}
	}
	fresh.Gated = res.Gated
	Remember(r, fresh)
	return fresh, nil
}

// holds reports whether a session that was found live is known to be live still.
func (site *Site) holds(res *Auth) bool {
	open, err := site.OpenStore()
	if err != nil {
		return false
	}
	now := site.Now()
	return !res.Stream.IsOver() && open.Streams.ChangesOf(res.Session.Key) == res.Changes &&
		now.Sub(res.foundAt) < foundHolds && res.Session.Live(now)
}

// authResultOf is the result for a live session.
func authResultOf(found *manager.Found, c session.Credential) *Auth {
	return &Auth{
		Session: found.Session, Credential: c, Changes: found.Changes, Known: found.Known, foundAt: found.At,
	}
}
