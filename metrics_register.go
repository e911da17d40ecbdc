package caddylogout

import (
	"errors"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
)

// registerMetrics exports all metrics in the registry of a configuration, and
// how its own near cache does.
func (a *App) registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	all := append(slices.Clip(telemetry.Meters.All), a.site.Manager.Collectors()...)
	var failures []error
	for _, collector := range all {
		failures = append(failures, registry.Register(collector))
	}
	return errors.Join(failures...)
}
