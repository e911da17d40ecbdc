package web

import (
	"errors"
	"net/http"
	"slices"
	"testing"
)

func TestRoutes(t *testing.T) {
	served := func(name string) func(bool, http.ResponseWriter, *http.Request) error {
		return func(bool, http.ResponseWriter, *http.Request) error { return errors.New(name) }
	}
	on := func(on bool) bool { return on }
	routes := Routes[bool]{
		{Path: "/a", Serve: served("a")},
		{Path: "/s/self", Serve: served("self")},
		{Path: "/s/{id}", Serve: served("one"), If: on},
		{Path: "/s/*", Serve: served("refused"), If: on},
	}
	for _, test := range []struct {
		path, with, without string
	}{
		{"/a", "a", "a"},
		{"/a/", "", ""},
		{"/A", "", ""},
		{"", "", ""},
		{"/s", "", ""},
		{"/s/self", "self", "self"},
		{"/s/selfish", "one", ""},
		{"/s/", "refused", ""},
		{"/s/x/y", "refused", ""},
	} {
		for is, want := range map[bool]string{true: test.with, false: test.without} {
			got := ""
			if serve := routes.Find(is, test.path); serve != nil {
				got = serve(is, nil, nil).Error()
			}
			if got != want {
				t.Errorf("%s, on %v: %q, want %q", test.path, is, got, want)
			}
		}
	}
	if got, want := routes.Paths(true), []string{"/a", "/s/self", "/s/{id}"}; !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	if got, want := routes.Paths(false), []string{"/a", "/s/self"}; !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
}
