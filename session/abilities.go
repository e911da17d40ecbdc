package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Optional abilities of a [Store] or a [StoreModule]. Callers ask for the ability, never
// for the concrete store.

// Checker is a [Store] that can say more than [Store.Ping] does: whether it may do all
// that it has to.
type Checker interface {
	// Check queries the store now, also while it is known to be unavailable, and
	// writes nothing that lasts.
	Check(ctx context.Context) Faults
}

// Faults says what keeps a store from being used; nil is nothing. Both wrap
// [ErrUnavailable], and hold no key, no password and nothing of a client.
type Faults struct {
	Read  error // no session can be checked
	Write error // no person can sign in or out
}

// ErrUnreachable is wrapped by a fault of a server that did not answer, however it says so.
var ErrUnreachable = errors.New("unreachable")

// Servers is a [Store] of one or several servers, which knows those that it does not
// query until they answer again.
type Servers interface {
	UnavailableServers() []UnavailableServer
}

// UnavailableServer is a server that does not answer, and since when.
type UnavailableServer struct {
	Server string    `json:"server"`
	Since  time.Time `json:"since"`
}

// Remote is a [StoreModule] whose store is a server: it can be unavailable,
// other programs use it too, and a cache in front of it saves round trips.
type Remote interface {
	// Remote does nothing. The method marks the ability.
	Remote()
}

// Located is a [StoreModule] that can say where its sessions are.
type Located interface {
	// Place returns the settings that say so, always as many. None is a secret: they
	// are logged.
	Place() []Setting
}

// Setting is an option with its value, as people write it.
type Setting struct {
	Option, Value string
	// Ways says that the value lists ways to one place, of which any will do.
	Ways bool
}

// Same reports whether two settings lead to one place. Of values that are ways to it,
// one that both have is enough.
func (s Setting) Same(other Setting) bool {
	if !s.Ways || s.Value == "" || other.Value == "" {
		return s.Value == other.Value
	}
	ways := strings.Fields(other.Value)
	return slices.ContainsFunc(strings.Fields(s.Value), func(way string) bool { return slices.Contains(ways, way) })
}
