// This file makes a logout during an outage of the store durable: noted on this
// machine first, refused here at once, done in the store when it is back, and
// never called done before that.

package caddylogout

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
)

// DurableLogout takes a logout while the store is away. Without it such a
// logout is answered 503 and changes nothing.
type DurableLogout struct {
	// Journal is the file of pending logouts. Each Caddy process needs its own.
	// Default: caddy-logout/pending-logouts.db in Caddy's data directory.
	// Placeholders are expanded at start.
	Journal string `json:"journal,omitempty"`
}

// errDurableEmbedded says that a journal would never hold anything.
var errDurableEmbedded = errors.New("durable_logout: is for a store that can be away, such as redis; the embedded store cannot")

// journalFile returns the file of pending logouts, empty if there is to be none.
func (a *App) journalFile() (string, error) {
	if a.DurableLogout == nil {
		return "", nil
	}
	if !a.storeIsRemote() {
		return "", errDurableEmbedded
	}
	return a.DurableLogout.provision()
}

// provision works out the file. It opens nothing.
func (d *DurableLogout) provision() (file string, err error) {
	file = d.Journal
	if file == "" {
		file = filepath.Join(caddy.AppDataDir(), "caddy-logout", "pending-logouts.db")
	}
	if file, err = caddy.NewReplacer().ReplaceOrErr(file, true, true); err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return "", fmt.Errorf("sessions: durable_logout: journal: %w", err)
	}
	return file, nil
}
