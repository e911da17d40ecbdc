package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
)

// Walked returns all that a store finds, once each.
func (c Contract) Walked(t *testing.T) (identities []string, keys []session.Key) {
	t.Helper()
	NoError(t, c.WalkIdentities(t.Context(), func(some []string) error {
		identities = append(identities, some...)
		return nil
	}))
	NoError(t, c.WalkKeys(t.Context(), func(some []session.Key) error {
		keys = append(keys, some...)
		return nil
	}))
	slices.Sort(identities)
	slices.SortFunc(keys, func(a, b session.Key) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(identities), slices.Compact(keys)
}

func contractWalk(c Contract) {
	t := c.T
	// Names that are a pattern, or look like a key, and more rows than one step
	// takes. Other cases may have left some: stores share a server.
	names := []string{"walk*", "walk[1]", `walk\`, "walk?", "walk {" + NewKey().String() + "}", "walk", "wal", "walk\n"}
	for i := range 40 {
		names = append(names, fmt.Sprintf("walk-%d", i))
	}
	made := make(map[session.Key]string)
	for _, name := range names {
		for range 3 {
			made[c.Make(t, name)] = name
		}
	}
	gone := c.Make(t, "walk-gone")
	_, err := c.Revoke(t.Context(), gone, "walk-gone", c.Now(), c.Now().Add(time.Hour))
	NoError(t, err)

	identities, keys := c.Walked(t)
	for key, name := range made {
		if !slices.Contains(identities, name) {
			t.Errorf("identity %q was not found", name)
		}
		if !slices.Contains(keys, key) {
			t.Errorf("a session of %q was not found", name)
		}
	}
	if slices.Contains(keys, gone) || slices.Contains(identities, "walk-gone") {
		t.Error("what was revoked is found")
	}

	// What found returns ends the walk; and it may write meanwhile.
	stop, calls := errors.New("stop"), 0
	err = c.WalkKeys(t.Context(), func(some []session.Key) error {
		calls++
		NoError(t, c.Touch(t.Context(), some[0], c.Now(), c.Now().Add(time.Hour)))
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("walk that was stopped: %v after %d calls", err, calls)
	}
	if err := c.WalkIdentities(t.Context(), func([]string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("walk that was stopped: %v", err)
	}
}
