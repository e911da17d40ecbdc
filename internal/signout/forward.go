package signout

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

type nextHandler = caddyhttp.Handler

// errAppTimeout ends a request that the app takes too long over.
var errAppTimeout = errors.New("the app took longer over its logout than app_timeout")

// appFirst sends the request to the app and then ends our session, whatever came
// of the first.
func (l *Handler) appFirst(w http.ResponseWriter, r *http.Request, next nextHandler, confirmed confirmation, credentials []session.Credential) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	timer := time.AfterFunc(l.appTimeout(), func() { cancel(errAppTimeout) })
	defer timer.Stop()
	forward := l.forward(r.WithContext(ctx), confirmed)
	defer web.OpenGate(r, false) // a gate in handle_errors is shut
	if !l.KeepResponse {
		d := httpx.NewDiscarder()
		if err := callApp(d, forward, next); err != nil {
			l.logAppFailure(r, err, context.Cause(ctx))
			return l.finishAppLogout(w, r, credentials, nil)
		}
		status, header := d.Result()
		l.logAppStatus(r, status)
		return l.finishAppLogout(w, r, credentials, header)
	}
	x := httpx.HookResponse(w, func(w http.ResponseWriter, status int) bool {
		if httpx.Informational(status) {
			return false
		}
		timer.Stop() // from here on the body may take its time
		l.logAppStatus(r, status)
		return l.endInResponse(w, r, credentials, telemetry.ByApp)
	})
	err := callApp(x, forward, next)
	switch {
	case x.Wrote && errors.Is(err, http.ErrAbortHandler):
		panic(http.ErrAbortHandler) // the response is not whole
	case x.Wrote && err != nil:
		return err
	case err != nil:
		l.logAppFailure(r, err, context.Cause(ctx))
		return l.finishAppLogout(w, r, credentials, nil)
	}
	x.Finish()
	return nil
}

// callApp lets the next handler answer. A proxy ends a response that breaks off
// by a panic, which must not keep us from ending a session.
func callApp(w http.ResponseWriter, r *http.Request, next nextHandler) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = errors.New("the app's handler panicked")
			if e, ok := recovered.(error); ok {
				err = errors.Join(err, e)
			}
		}
	}()
	return next.ServeHTTP(w, r)
}

func (l *Handler) logAppFailure(r *http.Request, err, cause error) {
	l.Site.Logger.Warn("app's own logout failed; ours goes on",
		zap.String("path", r.URL.Path), zap.NamedError("cause", cause), zap.Error(err))
}

func (l *Handler) logAppStatus(r *http.Request, status int) {
	// A refusal of our own gate says nothing of the app: the store is not there, or
	// there is no session that the app could end.
	if status >= 400 && !web.GateAnswered(r) {
		l.Site.Logger.Warn("app's own logout failed; ours goes on", zap.String("path", r.URL.Path), zap.Int("status", status))
	}
}

// forward returns the request as it goes to the app.
func (l *Handler) forward(r *http.Request, confirmed confirmation) *http.Request {
	r.Header = cloneHeader(r.Header)
	if confirmed.sent {
		// The form was ours: the app gets what it would have got without it.
		r.Method, r.Body, r.ContentLength = confirmed.method, http.NoBody, 0
		r.Header.Del("Content-Type")
		r.Header.Del("Content-Length")
	}
	// Who has no live session passes the gate here, but only to a path that is
	// a logout in every reading: spelled as configured, and with no header by
	// which some apps take another path or method for the real one.
	res, err := l.Site.Authenticate(r)
	if err != nil || res.Session != nil || !slices.Contains(l.Paths, httpx.OriginalURL(r).EscapedPath()) {
		return r
	}
	web.OpenGate(r, true)
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return !harmless(name) })
	r.Trailer = nil // some read them as headers
	return r
}

// harmlessHeaders go to the app's logout with a request that has no session.
var harmlessHeaders = httpx.NewHeaderSet("Accept", "Accept-Encoding", "Accept-Language", "Content-Length", "Content-Type", "Cookie",
	"Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "User-Agent",
	"X-Csrf-Token", "X-Csrftoken", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Requested-With", "X-Xsrf-Token")

func harmless(name string) bool {
	return !httpx.Foldable(name) && harmlessHeaders.Contains(name)
}

// cloneHeader copies a header, but not its lines, which we never change in place.
func cloneHeader(h http.Header) http.Header { return maps.Clone(h) }

// The fields of the form on the page that asks first.
const (
	confirmTokenField  = "logout_token"
	confirmMethodField = "logout_method"
)

// MaxConfirmation bounds that form in bytes. A longer body is the app's.
const MaxConfirmation = 512

// confirmation is what a person sends who was asked first.
type confirmation struct {
	sent   bool   // the form came
	token  string // the logout token in it
	method string // of the request that led to the question
}

// readConfirmation reads the form. Any other body is left as it was.
func readConfirmation(r *http.Request) confirmation {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method != http.MethodPost || r.ContentLength <= 0 || r.ContentLength > MaxConfirmation ||
		httpx.TrimBlanks(media) != "application/x-www-form-urlencoded" {
		return confirmation{}
	}
	read, err := io.ReadAll(r.Body)
	rest := io.Reader(bytes.NewReader(read))
	if err != nil {
		rest = io.MultiReader(rest, failingReader{err})
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{rest, r.Body}
	form, parseErr := url.ParseQuery(string(read))
	if err != nil || parseErr != nil || !form.Has(confirmMethodField) {
		return confirmation{}
	}
	c := confirmation{sent: true, token: form.Get(confirmTokenField), method: form.Get(confirmMethodField)}
	if c.method != http.MethodPost {
		c.method = http.MethodGet
	}
	return c
}

// failingReader ends a body as it ended when it was read first.
type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// by reports whether the form carries the logout token of one of the
// credentials, which nobody knows but a page of ours.
func (c confirmation) by(credentials []session.Credential) bool {
	return c.sent && slices.ContainsFunc(credentials, func(credential session.Credential) bool {
		return session.LogoutTokenMatches(credential, c.token)
	})
}
