package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/session"
)

// ErrorLifetime is how long a browser can read its error.
const ErrorLifetime = 10 * time.Minute

// Anyone can cause an error, so their number in the store is bounded: at this rate,
// 6,100 in ErrorLifetime, of less than a kilobyte each. An id that encodes the error
// would need no store, but clients expect a UUID, which has no room for the URL of an
// error.
const (
	keptErrorsPerSecond = 10
	KeptErrorsAtOnce    = 100
)

// ErrorsPath is where a browser's error can be read.
const ErrorsPath = "/self-service/errors"

// keptError is an error as the store keeps it.
type keptError struct {
	// Owner is the SHA-256 of the secret of the browser that caused it.
	Owner     []byte    `json:"owner"`
	Error     Error     `json:"error"`
	CreatedAt time.Time `json:"created_at"`
}

// keepError stores the error and returns where the browser can read it.
func (site *Site) keepError(w http.ResponseWriter, r *http.Request, e *Error) (string, error) {
	store, err := site.OpenStore()
	if err != nil {
		return "", err
	}
	owner := sha256.Sum256([]byte(site.BrowserCookie(w, r)))
	now := site.Now().UTC()
	value, err := json.Marshal(keptError{Owner: owner[:], Error: *e, CreatedAt: now})
	if err != nil {
		return "", err
	}
	id := uuid.NewString()
	if err := store.PutError(r.Context(), id, value, now.Add(ErrorLifetime)); err != nil {
		return "", err
	}
	page := site.ErrorUI
	if page == "" {
		page = site.Prefix + ErrorsPath
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

// IsErrorPage reports whether the request is for the configured error page, if that
// is on this host.
func (site *Site) IsErrorPage(r *http.Request) bool {
	if site.ErrorUI == "" {
		return false
	}
	page, err := url.Parse(site.ErrorUI)
	return err == nil && (page.Host == "" || page.Host == r.Host) && httpx.OriginalPath(r) == page.Path
}

// stubErrorID asks for a made-up error, for people who write an error page and want
// to see one.
const stubErrorID = "stub:500"

// ServeError answers GET /self-service/errors?id=….
func (site *Site) ServeError(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return site.FailMethod(w, r, "GET, HEAD")
	}
	query := r.URL.Query()
	id := query.Get("error")
	if id == "" {
		id = query.Get("id")
	}
	kept, err := site.findError(r, id)
	asJSON := httpx.WantsJSON(r)
	switch {
	case errors.Is(err, session.ErrNotFound) && asJSON:
		return site.FailJSON(w, r, ErrNotFound())
	case errors.Is(err, session.ErrNotFound):
		return site.FailPage(w, r, NewError(http.StatusNotFound, "not_found",
			"This error was already forgotten, or another browser caused it.", "Unable to locate the resource"))
	case err != nil && asJSON:
		return site.FailJSON(w, r, err)
	case err != nil:
		return site.FailPage(w, r, site.AsAPIError(r, err))
	case !asJSON:
		return site.FailPage(w, r, &kept.Error)
	}
	if id == stubErrorID {
		id = uuid.NewString()
	}
	return WriteJSON(w, http.StatusOK, map[string]any{
		"id": id, "error": kept.Error, "created_at": kept.CreatedAt, "updated_at": kept.CreatedAt,
	})
}

// findError reads an error for the browser that caused it. All other clients get 404:
// an error page's address must not show one person what another did.
func (site *Site) findError(r *http.Request, id string) (*keptError, error) {
	if id == stubErrorID {
		return &keptError{
			Error:     *NewError(http.StatusInternalServerError, "stub_error", "This is a stub error.", "An internal server error occurred"),
			CreatedAt: site.Now().UTC(),
		}, nil
	}
	secret := site.PresentBrowserCookie(r)
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 || secret == "" {
		return nil, session.ErrNotFound
	}
	store, err := site.OpenStore()
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
