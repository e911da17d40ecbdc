package signout

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/returnurl"
)

// defaultAppTimeout is how long an app may take over its own logout.
const defaultAppTimeout = 5 * time.Second

// AppLogout makes the logout of an app that knows nothing of us a real one.
type AppLogout struct {
	// Paths are the app's own logout paths, compared with the path that the
	// client asked for, decoded and cleaned, with their case: the whole path,
	// or what it begins with if the entry ends in *.
	Paths []string `json:"paths,omitempty"`

	// Query are logouts that are told by the query, as /index.php?action=logout.
	Query []LogoutQuery `json:"query,omitempty"`

	// AppFirst sends the request on to the app before our session is ended, so
	// that the app ends its own. Default: true.
	AppFirst *bool `json:"app_first,omitempty"`

	// AppTimeout is how long the app may take; after that, and whatever else
	// goes wrong there, our session is ended all the same. Default: 5s.
	AppTimeout caddy.Duration `json:"app_timeout,omitempty"`

	// KeepResponse answers with what the app answered, with our changes of
	// cookies. Default: false, a redirect, or 204 for JSON clients.
	KeepResponse bool `json:"keep_response,omitempty"`

	// ReturnURL is where the browser goes after the app's own logout: a path on
	// the host of the request, or an absolute URL. Placeholders are expanded at
	// start. Default: the request's return_to, if it is allowed, else the
	// default return URL.
	ReturnURL string `json:"return_url,omitempty"`

	// LogoutOn are responses by which an app says that it has logged someone
	// out, on any path; one of them is enough.
	LogoutOn []LogoutOn `json:"logout_on,omitempty"`

	// StripCookies are cookies of the app to be deleted at each logout.
	StripCookies []StripCookies `json:"strip_cookies,omitempty"`

	// ClearSiteData are the types of data that browsers are told to delete after
	// a logout over HTTPS: cache, cookies, storage. Default: none.
	ClearSiteData []string `json:"clear_site_data,omitempty"`

	returnURL *returnurl.Policy // nil if there is none
}

// LogoutQuery names a logout by path and query.
type LogoutQuery struct {
	// Path is as an entry of [AppLogout].Paths.
	Path string `json:"path"`
	// Values are the query parameters that have to be there, all of them, by
	// name; * stands for any value.
	Values map[string]string `json:"values"`
}

// LogoutOn matches a response. All that is given has to match.
type LogoutOn struct {
	caddyhttp.ResponseMatcher
	// Location are beginnings of the Location header, one of which has to
	// match. One that begins with / is compared behind this host, too.
	Location []string `json:"location,omitempty"`
}

// configured reports whether there is an own logout at all.
func (l *AppLogout) configured() bool { return len(l.Paths) > 0 || len(l.Query) > 0 }

// provision works out what never changes.
func (l *AppLogout) provision() error {
	if l.ReturnURL == "" {
		return nil
	}
	value, err := caddy.NewReplacer().ReplaceOrErr(l.ReturnURL, true, true)
	if err == nil {
		l.returnURL, err = returnurl.New(value, nil)
	}
	if err != nil {
		return fmt.Errorf("logout: return_url: %w", err)
	}
	return nil
}

// appTimeout is how long the app may take.
func (l *AppLogout) appTimeout() time.Duration {
	if l.AppTimeout == 0 {
		return defaultAppTimeout
	}
	return time.Duration(l.AppTimeout)
}

// Validate implements caddy.Validator.
func (l *AppLogout) Validate() error {
	if err := l.Check(); err != nil {
		return fmt.Errorf("logout: %w", err)
	}
	return nil
}

