// This file says on Caddy's admin endpoint whether this node can be used.

package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

// readyWithin bounds the question, for stores that have no bound of their own.
const readyWithin = time.Second

// readiness answers 200 while the store can be asked, and 503 with Retry-After
// while it cannot: with that, a load balancer can send requests elsewhere. It
// answers at once when the store is known to be away.
func (s *API) readiness(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	if err := site.Ready(ctx); err != nil {
		// Not an error of this request, and asked every few seconds: no error in
		// the log for each.
		s.logger.Debug("not ready", zap.Error(err))
		w.Header().Set("Retry-After", fmt.Sprint(web.RetryAfter))
		return web.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "store unavailable"})
	}
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// liveness answers 200 as long as Caddy answers: to start it anew would not bring
// a store back.
func (s *API) liveness(w http.ResponseWriter, _ *http.Request) error {
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}
