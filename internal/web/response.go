package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-logout/caddy-logout/internal/returnurl"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
)

// answerVary names the headers that our responses depend on.
const answerVary = "Accept, Cookie"

// RetryAfter is the Retry-After of a response 503, in seconds.
const RetryAfter = 5

// MaxRequestID bounds the X-Request-Id that an error repeats, in bytes.
const MaxRequestID = 256

// Error is an error as a client sees it. Its sentences hold no internal detail, and
// nothing that a client sent except a refused return URL.
type Error struct {
	ID      string         `json:"id,omitempty"`
	Code    int            `json:"code,omitempty"`
	Status  string         `json:"status,omitempty"`
	Request string         `json:"request,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Details map[string]any `json:"details,omitempty"`
	Message string         `json:"message"`
}

// Error implements error.
func (e *Error) Error() string { return e.ID + ": " + e.Reason }

// Refusal tells the audit log why something was refused.
func (e *Error) Refusal() (id string, status int) { return e.ID, e.Code }

// Sentence is what the error says to a person.
func (e *Error) Sentence() string { return cmp.Or(e.Reason, e.Message) }

// The generic sentences, one for each kind of response.
const (
	msgInactive     = "request does not have a valid authentication session"
	MsgUnauthorized = "The request could not be authorized"
	MsgBadRequest   = "The request was malformed or contained invalid parameters"
	MsgForbidden    = "The requested action was forbidden"
	msgCSRF         = "the request was rejected to protect you from Cross-Site-Request-Forgery"
	MsgUnavailable  = "The service is not able to answer right now"
)

// NewError makes an error; the status text goes with the code.
func NewError(code int, id, reason, message string) *Error {
	return &Error{ID: id, Code: code, Status: http.StatusText(code), Reason: reason, Message: message}
}

// ErrSessionInactive is the response to a request without a live session.
func ErrSessionInactive() *Error {
	return NewError(http.StatusUnauthorized, "session_inactive", "No active session was found in this request.", msgInactive)
}

func errUnavailable() *Error {
	return NewError(http.StatusServiceUnavailable, telemetry.ReasonUnavailable,
		"The session store cannot be asked right now. Nothing was changed: please try again in a few seconds.", MsgUnavailable)
}

// errEndedMeanwhile is the response to a sign-in whose sessions other requests ended
// as fast as it made them. The person can try again.
func errEndedMeanwhile() *Error {
	return NewError(http.StatusServiceUnavailable, telemetry.ReasonEndedMeanwhile,
		"The sessions of this person are being ended at this moment. Please try again in a few seconds.", MsgUnavailable)
}

// ErrCSRF is the response to a request that a page of another site may have sent.
func ErrCSRF(reason string) *Error {
	return NewError(http.StatusForbidden, "security_csrf_violation", reason, msgCSRF)
}

// ErrNotFound is the response at a path below ours that does not exist.
func ErrNotFound() *Error {
	return NewError(http.StatusNotFound, "not_found", "", "Unable to locate the resource")
}

// ErrTooEarly is the response to a change in TLS early data.
func ErrTooEarly() *Error {
	return NewError(http.StatusTooEarly, "too_early",
		"This request changes something and came in TLS early data, which can be replayed (RFC 8470). Please send it again.",
		"The request may be replayed")
}

// ErrSpeculative is the response to a prefetch of a URL that changes something.
func ErrSpeculative() *Error {
	return NewError(http.StatusForbidden, "speculative_request",
		"This address changes something, so it does not answer a prefetch or prerender.", MsgForbidden)
}

// ErrReturnURL counts a refusal of a return URL, and turns it into a response.
func ErrReturnURL(raw string, err error) *Error {
	telemetry.Meters.RefuseReturnURL(err)
	if errors.Is(err, returnurl.ErrForbidden) {
		return NewError(http.StatusBadRequest, "self_service_flow_return_to_forbidden",
			"Requested return_to URL "+strconv.Quote(Clip(raw, 200))+" is not allowed.", MsgBadRequest)
	}
	return NewError(http.StatusBadRequest, "self_service_flow_return_to_invalid",
		"The return_to query parameter is not a URL that browsers agree on.", MsgBadRequest)
}

// Clip cuts a text to n bytes, and marks that.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// BodyError says what is wrong with a body without quoting it, or Go.
func BodyError(err error) *Error {
	var tooLarge *http.MaxBytesError
	var wrongType *json.UnmarshalTypeError
	reason := "Unable to decode JSON payload: it is not valid JSON."
	switch {
	case errors.As(err, &tooLarge):
		return NewError(http.StatusRequestEntityTooLarge, "request_body_too_large",
			"The body of this request is larger than 64 KiB.", MsgBadRequest)
	case errors.As(err, &wrongType) && wrongType.Field == "":
		reason = "Unable to decode JSON payload: want an object."
	case errors.As(err, &wrongType):
		reason = "Unable to decode JSON payload: a field has the wrong type."
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		reason = "Unable to decode JSON payload: it ends too early."
	}
	return NewError(http.StatusBadRequest, "request_body_invalid", reason, MsgBadRequest)
}

// Prepare sets the headers of each response of ours: no cache may keep it, it varies
// with some request headers, and browsers send no address of ours to another site as
// a Referer, since it may hold a logout token.
func Prepare(h http.Header) {
	h.Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if !slices.Contains(h["Vary"], answerVary) {
		h.Add("Vary", answerVary)
	}
}

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	Prepare(w.Header())
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}

// WriteNoContent answers 204.
func WriteNoContent(w http.ResponseWriter) error {
	Prepare(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Redirect answers 303, so that a browser asks for the target with GET whatever
// it asked with here (RFC 9110, section 15.4.4).
func Redirect(w http.ResponseWriter, r *http.Request, location string) error {
	Prepare(w.Header())
	http.Redirect(w, r, location, http.StatusSeeOther) //nolint:gosec // every location was checked by a returnurl.Policy, or configured
	return nil
}

// MaxBodyLength bounds the bodies that we read ourselves, in bytes.
const MaxBodyLength = 64 << 10
