// This file holds the audit log: one line and one event for each sign-in, refused
// sign-in, logout and revocation, and the counts of them.

package caddylogout

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The events: what is in the field event of the audit log, and the names of
// Caddy's events. All their fields are in docs/metrics.md.
const (
	eventIssued         = "session_issued"
	eventSignInRefused  = "sign_in_refused"
	eventRevoked        = "session_revoked"
	eventManyRevoked    = "sessions_revoked"
	eventLogoutRepeated = "logout_repeated"
	eventLogoutPending  = "logout_pending"
	eventLogoutRefused  = "logout_refused"
)

// What asked for a logout.
const (
	byBrowser  = "browser"      // a logout URL, followed by a browser
	byScript   = "ajax"         // a logout URL, followed by a script
	byAPI      = "api"          // a token, by the API
	byApp      = "app"          // the app's own logout
	byResponse = "logout_on"    // a response of the app
	bySessions = "sessions"     // the list of one's sessions, by the API
	byPage     = "page"         // the page of one's sessions
	bySignIn   = "sign_in"      // a new sign-in of the same browser
	byBound    = "max_sessions" // more sessions than a person may have
	byJournal  = "journal"      // a pending logout, now that the store is back
	byAdmin    = "admin"        // the admin endpoint
)

// What asked for a sign-in, besides byApp and byAdmin.
const (
	byLoginBrowser = "login_browser"
	byLoginAPI     = "login_api"
)

// What came of it.
const (
	outcomeIssued      = "issued"
	outcomeRevoked     = "revoked"
	outcomeRepeated    = "already" // it had been done a moment ago
	outcomePending     = "pending"
	outcomeRefused     = "refused"
	outcomeUnavailable = "unavailable"
)

// logoutSeries and signInSeries are all that can be counted.
var (
	logoutSeries = map[string][]string{
		byBrowser:  {outcomeRevoked, outcomeRepeated, outcomePending, outcomeRefused, outcomeUnavailable},
		byScript:   {outcomeRevoked, outcomeRepeated, outcomePending, outcomeRefused, outcomeUnavailable},
		byAPI:      {outcomeRevoked, outcomeRepeated, outcomePending, outcomeRefused, outcomeUnavailable},
		byApp:      {outcomeRevoked, outcomeRepeated, outcomePending, outcomeRefused, outcomeUnavailable},
		byResponse: {outcomeRevoked, outcomeRepeated, outcomePending, outcomeUnavailable},
		bySessions: {outcomeRevoked, outcomeRefused, outcomeUnavailable},
		byPage:     {outcomeRevoked, outcomeRefused, outcomeUnavailable},
		bySignIn:   {outcomeRevoked, outcomeUnavailable},
		byBound:    {outcomeRevoked, outcomeUnavailable},
		byJournal:  {outcomeRevoked, outcomeRepeated},
		byAdmin:    {outcomeRevoked, outcomeUnavailable},
	}
	signInSeries = map[string][]string{
		byLoginBrowser: {outcomeIssued, outcomeRefused, outcomeUnavailable},
		byLoginAPI:     {outcomeIssued, outcomeRefused, outcomeUnavailable},
		byApp:          {outcomeIssued, outcomeRefused, outcomeUnavailable},
		byAdmin:        {outcomeIssued, outcomeUnavailable},
	}
)

// auditEntry is what is told of one event. No field holds a credential, a key or
// a token.
type auditEntry struct {
	event, trigger, outcome string
	// reason says why it was refused: the id of an error, or a constant.
	reason string
	// identity is the person; empty if nobody knows who it is.
	identity string
	// session is the handle of the session, see [Key.Short].
	session string
	// sessions are the handles of those that were ended with it, and identities
	// whose they are, one each, where they are not all identity's. count is how
	// many really ended.
	sessions, identities []string
	count                int
	// part says which line it is, of so many; 0 if it is the only one.
	part, of int
	// leftOut is how many of its kind were not told before it.
	leftOut int
}

// ofSession says which session it is about, and whose.
func (e auditEntry) ofSession(s *Session) auditEntry {
	e.session, e.identity = s.Key.Short(), s.Identity
	return e
}

