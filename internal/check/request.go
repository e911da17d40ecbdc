package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/session"
)

// The verdicts on a request, and on a route.
const (
	verdictIntercepted = "intercepted" // answered by logout or login
	verdictGated       = "gated"       // passes with a live session only
	verdictOpen        = "open"        // passes without one
	verdictRefused     = "refused"     // answered by the configuration before it gets anywhere
)

// requestVerdict is what a request would get.
type requestVerdict struct {
	Request        string        `json:"request"`
	Verdict        string        `json:"verdict"`
	WithoutSession requestAnswer `json:"without_session"`
	WithSession    requestAnswer `json:"with_session"`
}

// requestAnswer is what one way to send it would get.
type requestAnswer struct {
	// By is the handler that answers, empty if none does.
	By string `json:"by"`
	// Status is 0 if the app, or what else is behind the handler, chooses it.
	Status   int    `json:"status"`
	Location string `json:"location,omitempty"`
	// Passed are our handlers that it came through.
	Passed []string `json:"passed,omitempty"`
}

// traced is the key of the request's context for its *requestAnswer.
type traced struct{}

// tracer stands in the place of a handler.
type tracer struct {
	caddyhttp.MiddlewareHandler
	name string
}

// changesOnly are handlers that change a request or a response, by themselves, and
// send it on.
var changesOnly = []string{"rewrite", "vars", "map", "headers", "encode", "request_body", "subroute", "invoke", "log_append"}

// answersItself are handlers that answer by themselves.
var answersItself = []string{"static_response", "error"}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (t *tracer) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	answer := r.Context().Value(traced{}).(*requestAnswer)
	handler := t.MiddlewareHandler
	intercepts, went := false, false
	switch h := handler.(type) {
	case interface{ IsAppLogout(r *http.Request) bool }:
		// It asks the app, and still answers itself.
		intercepts = h.IsAppLogout(r)
	case *caddyauth.Authentication:
		if _, ours := h.Providers["session"]; !ours && len(h.Providers) > 0 {
			answer.By = t.name
			return nil
		}
	default:
		switch {
		case t.name == "login", t.name == "session_auth":
			// They run.
		case slices.Contains(changesOnly, t.name):
			return handler.ServeHTTP(w, r, next)
		case slices.Contains(answersItself, t.name):
			answer.By = t.name
			return handler.ServeHTTP(w, r, next)
		default:
			answer.By, answer.Status = t.name, 0
			return errArrived
		}
	}
	err := handler.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		went = true
		if !intercepts {
			answer.Passed = append(answer.Passed, t.name)
		}
		err := next.ServeHTTP(w, r)
		if intercepts && errors.Is(err, errArrived) {
			return nil // the app has answered
		}
		return err
	}))
	if !went || intercepts {
		answer.By = t.name
	}
	return err
}

// errArrived means that a request came to a handler that does not run.
var errArrived = errors.New("the request has arrived")

// traceServer puts tracers in the place of all handlers of a server.
func (c *Checker) traceServer(ctx caddy.Context, server *caddyhttp.Server) error {
	if err := traceRoutes(ctx, server.Routes); err != nil {
		return err
	}
	for _, route := range server.NamedRoutes {
		if err := traceRoute(ctx, route); err != nil {
			return err
		}
	}
	return nil
}

func traceRoutes(ctx caddy.Context, routes caddyhttp.RouteList) error {
	for i := range routes {
		if err := traceRoute(ctx, &routes[i]); err != nil {
			return err
		}
	}
	return nil
}

func traceRoute(ctx caddy.Context, route *caddyhttp.Route) error {
	for i, handler := range route.Handlers {
		if sub, ok := handler.(*caddyhttp.Subroute); ok {
			if err := traceRoutes(ctx, sub.Routes); err != nil {
				return err
			}
		}
		name := ""
		if module, ok := handler.(caddy.Module); ok {
			name = module.CaddyModule().ID.Name()
		}
		route.Handlers[i] = &tracer{handler, name}
	}
	// The raw handlers are gone, so this compiles those that are there.
	return route.ProvisionHandlers(ctx, nil)
}

// request says what a request like "GET https://app.example.com/path" would get. It
// runs our own handlers, and those that change or answer a request by themselves.
// Where another handler would query an app or read files, the request has arrived.
func (c *Checker) request(line string, header []string) (requestVerdict, error) {
	v := requestVerdict{Request: line}
	var err error
	if v.WithoutSession, err = c.send(line, header, nil); err != nil {
		return v, err
	}
	credential, s, err := c.site.Issue(context.Background(), manager.NewSession{Identity: "somebody", Method: "password"})
	if err != nil {
		return v, err
	}
	if v.WithSession, err = c.send(line, header, &credential); err != nil {
		return v, err
	}
	if _, err := c.site.Revoke(context.Background(), s); err != nil {
		return v, err
	}
	v.Verdict = v.WithoutSession.verdict()
	return v, nil
}

