package caddylogout

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// baseURL returns the scheme, host and port under which the browser knows us,
// without a slash at the end: base_url, or where the request itself went.
func (a *App) baseURL(r *http.Request) string {
	if a.BaseURL != "" {
		return a.BaseURL
	}
	return httpx.RequestOrigin(r)
}

// checkReturnURL returns the URL to send the browser to for a return_to, empty
// for the default.
func (a *App) checkReturnURL(r *http.Request, raw string) (string, error) {
	return a.returnURLs.Check(raw, a.baseURL(r))
}

// appOf returns the sessions app of a context.
func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("sessions")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// audit records an event. The request says where it was asked for; it is nil for
// what no client asked for just now.
func (a *App) audit(r *http.Request, e telemetry.Entry) {
	if r == nil {
		a.auditLog.Record(context.Background(), "", e)
		return
	}
	a.auditLog.Record(r.Context(), httpx.ClientIP(r), e)
}

// logOutage says that the store could not be asked: once, and once a minute. The
// circuit breaker has said that the server is away, and will say when it is back.
func (a *App) logOutage(err error) {
	if errors.Is(err, session.ErrNotQueried) {
		return
	}
	if leftOut, ok := a.outages.Allow(a.now()); ok {
		a.logger.Error("session store unavailable", zap.Int("left_out", leftOut), zap.Error(err))
	}
}
