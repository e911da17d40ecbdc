package web

import (
	"net/http"
	"strings"
)

// Routes are the paths of a handler H, and the methods that serve them. The first
// that fits a path serves it.
type Routes[H any] []Route[H]

// Route is one of our paths and what serves it.
type Route[H any] struct {
	// Path is below the prefix of the site. One that ends in /{id} stands for each
	// path with one segment in its place, and one that ends in /* for all below it.
	Path  string
	Serve func(H, http.ResponseWriter, *http.Request) error
	// If reports whether a handler serves it as it is configured. Nil: always.
	If func(H) bool
}

// Find returns what serves a path for a handler, nil if the path is not one of ours.
func (routes Routes[H]) Find(h H, path string) func(H, http.ResponseWriter, *http.Request) error {
	if path == "" {
		return nil
	}
	for i := range routes {
		if route := &routes[i]; route.fits(path) && (route.If == nil || route.If(h)) {
			return route.Serve
		}
	}
	return nil
}

// Paths lists what a handler serves, without what it only refuses.
func (routes Routes[H]) Paths(h H) []string {
	var paths []string
	for _, route := range routes {
		if !strings.HasSuffix(route.Path, "/*") && (route.If == nil || route.If(h)) {
			paths = append(paths, route.Path)
		}
	}
	return paths
}

func (route *Route[H]) fits(path string) bool {
	if before, ok := strings.CutSuffix(route.Path, "*"); ok {
		return strings.HasPrefix(path, before)
	}
	if before, ok := strings.CutSuffix(route.Path, "{id}"); ok {
		id, below := strings.CutPrefix(path, before)
		return below && id != "" && !strings.Contains(id, "/")
	}
	return path == route.Path
}
