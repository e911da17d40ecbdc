package caddylogout

import (
	"errors"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
)

// registerMetrics exports all metrics in the registry of a configuration, with those
// of its near cache.
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

// eventSink hands events to Caddy's events app.
type eventSink struct {
	app *caddyevents.App
	ctx caddy.Context
}

// eventsOf finds the events app; there is none where Caddy did not load this one.
func eventsOf(ctx caddy.Context) (telemetry.Events, error) {
	if ctx.Module() == nil {
		return nil, nil
	}
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	return &eventSink{app: app.(*caddyevents.App), ctx: ctx}, nil
}

// Wanted implements the audit log's events.
func (s *eventSink) Wanted(event string) bool { return s.app.ShouldEmit(event) }

// Emit implements the audit log's events.
func (s *eventSink) Emit(event string, data map[string]any) { s.app.Emit(s.ctx, event, data) }
