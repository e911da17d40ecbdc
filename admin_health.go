// This file says on Caddy's admin endpoint whether this node can be used.

package caddylogout

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// readyWithin bounds the question, for stores that have no bound of their own.
const readyWithin = time.Second

// readiness answers 200 while the store can be asked, and 503 with Retry-After
// while it cannot: with that, a load balancer can send requests elsewhere. It
// answers at once when the store is known to be away.
func (s *AdminSessions) readiness(w http.ResponseWriter, r *http.Request) error {
	if err := wantGet(w, r); err != nil {
		return err
	}
	loaded, err := caddy.ActiveContext().AppIfConfigured("sessions")
	if err != nil {
		return adminError(http.StatusNotFound, "the running configuration has no sessions")
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	if err := loaded.(*App).ready(ctx); err != nil {
		// Not an error of this request, and asked every few seconds: no error in
		// the log for each.
		s.logger.Debug("not ready", zap.Error(err))
		w.Header().Set("Retry-After", fmt.Sprint(retryAfter))
		return writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "store unavailable"})
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// liveness answers 200 as long as Caddy answers: to start it anew would not bring
// a store back.
func (s *AdminSessions) liveness(w http.ResponseWriter, r *http.Request) error {
	if err := wantGet(w, r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func wantGet(w http.ResponseWriter, r *http.Request) error {
	prepare(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return adminError(http.StatusMethodNotAllowed, "want GET")
	}
	return nil
}

// ready asks the store whether it is there.
func (a *App) ready(ctx context.Context) error {
	store, err := a.openStore()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return store.Ping(ctx)
}
