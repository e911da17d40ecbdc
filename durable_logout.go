// This file makes a logout during an outage of the store durable: noted on this
// machine first, refused here at once, done in the store when it is back, and
// never called done before that.

package caddylogout

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/pages"
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

// answerPending answers 202: the logout was accepted and is not done. The
// cookie is cleared, for this browser has no more use of it, unless another
// session cookie came along that may be live.
func (a *App) answerPending(w http.ResponseWriter, r *http.Request, asJSON bool) error {
	a.clearIfOut(w, r)
	if asJSON {
		return writeJSON(w, http.StatusAccepted, map[string]string{
			"status": "pending",
			"reason": "The session store cannot be reached. The logout was noted and will be done as soon as it is back; until then other servers may still accept the session.",
		})
	}
	prepare(w.Header())
	return a.pages.Pending(w, r, pages.PendingData{Home: a.homeURL(r)})
}
