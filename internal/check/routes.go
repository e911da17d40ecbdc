package check

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-logout/caddy-logout/internal/signin"
	"github.com/caddy-logout/caddy-logout/internal/signout"
)

// listedRoute is a line of the list.
type listedRoute struct {
	Server string   `json:"server"`
	Listen []string `json:"listen"`
	// Match is what a request has to be to come here, outermost first.
	Match []string `json:"match"`
	// Directive is the handler, as in JSON.
	Directive string `json:"directive"`
	Verdict   string `json:"verdict"`
	// Paths are those that are intercepted.
	Paths []string `json:"paths,omitempty"`
	// Gates are the matchers of gates before it. A request that comes here may match
	// none, and passes a gate where it matches.
	Gates []string `json:"gates,omitempty"`
}

// routeScope is where in the tree of routes something stands.
type routeScope struct {
	match []string
	// branch are the routes of groups on the way here: of a group, a request
	// takes one route.
	branch map[string]int
	// signedIn says that a matcher lets only requests with a session come here.
	signedIn bool
}

// gateSeen is a gate that stands before later handlers.
type gateSeen struct{ routeScope }

// routeLister goes through the routes of one server.
type routeLister struct {
	c      *Checker
	server rawServer
	name   string
	gates  []gateSeen
	out    []listedRoute
	depth  int // of named routes, which could invoke themselves
}

// maxInvokes bounds named routes in one another.
const maxInvokes = 10

// routes lists our handlers and those behind a gate, of all servers, in the order of
// a request.
func (c *Checker) routes() []listedRoute {
	var out []listedRoute
	for _, name := range sortedKeys(c.raw.Apps.HTTP.Servers) {
		l := &routeLister{c: c, server: c.raw.Apps.HTTP.Servers[name], name: name}
		l.walk(l.server.Routes, routeScope{})
		out = append(out, l.out...)
	}
	return out
}

func (l *routeLister) walk(routes []rawRoute, in routeScope) {
	for i, route := range routes {
		scope := routeScope{match: slices.Clone(in.match), branch: maps.Clone(in.branch), signedIn: in.signedIn}
		if len(route.Match) > 0 && !slices.ContainsFunc(route.Match, func(set map[string]json.RawMessage) bool { return set["session"] == nil }) {
			scope.signedIn = true
		}
		if text := matchText(route.Match); text != "" {
			scope.match = append(scope.match, text)
		}
		if route.Group != "" {
			if scope.branch == nil {
				scope.branch = make(map[string]int)
			}
			scope.branch[route.Group] = i
		}
		for _, raw := range route.Handle {
			l.handler(raw, scope)
		}
	}
}

func (l *routeLister) handler(raw json.RawMessage, scope routeScope) {
	var h struct {
		Handler   string                     `json:"handler"`
		Routes    []rawRoute                 `json:"routes"`
		Name      string                     `json:"name"`
		Providers map[string]json.RawMessage `json:"providers"`
		Optional  bool                       `json:"optional"`
	}
	if json.Unmarshal(raw, &h) != nil {
		return
	}
	line := listedRoute{Server: l.name, Listen: l.server.Listen, Match: scope.match, Directive: h.Handler}
	_, provider := h.Providers["session"]
	switch {
	case h.Handler == "subroute":
		l.walk(h.Routes, scope)
		return
	case h.Handler == "invoke":
		if l.depth < maxInvokes {
			l.depth++
			l.walk([]rawRoute{l.server.NamedRoutes[h.Name]}, scope)
			l.depth--
		}
		return
	case h.Handler == "logout":
		line.Verdict, line.Paths = verdictIntercepted, l.c.logoutPaths(raw)
	case h.Handler == "login":
		line.Verdict, line.Paths = verdictIntercepted, l.c.loginPaths()
	case h.Handler == "session_auth" && h.Optional:
		line.Verdict = verdictOpen
	case h.Handler == "session_auth", h.Handler == "authentication" && provider:
		line.Verdict = verdictGated
		l.gates = append(l.gates, gateSeen{scope})
	case slices.Contains(changesOnly, h.Handler):
		return
	default:
		line.Verdict, line.Gates = l.behind(scope)
	}
	l.out = append(l.out, line)
}

