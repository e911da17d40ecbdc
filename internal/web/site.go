// Package web is this site towards a client: it finds the session of a request, sets
// cookies, makes URLs, and writes responses, errors first of all.
package web

import (
	"context"
	"net/http"

	"golang.org/x/time/rate"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/returnurl"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/pages"
)

// Config are the settings that all sites of a configuration share towards browsers.
type Config struct {
	Cookie     Cookie
	BaseURL    string // empty: that of each request
	Prefix     string
	ErrorUI    string // empty: our page
	ReturnURLs *returnurl.Policy
	Pages      *pages.Set
}

// Site is this site towards a browser.
type Site struct {
	Config
	*manager.Manager

	GateHeaders gateHeaders
	KeptErrors  *rate.Limiter
	outages     *telemetry.BoundedLog
}

// New returns a site whose sessions a manager keeps.
func New(config Config, sessions *manager.Manager) *Site {
	return &Site{
		Config: config, Manager: sessions,
		KeptErrors: rate.NewLimiter(keptErrorsPerSecond, KeptErrorsAtOnce),
		outages:    telemetry.NewBoundedLog(rate.Every(telemetry.OutageEvery), 1),
	}
}

// Audit records an event. The request says where the event comes from; it is nil for
// an event without a request.
func (site *Site) Audit(r *http.Request, e telemetry.Entry) {
	if r == nil {
		site.Manager.Audit.Record(context.Background(), "", e)
		return
	}
	site.Manager.Audit.Record(r.Context(), httpx.ClientIP(r), e)
}
