// This file writes what we answer ourselves: the headers of every answer, JSON,
// and the errors with their ids.

package caddylogout

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/returnurl"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// answerVary names what our answers depend on.
const answerVary = "Accept, Cookie"

// retryAfter is what an answer 503 says, in seconds.
const retryAfter = 5

// maxRequestID bounds the X-Request-Id that an error repeats, in bytes.
const maxRequestID = 256

// apiError is an error as a client sees it. Its sentences hold nothing of the
// inside, and nothing that a client sent but a return URL that was refused.
type apiError struct {
	ID      string         `json:"id,omitempty"`
	Code    int            `json:"code,omitempty"`
	Status  string         `json:"status,omitempty"`
	Request string         `json:"request,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Details map[string]any `json:"details,omitempty"`
	Message string         `json:"message"`
}

// Error implements error.
func (e *apiError) Error() string { return e.ID + ": " + e.Reason }

// Refusal tells the audit log why something was refused.
func (e *apiError) Refusal() (id string, status int) { return e.ID, e.Code }

// sentence is what the error says to a person.
func (e *apiError) sentence() string { return cmp.Or(e.Reason, e.Message) }

// The generic sentences, one for each kind of answer.
const (
	msgInactive     = "request does not have a valid authentication session"
	msgUnauthorized = "The request could not be authorized"
	msgBadRequest   = "The request was malformed or contained invalid parameters"
	msgForbidden    = "The requested action was forbidden"
	msgCSRF         = "the request was rejected to protect you from Cross-Site-Request-Forgery"
	msgUnavailable  = "The service is not able to answer right now"
)

// newError makes an error; the status text goes with the code.
func newError(code int, id, reason, message string) *apiError {
	return &apiError{ID: id, Code: code, Status: http.StatusText(code), Reason: reason, Message: message}
}

func errSessionInactive() *apiError {
	return newError(http.StatusUnauthorized, "session_inactive", "No active session was found in this request.", msgInactive)
}

func errUnavailable() *apiError {
	return newError(http.StatusServiceUnavailable, telemetry.ReasonUnavailable,
		"The session store cannot be asked right now. Nothing was changed: please try again in a few seconds.", msgUnavailable)
}

// errEndedMeanwhile is the answer to a sign-in whose sessions were ended as fast as
// they were made. Nothing is wrong with it but the moment.
func errEndedMeanwhile() *apiError {
	return newError(http.StatusServiceUnavailable, telemetry.ReasonEndedMeanwhile,
		"The sessions of this person are being ended at this moment. Please try again in a few seconds.", msgUnavailable)
}

func errCSRF(reason string) *apiError {
	return newError(http.StatusForbidden, "security_csrf_violation", reason, msgCSRF)
}

func errNotFoundAnswer() *apiError {
	return newError(http.StatusNotFound, "not_found", "", "Unable to locate the resource")
}

func errTooEarly() *apiError {
	return newError(http.StatusTooEarly, "too_early",
		"This request changes something and came in TLS early data, which can be replayed (RFC 8470). Please send it again.",
		"The request may be replayed")
}

func errSpeculative() *apiError {
	return newError(http.StatusForbidden, "speculative_request",
		"This address changes something, so it does not answer a prefetch or prerender.", msgForbidden)
}

// errReturnURL counts a refusal of a return URL, and turns it into its answer.
func errReturnURL(raw string, err error) *apiError {
	telemetry.Meters.RefuseReturnURL(err)
	if errors.Is(err, returnurl.ErrForbidden) {
		return newError(http.StatusBadRequest, "self_service_flow_return_to_forbidden",
			"Requested return_to URL "+strconv.Quote(clip(raw, 200))+" is not allowed.", msgBadRequest)
	}
	return newError(http.StatusBadRequest, "self_service_flow_return_to_invalid",
		"The return_to query parameter is not a URL that browsers agree on.", msgBadRequest)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// bodyError says what is wrong with a body without quoting it, or Go.
func bodyError(err error) *apiError {
	var tooLarge *http.MaxBytesError
	var wrongType *json.UnmarshalTypeError
	reason := "Unable to decode JSON payload: it is not valid JSON."
	switch {
	case errors.As(err, &tooLarge):
		return newError(http.StatusRequestEntityTooLarge, "request_body_too_large",
			"The body of this request is larger than 64 KiB.", msgBadRequest)
	case errors.As(err, &wrongType) && wrongType.Field == "":
		reason = "Unable to decode JSON payload: want an object."
	case errors.As(err, &wrongType):
		reason = "Unable to decode JSON payload: a field has the wrong type."
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		reason = "Unable to decode JSON payload: it ends too early."
	}
	return newError(http.StatusBadRequest, "request_body_invalid", reason, msgBadRequest)
}

// asAPIError turns any error into one that a client may see.
func (a *App) asAPIError(r *http.Request, err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if errors.Is(err, session.ErrExists) {
		return errEndedMeanwhile()
	}
	if !errors.Is(err, session.ErrUnavailable) {
		a.logger.Error("request failed", zap.String("path", r.URL.Path), zap.Error(err))
		return newError(http.StatusInternalServerError, "internal_error", "Something went wrong on our side.", "An internal server error occurred")
	}
	if r.Context().Err() == nil {
		a.logOutage(err)
	}
	return errUnavailable()
}

// prepare sets the headers of every answer of ours: no cache may keep it, what
// it depends on, and no address of ours goes to another site as a Referer, for
// it may hold a logout token.
func prepare(h http.Header) {
	h.Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if !slices.Contains(h["Vary"], answerVary) {
		h.Add("Vary", answerVary)
	}
}

// writeJSON answers with v as JSON.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	prepare(w.Header())
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}

// writeNoContent answers 204.
func writeNoContent(w http.ResponseWriter) error {
	prepare(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// redirect answers 303, so that a browser asks for the target with GET whatever
// it asked with here (RFC 9110, section 15.4.4).
func redirect(w http.ResponseWriter, r *http.Request, location string) error {
	prepare(w.Header())
	http.Redirect(w, r, location, http.StatusSeeOther) //nolint:gosec // every location was checked by a returnurl.Policy, or configured
	return nil
}

// failJSON answers with an error as JSON.
func (a *App) failJSON(w http.ResponseWriter, r *http.Request, err error) error {
	e := *a.asAPIError(r, err)
	if id := r.Header.Get("X-Request-Id"); len(id) <= maxRequestID {
		e.Request = id
	}
	h := w.Header()
	prepare(h)
	errorHeaders(h, &e)
	h.Set("Content-Type", "application/json")
	w.WriteHeader(e.Code)
	return json.NewEncoder(w).Encode(map[string]*apiError{"error": &e})
}

// errorHeaders sets what goes with an error whatever its form.
func errorHeaders(h http.Header, e *apiError) {
	h.Set("Ory-Error-Id", e.ID)
	switch e.Code {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110, section 15.5.2
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
}

// failMethod answers 405 with the methods that would do.
func (a *App) failMethod(w http.ResponseWriter, r *http.Request, allow string) error {
	w.Header().Set("Allow", allow)
	return a.failJSON(w, r, newError(http.StatusMethodNotAllowed, "method_not_allowed",
		"This address answers "+allow+".", "The method is not allowed here"))
}
