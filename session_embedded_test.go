// This file tests the embedded store: what its file survives, who else may have
// it, and what is swept from it.

package caddylogout

import (
	"path/filepath"
	"testing"
	"time"
)

func TestEmbeddedContract(t *testing.T) {
	testStore(t, func(t *testing.T, now func() time.Time) Store {
		t.Helper()
		store, err := openEmbedded(filepath.Join(t.TempDir(), "data", "sessions.db"), now)
		noError(t, err)
		return store
	})
}
