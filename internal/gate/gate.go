// Package gate lets requests with a live session pass to an app. It names the person
// to the app in headers, and deletes these headers where a client sent them.
package gate

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-logout/caddy-logout/formats/native"
	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/streams"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// Options are the options of a gate.
type Options struct {
	// Optional lets requests without a live session pass, too. They carry none of our
	// headers. While the store is unavailable, the gate answers them 503 all the
	// same: it cannot know whether they are anonymous.
	Optional bool `json:"optional,omitempty"`

	// LoginURL is where a browser without a live session is sent, with
	// ?return_to=…. Default: none, and a page that says 401. Placeholders are
	// expanded.
	LoginURL string `json:"login_url,omitempty"`

	// Headers are the headers that the app gets, by name; placeholders are expanded.
	// The gate first deletes those that the client sent, in any spelling that a
	// backend may take for them. Default: X-User-Id with {http.auth.user.id} and
	// X-Logout-Url with {session.logout_url}.
	Headers map[string]string `json:"headers,omitempty"`

	// StripCredentials deletes our credential from the request before it goes to the
	// app. Default: true.
	StripCredentials *bool `json:"strip_credentials,omitempty"`

	// IssueOnHeader names a response header by which a trusted app says that someone
	// has signed in: a JSON object with identity, and perhaps traits and lifespan.
	// The gate deletes the header, makes a session, and sets its cookie. Default:
	// off.
	IssueOnHeader string `json:"issue_on_header,omitempty"`

	// NoStore keeps browsers from keeping the app's pages: HTML in answer to a
	// request with a live session gets Cache-Control: no-store, so that after
	// signing out the back button shows none of it. Default: false.
	NoStore *bool `json:"no_store,omitempty"`

	// KeepStreams lets open requests go on when their session ends. Default: false:
	// the gate closes WebSockets, server-sent events and downloads of a session
	// within a second of its end, on whichever server it ended.
	KeepStreams bool `json:"keep_streams,omitempty"`
}

// Handler is a gate as it runs.
type Handler struct {
	Options

	site   *web.Site
	logger *zap.Logger
	told   []toldHeader
	own    *httpx.HeaderSet // the names that only we may set
	strip  *httpx.HeaderSet // those, and the names that carry our credential
}

// toldHeader is one of Headers.
type toldHeader struct{ name, template string }

// defaultHeaders are the headers that an app gets by default.
func defaultHeaders() map[string]string {
	return map[string]string{"X-User-Id": "{http.auth.user.id}", "X-Logout-Url": "{session.logout_url}"}
}

// New returns the gate of a site.
func New(options Options, site *web.Site, logger *zap.Logger) *Handler {
	g := &Handler{Options: options, site: site, logger: logger}
	g.prepare()
	site.GateHeaders.Add(g.ownNames()...)
	return g
}

// ownNames are the headers that only we may set.
func (g *Options) ownNames() []string {
	names := slices.Collect(maps.Keys(g.Headers))
	if g.IssueOnHeader != "" {
		names = append(names, g.IssueOnHeader)
	}
	return names
}

// prepare computes what never changes.
func (g *Handler) prepare() {
	if g.Headers == nil {
		g.Headers = defaultHeaders()
	}
	names := g.ownNames()
	g.own, g.strip = httpx.NewHeaderSet(names...), httpx.NewHeaderSet(names...)
	if g.stripsCredentials() {
		g.strip = httpx.NewHeaderSet(append(names, native.SessionTokenHeader)...)
	}
	g.told = nil
	for name, template := range g.Headers {
		g.told = append(g.told, toldHeader{http.CanonicalHeaderKey(name), template})
	}
}

func (g *Options) stripsCredentials() bool {
	return g.StripCredentials == nil || *g.StripCredentials
}

// Validate implements caddy.Validator.
func (g *Options) Validate() error {
	for name := range g.Headers {
		if err := ValidateHeaderName(name); err != nil {
			return fmt.Errorf("session_auth: header: %w", err)
		}
	}
	if g.IssueOnHeader != "" {
		if err := ValidateHeaderName(g.IssueOnHeader); err != nil {
			return fmt.Errorf("session_auth: issue_on_header: %w", err)
		}
	}
	return nil
}