// failed says why something was not done.
func (e auditEntry) failed(err error) auditEntry {
	e.outcome, e.reason = outcomeRefused, "internal_error"
	switch refusal, ok := errors.AsType[*apiError](err); {
	case ok:
		e.reason = refusal.ID
		if refusal.Code == http.StatusServiceUnavailable {
			e.outcome = outcomeUnavailable
		}
	case errors.Is(err, ErrExists):
		e.outcome, e.reason = outcomeUnavailable, errEndedMeanwhile().ID
	case errors.Is(err, ErrUnavailable):
		e.outcome, e.reason = outcomeUnavailable, errUnavailable().ID
	}
	return e
}

// and adds the handle of a key.
func (e auditEntry) and(key Key) auditEntry {
	e.sessions = append(e.sessions, key.Short())
	return e
}

// audit counts, writes the line and emits the event, several of them for many
// sessions. The request says from where it was asked for; it is nil for what nobody
// asked for just now.
func (a *App) audit(r *http.Request, e auditEntry) {
	switch e.event {
	case eventIssued, eventSignInRefused:
		meters.signIns.WithLabelValues(e.trigger, e.outcome).Inc()
	case eventManyRevoked:
		meters.logouts.WithLabelValues(e.trigger, outcomeRevoked).Add(float64(e.count))
		if e.outcome != outcomeRevoked {
			meters.logouts.WithLabelValues(e.trigger, e.outcome).Inc()
		}
	default:
		meters.logouts.WithLabelValues(e.trigger, e.outcome).Inc()
	}
	ip := ""
	if r != nil {
		ip = clientIP(r)
		annotateLogout(r.Context(), e.trigger, e.outcome)
	}
	if e.byStranger() {
		var ok bool
		if e.leftOut, ok = a.refusals.allow(a.now()); !ok {
			return
		}
	}
	for _, part := range e.parts() {
		a.tellAudit(part, ip)
	}
}

func (a *App) tellAudit(e auditEntry, ip string) {
	level := zapcore.InfoLevel
	if e.outcome == outcomeRefused || e.outcome == outcomeUnavailable || e.outcome == outcomePending {
		level = zapcore.WarnLevel
	}
	if line := a.logger.Named("audit").Check(level, "audit"); line != nil {
		line.Write(e.fields(ip)...)
	}
	if a.events.wanted(e.event) {
		a.events.emit(e.event, e.data(ip))
	}
}

// fields are those of the line. What is empty is left out.
func (e auditEntry) fields(ip string) []zap.Field {
	fields := []zap.Field{zap.String("event", e.event)}
	for _, field := range []struct{ name, value string }{
		{"trigger", e.trigger},
		{"outcome", e.outcome},
		{"reason", e.reason},
		{"identity", e.identity},
		{"session", e.session},
		{"client_ip", ip},
	} {
		if field.value != "" {
			fields = append(fields, zap.String(field.name, field.value))
		}
	}
	if e.event == eventManyRevoked {
		fields = append(fields, zap.Int("count", e.count), zap.Strings("sessions", e.sessions))
		if len(e.identities) > 0 {
			fields = append(fields, zap.Strings("identities", e.identities))
		}
	}
	for _, field := range []struct {
		name  string
		value int
	}{{"part", e.part}, {"of", e.of}, {"left_out", e.leftOut}} {
		if field.value > 0 {
			fields = append(fields, zap.Int(field.name, field.value))
		}
	}
	return fields
}

// data is the same for the event.
func (e auditEntry) data(ip string) map[string]any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range e.fields(ip)[1:] { // the event has its name
		field.AddTo(encoder)
	}
	return encoder.Fields
}

// eventSink hands events to Caddy's events app. The zero value has none.
type eventSink struct {
	app *caddyevents.App
	ctx caddy.Context
}

// provisionEvents finds the events app.
func (a *App) provisionEvents(ctx caddy.Context) error {
	if ctx.Module() == nil {
		return nil // not loaded by Caddy, so there are no other apps
	}
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	a.events = eventSink{app: app.(*caddyevents.App), ctx: ctx}
	return nil
}

// wanted reports whether anybody would see an event.
func (s *eventSink) wanted(event string) bool { return s.app != nil && s.app.ShouldEmit(event) }

// emit tells whoever has subscribed. What they answer changes nothing: nobody can
// keep a logout from being one.
func (s *eventSink) emit(event string, data map[string]any) { s.app.Emit(s.ctx, event, data) }
