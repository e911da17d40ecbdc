package deferred

import (
	"slices"
	"testing"
)

func TestQueue(t *testing.T) {
	var order []string
	note := func(what string) func() { return func() { order = append(order, what) } }
	exiting := false
	q := Queue{Exiting: func() bool { return exiting }}
	q.Later(note("journal"))
	q.Later(note("store"))
	if len(order) != 0 {
		t.Errorf("closed at once: %q", order)
	}
	exiting = true
	q.Later(note("last"))
	q.Flush()
	if want := []string{"journal", "store", "last"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
}
