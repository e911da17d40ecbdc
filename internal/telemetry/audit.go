package telemetry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-logout/caddy-logout/session"
)

// The events: what is in the field event of the audit log, and the names of
// Caddy's events. All their fields are in docs/metrics.md.
const (
	EventIssued         = "session_issued"
	EventSignInRefused  = "sign_in_refused"
	EventRevoked        = "session_revoked"
	EventManyRevoked    = "sessions_revoked"
	EventLogoutRepeated = "logout_repeated"
	EventLogoutPending  = "logout_pending"
	EventLogoutRefused  = "logout_refused"
)

// The triggers of a logout.
const (
	ByBrowser  = "browser"      // a logout URL, followed by a browser
	ByScript   = "ajax"         // a logout URL, followed by a script
	ByAPI      = "api"          // a token, by the API
	ByApp      = "app"          // the app's own logout
	ByResponse = "logout_on"    // a response of the app
	BySessions = "sessions"     // the list of one's sessions, by the API
	ByPage     = "page"         // the page of one's sessions
	BySignIn   = "sign_in"      // a new sign-in of the same browser
	ByBound    = "max_sessions" // more sessions than a person may have
	ByJournal  = "journal"      // a pending logout, now that the store is back
	ByAdmin    = "admin"        // the admin endpoint
)

// The triggers of a sign-in, besides ByApp and ByAdmin.
const (
	ByLoginBrowser = "login_browser"
	ByLoginAPI     = "login_api"
)

// The outcomes.
const (
	OutcomeIssued      = "issued"
	OutcomeRevoked     = "revoked"
	OutcomeRepeated    = "already" // it had been done a moment ago
	OutcomePending     = "pending"
	OutcomeRefused     = "refused"
	outcomeUnavailable = "unavailable"
)

// Reasons that are also the ids of errors.
const (
	ReasonUnavailable    = "session_store_unavailable"
	ReasonEndedMeanwhile = "sessions_ended_meanwhile"
)

// refusedError is an error that a client sees, with its id and HTTP status.
type refusedError interface {
	error
	Refusal() (id string, status int)
}

// logoutSeries and signInSeries are all combinations of trigger and outcome.
var (
	logoutSeries = map[string][]string{
		ByBrowser:  {OutcomeRevoked, OutcomeRepeated, OutcomePending, OutcomeRefused, outcomeUnavailable},
		ByScript:   {OutcomeRevoked, OutcomeRepeated, OutcomePending, OutcomeRefused, outcomeUnavailable},
		ByAPI:      {OutcomeRevoked, OutcomeRepeated, OutcomePending, OutcomeRefused, outcomeUnavailable},
		ByApp:      {OutcomeRevoked, OutcomeRepeated, OutcomePending, OutcomeRefused, outcomeUnavailable},
		ByResponse: {OutcomeRevoked, OutcomeRepeated, OutcomePending, outcomeUnavailable},
		BySessions: {OutcomeRevoked, OutcomeRefused, outcomeUnavailable},
		ByPage:     {OutcomeRevoked, OutcomeRefused, outcomeUnavailable},
		BySignIn:   {OutcomeRevoked, outcomeUnavailable},
		ByBound:    {OutcomeRevoked, outcomeUnavailable},
		ByJournal:  {OutcomeRevoked, OutcomeRepeated},
		ByAdmin:    {OutcomeRevoked, outcomeUnavailable},
	}
	signInSeries = map[string][]string{
		ByLoginBrowser: {OutcomeIssued, OutcomeRefused, outcomeUnavailable},
		ByLoginAPI:     {OutcomeIssued, OutcomeRefused, outcomeUnavailable},
		ByApp:          {OutcomeIssued, OutcomeRefused, outcomeUnavailable},
		ByAdmin:        {OutcomeIssued, outcomeUnavailable},
	}
)

// Entry is one event of the audit log. No field holds a credential, a key or a
// token.
type Entry struct {
	Event, Trigger, Outcome string
	// Reason says why it was refused: the id of an error, or a constant.
	Reason string
	// Identity is the person; empty if unknown.
	Identity string
	// Session is the handle of the session, see [Key.Short].
	Session string
	// Sessions are the handles of the sessions that ended, and identities their
	// people, one each, unless all belong to identity. count is how many really
	// ended.
	Sessions, Identities []string
	Count                int
	// part says which line it is, of so many; 0 if it is the only one.
	part, of int
	// leftOut is how many entries of its kind were left out before it.
	leftOut int
}

