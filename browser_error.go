// This file brings errors to people: a browser is sent to the error page, and
// the error waits there for ten minutes, for that browser alone.

package caddylogout

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// errorLifetime is how long a browser's error can be read.
const errorLifetime = 10 * time.Minute

// Anyone can cause an error, so what is kept of them is bounded: at this rate,
// 6,100 in errorLifetime, of less than a kilobyte each. An id that tells the
// error itself would need no store, but clients expect a UUID, which has no room
// for the URL that an error may be about.
const (
	keptErrorsPerSecond = 10
	keptErrorsAtOnce    = 100
)

// errorsPath is where a browser's error can be read.
const errorsPath = "/self-service/errors"

// keptError is an error as the store keeps it.
type keptError struct {
	// Owner is the SHA-256 of the secret of the browser that caused it.
	Owner     []byte    `json:"owner"`
	Error     apiError  `json:"error"`
	CreatedAt time.Time `json:"created_at"`
}

// fail answers with an error: as JSON to whoever wants that, else by sending
// the browser to the error page. While the store is away, or if it will not
// keep the error, or too many are kept already, the answer is the page itself.
func (a *App) fail(w http.ResponseWriter, r *http.Request, err error) error {
	if httpx.WantsJSON(r) {
		return a.failJSON(w, r, err)
	}
	e := a.asAPIError(r, err)
	if e.Code == http.StatusServiceUnavailable || !isNavigable(r) || !a.keptErrors.AllowN(a.now(), 1) {
		return a.failPage(w, r, e)
	}
	location, err := a.keepError(w, r, e)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		if r.Context().Err() == nil {
			a.logOutage(err)
		}
		return a.failPage(w, r, e)
	case err != nil:
		a.logger.Error("keeping an error for a browser failed", zap.String("error_id", e.ID), zap.Error(err))
		return a.failPage(w, r, e)
	}
	return redirect(w, r, location)
}

// isNavigable reports whether a redirect to a page makes sense: an error of a
// HEAD changes nothing, so nothing is kept for it.
func isNavigable(r *http.Request) bool { return r.Method != http.MethodHead && !httpx.Speculative(r) }

// keepError stores the error and returns where the browser can read it.
func (a *App) keepError(w http.ResponseWriter, r *http.Request, e *apiError) (string, error) {
	store, err := a.OpenStore()
	if err != nil {
		return "", err
	}
	owner := sha256.Sum256([]byte(a.browserCookie(w, r)))
	now := a.now().UTC()
	value, err := json.Marshal(keptError{Owner: owner[:], Error: *e, CreatedAt: now})
	if err != nil {
		return "", err
	}
	id := uuid.NewString()
	if err := store.PutError(r.Context(), id, value, now.Add(errorLifetime)); err != nil {
		return "", err
	}
	page := a.ErrorUI
	if page == "" {
		page = a.Prefix + errorsPath
	}
	u, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("id", id)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// isErrorPage reports whether the request is for the error page that was
// configured, if it is on this host.
func (a *App) isErrorPage(r *http.Request) bool {
	if a.ErrorUI == "" {
		return false
	}
	page, err := url.Parse(a.ErrorUI)
	return err == nil && (page.Host == "" || page.Host == r.Host) && httpx.OriginalPath(r) == page.Path
}

// failPage answers with the error as a page.
func (a *App) failPage(w http.ResponseWriter, r *http.Request, e *apiError) error {
	prepare(w.Header())
	errorHeaders(w.Header(), e)
	return a.pages.Error(w, r, e.Code, pages.ErrorData{ID: e.ID, Text: e.sentence(), Home: a.homeURL(r)})
}

// stubErrorID asks for an error that was made up, for those who write an error
// page and want to see one.
const stubErrorID = "stub:500"

// serveError answers GET /self-service/errors?id=….
func (a *App) serveError(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return a.failMethod(w, r, "GET, HEAD")
	}
	query := r.URL.Query()
	id := query.Get("error")
	if id == "" {
		id = query.Get("id")
	}
	kept, err := a.findError(r, id)
	asJSON := httpx.WantsJSON(r)
	switch {
	case errors.Is(err, session.ErrNotFound) && asJSON:
		return a.failJSON(w, r, errNotFoundAnswer())
	case errors.Is(err, session.ErrNotFound):
		return a.failPage(w, r, newError(http.StatusNotFound, "not_found",
			"This error was already forgotten, or another browser caused it.", "Unable to locate the resource"))
	case err != nil && asJSON:
		return a.failJSON(w, r, err)
	case err != nil:
		return a.failPage(w, r, a.asAPIError(r, err))
	case !asJSON:
		return a.failPage(w, r, &kept.Error)
	}
	if id == stubErrorID {
		id = uuid.NewString()
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"id": id, "error": kept.Error, "created_at": kept.CreatedAt, "updated_at": kept.CreatedAt,
	})
}

// findError reads an error for the browser that caused it. For all others it is
// not there: an error page's address must not show one person what another did.
func (a *App) findError(r *http.Request, id string) (*keptError, error) {
	if id == stubErrorID {
		return &keptError{
			Error:     *newError(http.StatusInternalServerError, "stub_error", "This is a stub error.", "An internal server error occurred"),
			CreatedAt: a.now().UTC(),
		}, nil
	}
	secret := a.presentBrowserCookie(r)
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 || secret == "" {
		return nil, session.ErrNotFound
	}
	store, err := a.OpenStore()
	if err != nil {
		return nil, err
	}
	value, err := store.GetError(r.Context(), id)
	if err != nil {
		return nil, err
	}
	var kept keptError
	if err := json.Unmarshal(value, &kept); err != nil {
		return nil, session.ErrNotFound
	}
	owner := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(owner[:], kept.Owner) != 1 {
		return nil, session.ErrNotFound
	}
	return &kept, nil
}