func (a requestAnswer) verdict() string {
	if a.Status == http.StatusNotImplemented {
		return verdictRefused // a tunnel: no client gets one
	}
	switch a.By {
	case "logout", "login":
		return verdictIntercepted
	case "session_auth", "authentication":
		return verdictGated
	case "error":
		return verdictRefused
	}
	return verdictOpen
}

// send sends a request through the server for its address.
func (c *Checker) send(line string, header []string, credential *session.Credential) (requestAnswer, error) {
	r, err := parseRequest(line, header)
	if err != nil {
		return requestAnswer{}, err
	}
	if credential != nil {
		r.AddCookie(&http.Cookie{Name: c.site.Cookie.Name, Value: credential.Secret()})
	}
	server, err := c.serverFor(r)
	if err != nil {
		return requestAnswer{}, err
	}
	answer := new(requestAnswer)
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r.WithContext(context.WithValue(r.Context(), traced{}, answer)), caddy.NewReplacer(), w, server)
	err = serveTraced(server, w, r)
	switch failure, isStatus := errors.AsType[caddyhttp.HandlerError](err); {
	case errors.Is(err, errArrived):
		return *answer, nil
	case isStatus && failure.StatusCode != 0:
		answer.Status = failure.StatusCode
	case err != nil:
		answer.Status = http.StatusInternalServerError
	default:
		answer.Status, answer.Location = w.Code, w.Header().Get("Location")
	}
	return *answer, nil
}

// serveTraced runs the routes. A handler may break a connection off by a panic.
func serveTraced(server *caddyhttp.Server, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			if cause != http.ErrAbortHandler { //nolint:errorlint,err113 // as net/http compares it
				panic(cause)
			}
			err = caddyhttp.Error(http.StatusBadGateway, http.ErrAbortHandler)
		}
	}()
	empty := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	return server.Routes.Compile(empty).ServeHTTP(w, r)
}

// parseRequest makes a request of a line and header lines.
func parseRequest(line string, header []string) (*http.Request, error) {
	method, address, found := strings.Cut(strings.TrimSpace(line), " ")
	if !found {
		method, address = http.MethodGet, method
	}
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--request: want a method and an http or https URL, like 'GET https://app.example.com/path'")
	}
	r, err := http.NewRequestWithContext(context.Background(), method, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("--request: %w", err)
	}
	// As a server gets it: the host apart, and an address of a client that is
	// nobody's (RFC 5737).
	r.RequestURI, r.RemoteAddr = u.RequestURI(), "192.0.2.1:1024"
	if u.Scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: u.Hostname()}
	}
	r.URL.Scheme, r.URL.Host = "", ""
	if r.URL.Path == "" {
		r.URL.Path = "/"
	}
	for _, one := range header {
		name, value, found := strings.Cut(one, ":")
		if !found {
			return nil, errors.New("--header: want a name and a value, like 'Accept: application/json'")
		}
		if name = strings.TrimSpace(name); strings.EqualFold(name, "Host") {
			r.Host = strings.TrimSpace(value)
			continue
		}
		r.Header.Add(name, strings.TrimSpace(value))
	}
	return r, nil
}

// serverFor returns the server that listens on the port of a request.
func (c *Checker) serverFor(r *http.Request) (*caddyhttp.Server, error) {
	wanted := "80"
	if r.TLS != nil {
		wanted = "443"
	}
	if u, err := url.Parse("//" + r.Host); err == nil && u.Port() != "" {
		wanted = u.Port()
	}
	port, err := strconv.ParseUint(wanted, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("--request: %q is not a port", wanted)
	}
	for _, name := range sortedKeys(c.http.Servers) {
		for _, address := range c.http.Servers[name].Listen {
			parsed, err := caddy.ParseNetworkAddress(address)
			if err == nil && uint64(parsed.StartPort) <= port && port <= uint64(parsed.EndPort) {
				return c.http.Servers[name], nil
			}
		}
	}
	return nil, fmt.Errorf("--request: nothing listens on port %d", port)
}

// Interface guard.
var _ caddyhttp.MiddlewareHandler = (*tracer)(nil)
