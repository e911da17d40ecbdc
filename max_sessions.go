// This file bounds how many sessions a person has: when a sign-in makes one too
// many, the oldest end.

package caddylogout

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

const (
	// defaultMaxSessions is more than a person has devices, and what the page of
	// one's sessions shows.
	defaultMaxSessions = 100
	// maxMaxSessions bounds the bound: a sign-in that meets it reads them all.
	maxMaxSessions = 10_000
)

var errMaxSessions = fmt.Errorf("want a number from 1 to %d, or off", maxMaxSessions)

func validateMaxSessions(n *int) error {
	if n != nil && (*n < 0 || *n > maxMaxSessions) {
		return errMaxSessions
	}
	return nil
}

// unmarshalMaxSessions reads the option max_sessions <n>|off.
func (a *App) unmarshalMaxSessions(d *caddyfile.Dispenser) error {
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	n := 0
	if raw != "off" {
		var err error
		if n, err = strconv.Atoi(raw); err != nil || n < 1 || n > maxMaxSessions {
			return d.Errf("max_sessions: %q: %w", raw, errMaxSessions)
		}
	}
	a.MaxSessions = &n
	return nil
}