// OfSession sets the session and its person.
func (e Entry) OfSession(s *session.Session) Entry {
	e.Session, e.Identity = s.Key.Short(), s.Identity
	return e
}

// Failed sets the outcome and the reason of a failure.
func (e Entry) Failed(err error) Entry {
	e.Outcome, e.Reason = OutcomeRefused, "internal_error"
	switch refused, ok := errors.AsType[refusedError](err); {
	case ok:
		id, status := refused.Refusal()
		e.Reason = id
		if status == http.StatusServiceUnavailable {
			e.Outcome = outcomeUnavailable
		}
	case errors.Is(err, session.ErrExists):
		e.Outcome, e.Reason = outcomeUnavailable, ReasonEndedMeanwhile
	case errors.Is(err, session.ErrUnavailable):
		e.Outcome, e.Reason = outcomeUnavailable, ReasonUnavailable
	}
	return e
}

// And adds the handle of a key.
func (e Entry) And(key session.Key) Entry {
	e.Sessions = append(e.Sessions, key.Short())
	return e
}

// fields are those of the line. Empty ones are left out.
func (e Entry) fields(ip string) []zap.Field {
	fields := []zap.Field{zap.String("event", e.Event)}
	for _, field := range []struct{ name, value string }{
		{"trigger", e.Trigger},
		{"outcome", e.Outcome},
		{"reason", e.Reason},
		{"identity", e.Identity},
		{"session", e.Session},
		{"client_ip", ip},
	} {
		if field.value != "" {
			fields = append(fields, zap.String(field.name, field.value))
		}
	}
	if e.Event == EventManyRevoked {
		fields = append(fields, zap.Int("count", e.Count), zap.Strings("sessions", e.Sessions))
		if len(e.Identities) > 0 {
			fields = append(fields, zap.Strings("identities", e.Identities))
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
func (e Entry) data(ip string) map[string]any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range e.fields(ip)[1:] { // the event has its name
		field.AddTo(encoder)
	}
	return encoder.Fields
}

// Audit counts, writes the lines and emits the events.
type Audit struct {
	logger *zap.Logger
	events Events // nil: none
	now    func() time.Time
	// refusals bounds how often refusals that anyone can cause are logged.
	refusals *BoundedLog
}

// Events receives the events.
type Events interface {
	// Wanted reports whether there is a handler for an event.
	Wanted(event string) bool
	// Emit sends the event. The results of handlers are ignored: no handler can
	// cancel a logout.
	Emit(event string, data map[string]any)
}

// NewAudit returns an audit log; to may be nil.
func NewAudit(logger *zap.Logger, to Events, now func() time.Time) *Audit {
	return &Audit{logger: logger.Named("audit"), events: to, now: now, refusals: NewBoundedLog(refusalsPerSecond, RefusalsAtOnce)}
}

// Record counts, writes the line and emits the event, several of them for many
// sessions. The context is that of the request, and ip its client; it is empty
// for events without a client.
func (a *Audit) Record(ctx context.Context, ip string, e Entry) {
	switch e.Event {
	case EventIssued, EventSignInRefused:
		Meters.signIns.WithLabelValues(e.Trigger, e.Outcome).Inc()
	case EventManyRevoked:
		Meters.logouts.WithLabelValues(e.Trigger, OutcomeRevoked).Add(float64(e.Count))
		if e.Outcome != OutcomeRevoked {
			Meters.logouts.WithLabelValues(e.Trigger, e.Outcome).Inc()
		}
	default:
		Meters.logouts.WithLabelValues(e.Trigger, e.Outcome).Inc()
	}
	annotateLogout(ctx, e.Trigger, e.Outcome)
	if e.byStranger() {
		var ok bool
		if e.leftOut, ok = a.refusals.Allow(a.now()); !ok {
			return
		}
	}
	for _, part := range e.parts() {
		a.write(part, ip)
	}
}

func (a *Audit) write(e Entry, ip string) {
	level := zapcore.InfoLevel
	if e.Outcome == OutcomeRefused || e.Outcome == outcomeUnavailable || e.Outcome == OutcomePending {
		level = zapcore.WarnLevel
	}
	if line := a.logger.Check(level, "audit"); line != nil {
		line.Write(e.fields(ip)...)
	}
	if a.events != nil && a.events.Wanted(e.Event) {
		a.events.Emit(e.Event, e.data(ip))
	}
}
