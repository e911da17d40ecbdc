package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

// readyWithin bounds the check, for stores that have no bound of their own.
const readyWithin = time.Second

// readiness answers 200 while the store is available, and 503 with Retry-After while
// it is not, so that a load balancer can send requests elsewhere. It answers at once
// when the store is known to be unavailable.
func (s *API) readiness(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	if err := site.Ready(ctx); err != nil {
		// Load balancers ask every few seconds: the log has no error for each.
		s.logger.Debug("not ready", zap.Error(err))
		w.Header().Set("Retry-After", fmt.Sprint(web.RetryAfter))
		return web.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "store unavailable"})
	}
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// liveness answers 200 as long as Caddy does: a restart would not bring a store back.
func (s *API) liveness(w http.ResponseWriter, _ *http.Request) error {
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}
