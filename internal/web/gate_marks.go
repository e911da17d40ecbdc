package web

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The request variables by which a gate and the app's own logout know of each other.
const (
	// gateOpenVar opens the gate for the app's own logout: a client without a session
	// of ours may have one of the app's.
	gateOpenVar = "sessions.app_logout"
	// gateAnswerVar says that the gate has answered, and not the app behind it.
	gateAnswerVar = "sessions.gate_answer"
)

// OpenGate has the gate let a request through without a session, or not any more.
func OpenGate(r *http.Request, open bool) { caddyhttp.SetVar(r.Context(), gateOpenVar, open) }

// GateOpened reports whether the gate lets this request through without a session.
func GateOpened(r *http.Request) bool {
	open, _ := caddyhttp.GetVar(r.Context(), gateOpenVar).(bool)
	return open
}

// NoteGateAnswer notes that the gate has answered.
func NoteGateAnswer(r *http.Request) {
	if _, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		caddyhttp.SetVar(r.Context(), gateAnswerVar, true)
	}
}

// GateAnswered reports whether the gate has answered.
func GateAnswered(r *http.Request) bool {
	answered, _ := caddyhttp.GetVar(r.Context(), gateAnswerVar).(bool)
	return answered
}
