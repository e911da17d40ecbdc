package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// AsAPIError turns any error into one that a client may see.
func (site *Site) AsAPIError(r *http.Request, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, session.ErrExists) {
		return errEndedMeanwhile()
	}
	if !errors.Is(err, session.ErrUnavailable) {
		site.Logger.Error("request failed", zap.String("path", r.URL.Path), zap.Error(err))
		return NewError(http.StatusInternalServerError, "internal_error", "Something went wrong on our side.", "An internal server error occurred")
	}
	if r.Context().Err() == nil {
		site.logOutage(err)
	}
	return errUnavailable()
}

// FailJSON answers with an error as JSON.
func (site *Site) FailJSON(w http.ResponseWriter, r *http.Request, err error) error {
	e := *site.AsAPIError(r, err)
	if id := r.Header.Get("X-Request-Id"); len(id) <= MaxRequestID {
		e.Request = id
	}
	h := w.Header()
	Prepare(h)
	ErrorHeaders(h, &e)
	h.Set("Content-Type", "application/json")
	w.WriteHeader(e.Code)
	return json.NewEncoder(w).Encode(map[string]*Error{"error": &e})
}

// ErrorHeaders sets the headers of an error in any form.
func ErrorHeaders(h http.Header, e *Error) {
	h.Set("Ory-Error-Id", e.ID)
	switch e.Code {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110, section 15.5.2
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(RetryAfter))
	}
}

// FailMethod answers 405 with the methods that the path serves.
func (site *Site) FailMethod(w http.ResponseWriter, r *http.Request, allow string) error {
	w.Header().Set("Allow", allow)
	return site.FailJSON(w, r, NewError(http.StatusMethodNotAllowed, "method_not_allowed",
		"This address answers "+allow+".", "The method is not allowed here"))
}

// FailAndClose answers a request that is not admitted. It ends a connection of
// HTTP/1, since the bytes that follow may be meant for a tunnel.
func (site *Site) FailAndClose(w http.ResponseWriter, r *http.Request, e *Error) error {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	return site.FailJSON(w, r, e)
}

// Fail answers with an error: as JSON to a client that asks for it, else by sending
// the browser to the error page. It answers with the page itself while the store is
// unavailable or refuses the error, or if too many are kept already.
func (site *Site) Fail(w http.ResponseWriter, r *http.Request, err error) error {
	if httpx.WantsJSON(r) {
		return site.FailJSON(w, r, err)
	}
	e := site.AsAPIError(r, err)
	if e.Code == http.StatusServiceUnavailable || !isNavigable(r) || !site.KeptErrors.AllowN(site.Now(), 1) {
		return site.FailPage(w, r, e)
	}
	location, err := site.keepError(w, r, e)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		if r.Context().Err() == nil {
			site.logOutage(err)
		}
		return site.FailPage(w, r, e)
	case err != nil:
		site.Logger.Error("keeping an error for a browser failed", zap.String("error_id", e.ID), zap.Error(err))
		return site.FailPage(w, r, e)
	}
	return Redirect(w, r, location)
}

// isNavigable reports whether a redirect to a page makes sense: an error of a
// HEAD changes nothing, so nothing is kept for it.
func isNavigable(r *http.Request) bool { return r.Method != http.MethodHead && !httpx.Speculative(r) }

// FailPage answers with the error as a page.
func (site *Site) FailPage(w http.ResponseWriter, r *http.Request, e *Error) error {
	Prepare(w.Header())
	ErrorHeaders(w.Header(), e)
	return site.Pages.Error(w, r, e.Code, pages.ErrorData{ID: e.ID, Text: e.Sentence(), Home: site.HomeURL(r)})
}

// IsNavigation reports whether a person is going to a page. Without fetch
// metadata the negotiation alone decides.
func IsNavigation(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode == "" || mode == "navigate"
}

// Unauthorized answers a client that is not signed in.
func (site *Site) Unauthorized(w http.ResponseWriter, r *http.Request) error {
	if httpx.WantsJSON(r) || !IsNavigation(r) {
		return site.FailJSON(w, r, ErrSessionInactive())
	}
	Prepare(w.Header())
	ErrorHeaders(w.Header(), ErrSessionInactive())
	return site.Pages.Unauthorized(w, r, pages.UnauthorizedData{})
}

// AnswerPending answers 202: the logout was accepted and is not done. It clears the
// cookie, which this browser needs no more, unless the request carries another
// session cookie that may be live.
func (site *Site) AnswerPending(w http.ResponseWriter, r *http.Request, asJSON bool) error {
	site.ClearIfOut(w, r)
	if asJSON {
		return WriteJSON(w, http.StatusAccepted, map[string]string{
			"status": "pending",
			"reason": "The session store cannot be reached. The logout was noted and will be done as soon as it is back; until then other servers may still accept the session.",
		})
	}
	Prepare(w.Header())
	return site.Pages.Pending(w, r, pages.PendingData{Home: site.HomeURL(r)})
}

// logOutage logs that the store is unavailable: once, and once a minute. The circuit
// breaker logs when the server fails and when it is back.
func (site *Site) logOutage(err error) {
	if errors.Is(err, session.ErrNotQueried) {
		return
	}
	if leftOut, ok := site.outages.Allow(site.Now()); ok {
		site.Logger.Error("session store unavailable", zap.Int("left_out", leftOut), zap.Error(err))
	}
}

// Unavailable answers a request whose session cannot be looked up. It leaves cookies
// alone: an outage is not a logout.
func (site *Site) Unavailable(w http.ResponseWriter, r *http.Request, err error) error {
	if httpx.WantsJSON(r) || !IsNavigation(r) {
		return site.FailJSON(w, r, err)
	}
	return site.FailPage(w, r, site.AsAPIError(r, err))
}