// behind says whether requests that come to scope have passed a gate: all of them,
// those that a matcher of the gate matches, or none.
func (l *routeLister) behind(scope routeScope) (verdict string, where []string) {
	if scope.signedIn {
		return verdictGated, nil
	}
	for _, gate := range l.gates {
		if gate.elsewhere(scope) {
			continue
		}
		missing := slices.DeleteFunc(slices.Clone(gate.match), func(m string) bool { return slices.Contains(scope.match, m) })
		if len(missing) == 0 {
			return verdictGated, nil
		}
		where = append(where, strings.Join(missing, ", "))
	}
	return verdictOpen, where
}

// elsewhere reports whether no request comes to both: they stand in different
// routes of one group, or on different sites.
func (g gateSeen) elsewhere(scope routeScope) bool {
	for group, route := range g.branch {
		if other, ok := scope.branch[group]; ok && other != route {
			return true
		}
	}
	if len(g.match) > 0 && len(scope.match) > 0 && g.match[0] != scope.match[0] {
		return strings.HasPrefix(g.match[0], "host ") && strings.HasPrefix(scope.match[0], "host ")
	}
	return false
}

// matchText writes matchers as people read them: sets are alternatives, and all of
// a set has to match.
func matchText(sets []map[string]json.RawMessage) string {
	alternatives := make([]string, 0, len(sets))
	for _, set := range sets {
		var parts []string
		for _, name := range sortedKeys(set) {
			parts = append(parts, strings.TrimSpace(name+" "+matcherText(name, set[name])))
		}
		alternatives = append(alternatives, strings.Join(parts, ", "))
	}
	return strings.Join(alternatives, " or ")
}

// matcherText writes the values that a matcher compares with: words without quotes,
// all else as JSON.
func matcherText(name string, raw json.RawMessage) string {
	var (
		words      []string
		word       string
		sets       []map[string]json.RawMessage
		expression struct {
			Expr string `json:"expr"`
		}
		identities struct {
			Identities []string `json:"identities"`
		}
	)
	switch {
	case json.Unmarshal(raw, &words) == nil:
		return strings.Join(words, " ")
	case json.Unmarshal(raw, &word) == nil:
		return word
	case name == "not" && json.Unmarshal(raw, &sets) == nil:
		return "(" + matchText(sets) + ")"
	case name == "expression" && json.Unmarshal(raw, &expression) == nil:
		return expression.Expr
	case name == "session" && json.Unmarshal(raw, &identities) == nil:
		return strings.Join(identities.Identities, " ")
	}
	return string(raw)
}

// logoutPaths returns the paths of a logout handler: each of ours that it really
// serves, and the app's own.
func (c *Checker) logoutPaths(raw json.RawMessage) []string {
	l := &signout.Handler{Site: c.site}
	if json.Unmarshal(raw, l) != nil {
		return nil
	}
	var paths []string
	for _, path := range signout.Routes.Paths(l) {
		paths = append(paths, c.site.Prefix+path)
	}
	if l.SessionsPage != "" {
		paths = append(paths, l.SessionsPage)
	}
	paths = append(paths, l.Paths...)
	for _, q := range l.Query {
		var values []string
		for _, name := range sortedKeys(q.Values) {
			values = append(values, name+"="+q.Values[name])
		}
		paths = append(paths, q.Path+"?"+strings.Join(values, "&"))
	}
	return paths
}

func (c *Checker) loginPaths() []string {
	var paths []string
	for _, path := range signin.Routes.Paths(nil) {
		paths = append(paths, c.site.Prefix+path)
	}
	return paths
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