// Check is Validate, for the Caddyfile: its error does not name the directive.
func (l *AppLogout) Check() error {
	for _, path := range l.Paths {
		if err := ValidateLogoutPath(path); err != nil {
			return err
		}
	}
	for _, q := range l.Query {
		if err := ValidateLogoutPath(q.Path); err != nil {
			return fmt.Errorf("query: %w", err)
		}
		if len(q.Values) == 0 {
			return errors.New("query: want a parameter, as in action=logout")
		}
	}
	for _, on := range l.LogoutOn {
		if len(on.StatusCode) == 0 && len(on.Headers) == 0 && len(on.Location) == 0 {
			return errors.New("logout_on: want status, header or location: every response would match")
		}
		if slices.ContainsFunc(on.StatusCode, func(code int) bool { return code < 1 || code > 5 && code < 200 || code > 599 }) {
			return errors.New("logout_on: status: want codes like 303, or classes like 3xx")
		}
		if slices.Contains(on.Location, "") {
			return errors.New("logout_on: location: want what it begins with")
		}
	}
	for i := range l.StripCookies {
		if err := l.StripCookies[i].Validate(); err != nil {
			return fmt.Errorf("strip_cookies: %w", err)
		}
	}
	for _, kind := range l.ClearSiteData {
		if !slices.Contains(siteDataTypes, kind) {
			return errors.New("clear_site_data: want cache, cookies or storage")
		}
	}
	return l.validateOptions()
}

// validateOptions finds options that contradict each other, or have no effect.
func (l *AppLogout) validateOptions() error {
	switch first := l.AppFirst == nil || *l.AppFirst; {
	case l.AppTimeout < 0:
		return errors.New("app_timeout: want more than 0")
	case !l.configured() && (l.AppFirst != nil || l.AppTimeout != 0 || l.KeepResponse || l.ReturnURL != ""):
		return errors.New("app_first, app_timeout, keep_response and return_url are for the app's own logout: name its paths")
	case l.KeepResponse && !first:
		return errors.New("keep_response: there is none to keep with app_first off")
	}
	return nil
}

// ValidateLogoutPath refuses paths that no cleaned path equals, and those under
// which everything would be a logout.
func ValidateLogoutPath(path string) error {
	plain := strings.TrimSuffix(path, "*")
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%q is not a path like /logout", path)
	case plain == "/":
		return fmt.Errorf("%s would make every page a logout", path)
	case strings.ContainsAny(plain, "*?#%"):
		return fmt.Errorf("%s: want a path without query and percent signs; an asterisk may be at its end", path)
	case caddyhttp.CleanPath(plain, true) != plain:
		return fmt.Errorf("%s: want a path without // and dot segments", path)
	}
	return nil
}

// matchLogoutPath compares a cleaned path with an entry.
func matchLogoutPath(entry, path string) bool {
	if prefix, ok := strings.CutSuffix(entry, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return path == entry
}

// IsAppLogout reports whether the request is for the app's own logout.
func (l *AppLogout) IsAppLogout(r *http.Request) bool {
	if !l.configured() || r.Method == http.MethodOptions || r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		return false
	}
	path := httpx.OriginalPath(r)
	if slices.ContainsFunc(l.Paths, func(entry string) bool { return matchLogoutPath(entry, path) }) {
		return true
	}
	return len(l.Query) > 0 && l.isQueryLogout(path, httpx.OriginalURL(r).Query())
}

func (l *AppLogout) isQueryLogout(path string, query url.Values) bool {
	return slices.ContainsFunc(l.Query, func(q LogoutQuery) bool {
		if !matchLogoutPath(q.Path, path) {
			return false
		}
		for name, want := range q.Values {
			// One of several values is enough: which of them counts is the app's
			// choice, and to ask once too often does no harm.
			if got, ok := query[name]; !ok || (want != "*" && !slices.Contains(got, want)) {
				return false
			}
		}
		return true
	})
}

// matches reports whether a response says that someone was logged out.
func (on *LogoutOn) matches(r *http.Request, status int, h http.Header) bool {
	if !on.Match(status, h) {
		return false
	}
	if len(on.Location) == 0 {
		return true
	}
	location := h.Get("Location")
	path := strings.TrimPrefix(location, httpx.RequestOrigin(r))
	return slices.ContainsFunc(on.Location, func(prefix string) bool {
		return strings.HasPrefix(location, prefix) || strings.HasPrefix(path, prefix)
	})
}
