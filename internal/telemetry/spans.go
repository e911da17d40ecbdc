package telemetry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Names of the spans, and of the library that makes them.
const (
	tracerName = "github.com/caddy-logout/caddy-logout"
	CheckSpan  = "session check"
	logoutSpan = "logout"
)

// Attributes of the spans. There are no others: a trace does not name the
// person.
const (
	outcomeAttribute = attribute.Key("session.outcome")
	sourceAttribute  = attribute.Key("session.source")
	triggerAttribute = attribute.Key("session.trigger")
)

// StartSpan begins a span below that of the request. If the handler tracing
// made none, it does nothing and allocates nothing.
func StartSpan(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, noop.Span{}
	}
	return parent.TracerProvider().Tracer(tracerName).Start(ctx, name)
}

// EndCheck ends the span of a check.
func EndCheck(span trace.Span, live bool, err error) {
	if span.IsRecording() {
		outcome := "dead"
		switch {
		case err != nil:
			outcome = outcomeUnavailable
			span.SetStatus(codes.Error, outcomeUnavailable)
		case live:
			outcome = "authenticated"
		}
		span.SetAttributes(outcomeAttribute.String(outcome), sourceAttribute.String("store"))
	}
	span.End()
}

// logoutSpanKey is the key of a context for the span of its logout.
type logoutSpanKey struct{}

// StartLogout begins the span of a logout, which end ends. [App.audit] sets its
// outcome.
func StartLogout(r *http.Request) (_ *http.Request, end func()) {
	ctx, span := StartSpan(r.Context(), logoutSpan)
	if !span.IsRecording() {
		return r, func() {}
	}
	return r.WithContext(context.WithValue(ctx, logoutSpanKey{}, span)), func() { span.End() }
}

// annotateLogout sets the outcome on the span of a logout.
func annotateLogout(ctx context.Context, trigger, outcome string) {
	span, ok := ctx.Value(logoutSpanKey{}).(trace.Span)
	if !ok {
		return
	}
	span.SetAttributes(triggerAttribute.String(trigger), outcomeAttribute.String(outcome))
	if outcome == outcomeUnavailable {
		span.SetStatus(codes.Error, outcomeUnavailable)
	}
}
