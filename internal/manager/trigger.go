package manager

import (
	"net/http"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
)

// Trigger is what asked for a logout, and for whom.
type Trigger struct {
	Name    string // as the audit log has it
	Address string // of the client; empty: none has asked
}

// TriggerOf is what a request asks for.
func TriggerOf(r *http.Request, name string) Trigger {
	return Trigger{Name: name, Address: httpx.ClientIP(r)}
}