// ValidateHeaderName refuses invalid header names, and those that a proxy needs for
// itself.
func ValidateHeaderName(name string) error {
	switch strings.ToLower(name) {
	case "cookie", "set-cookie", "connection", "host", "content-length", "transfer-encoding", "upgrade", "te", "trailer":
		return fmt.Errorf("%s cannot be used here", name)
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%q is not a header name", name)
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (g *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if refusal := web.Admit(r); refusal != nil {
		return g.site.FailAndClose(w, r, refusal)
	}
	res, err := g.site.Authenticate(r)
	if err != nil {
		return g.unavailable(w, r, err)
	}
	if res.Session == nil && !g.Optional && !web.GateOpened(r) {
		g.site.ClearIfDead(w, r, res)
		return g.refuse(w, r)
	}
	if err := g.clean(r, res); err != nil {
		return g.unavailable(w, r, err)
	}
	if res.Session == nil {
		g.site.ClearIfDead(w, r, res)
		return next.ServeHTTP(g.watchResponse(w, r, res), r)
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	setPlaceholders(repl, g.site, r, res)
	g.tell(r, repl, res)
	x := g.watchResponse(w, r, res)
	open, err := g.site.OpenStore()
	if err != nil {
		return g.unavailable(w, r, err)
	}
	if g.KeepStreams || open.Streams == nil || res.Stream != nil {
		return next.ServeHTTP(x, r)
	}
	served, st := open.Streams.Open(w, r, streams.Admission{Session: res.Session, Changes: res.Changes, By: g.site.Manager, Known: res.Known})
	if st == nil {
		return g.unavailable(w, r, fmt.Errorf("%w: %w", session.ErrUnavailable, manager.ErrClosed))
	}
	res.Stream = st
	defer open.Streams.Done(st)
	x.Until, x.Sent = served.Context(), &st.Sent
	err = next.ServeHTTP(x, served)
	if err != nil && !x.Wrote && st.WasCut() {
		return g.refuse(w, r)
	}
	if x.BrokeOff {
		// Some handlers do not report that they sent only a part of a body. The
		// client must not take that part for the whole (RFC 9112, section 8).
		panic(http.ErrAbortHandler)
	}
	return err
}

// clean deletes from the request what the app must not get from a client: the headers
// that only we set, in every spelling and behind the body too, their names in
// Connection (a proxy deletes what is named there, after us), our credential, and the
// secret that binds this browser to its forms. An error page of the app needs that
// secret, to ask for the error on behalf of the browser. The error wraps
// [session.ErrUnavailable] if a bearer token could not be looked up.
func (g *Handler) clean(r *http.Request, res *web.Auth) error {
	res.Gated = true
	g.strip.DeleteFrom(r.Header)
	g.own.CutConnection(r.Header)
	g.strip.CutTrailers(r)
	if !g.stripsCredentials() {
		return nil
	}
	httpx.CutCookies(r.Header, func(name string) bool {
		return name == g.site.Cookie.Name || g.site.IsBrowserCookie(name) && !g.site.IsErrorPage(r)
	})
	httpx.CutLookalikes(r.Header, g.site.Cookie.Name)
	return g.cutBearer(r, res)
}

// tell sets the configured headers. It leaves out a value that is not valid in a
// header (a trait may hold anything), and does not repair it.
func (g *Handler) tell(r *http.Request, repl *caddy.Replacer, res *web.Auth) {
	values := make([]string, len(g.told)) // for all of them at once
	for i, header := range g.told {
		var value string
		switch header.template {
		case "{" + userPlaceholder + "id}":
			value = res.Session.Identity
		case "{" + logoutURLPlaceholder + "}":
			value = g.site.LogoutURL(r, res.LogoutToken(), "")
		default:
			value = repl.ReplaceAll(header.template, "")
		}
		if value == "" {
			continue
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			g.logger.Warn("header left out: its value has control characters", zap.String("header", header.name))
			continue
		}
		values[i] = value
		r.Header[header.name] = values[i : i+1 : i+1]
	}
}

// refuse answers a request that has no live session.
func (g *Handler) refuse(w http.ResponseWriter, r *http.Request) error {
	site := g.site
	web.NoteGateAnswer(r)
	if httpx.WantsJSON(r) || !web.IsNavigation(r) {
		return site.FailJSON(w, r, web.ErrSessionInactive())
	}
	if g.LoginURL == "" {
		web.Prepare(w.Header())
		web.ErrorHeaders(w.Header(), web.ErrSessionInactive())
		return site.Pages.Unauthorized(w, r, pages.UnauthorizedData{})
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	u, err := url.Parse(repl.ReplaceAll(g.LoginURL, ""))
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("session_auth: login_url is not a URL"))
	}
	// The redirect after sign-in is a GET, and cannot repeat a request with an unsafe
	// method, so there is no page to come back to.
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		q := u.Query()
		q.Set("return_to", g.returnTo(r))
		u.RawQuery = q.Encode()
	}
	return web.Redirect(w, r, u.String())
}

// returnTo is the page that the client asked for. With a base_url, several sites may
// share one sign-in: the browser goes back to the site that it came from, if that is
// allowed.
func (g *Handler) returnTo(r *http.Request) string {
	if there, err := g.site.CheckReturnURL(r, httpx.RequestOrigin(r)+web.OriginalURI(r)); err == nil {
		return there
	}
	return g.site.Base(r) + web.OriginalURI(r)
}

// unavailable answers a request whose session cannot be looked up.
func (g *Handler) unavailable(w http.ResponseWriter, r *http.Request, err error) error {
	web.NoteGateAnswer(r)
	return g.site.Unavailable(w, r, err)
}
