// This file sets the placeholders that tell about a session.

package caddylogout

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/person"
	"github.com/caddy-logout/caddy-logout/session"
)

// userPlaceholder is the prefix under which Caddy keeps who a user is.
const userPlaceholder = "http.auth.user."

// logoutURLPlaceholder is the URL that ends the session of the request.
const logoutURLPlaceholder = "session.logout_url"

// setPlaceholders makes these placeholders known for the rest of the request:
// {http.auth.user.id}, {http.auth.user.<trait>} (nested traits with dots),
// {session.id}, {session.expires_at} and {session.logout_url}. All but the
// first are worked out when they are asked for.
func setPlaceholders(repl *caddy.Replacer, a *App, r *http.Request, res *authResult) {
	s := res.session
	repl.Set(userPlaceholder+"id", s.Identity)
	repl.Map(func(key string) (any, bool) {
		switch key {
		case "session.id":
			return s.ID, true
		case "session.expires_at":
			return s.ExpiresAt.UTC().Format(time.RFC3339), true
		case logoutURLPlaceholder:
			return a.logoutURL(r, res.logoutToken(), ""), true
		}
		trait, ok := strings.CutPrefix(key, userPlaceholder)
		if !ok {
			return nil, false
		}
		if res.traits == nil {
			res.traits = a.traitsOf(s)
		}
		value, ok := res.traits[trait]
		return value, ok
	})
}

// traitsOf returns the traits of a session by the names of their placeholders. Our
// sign-ins refuse what is left out here, but a login service may have written it.
func (a *App) traitsOf(s *session.Session) map[string]string {
	traits, err := person.Flatten(s.Traits)
	if err != nil {
		a.logger.Warn("traits left out", zap.String("session", s.Key.Short()), zap.Error(err))
	}
	return traits
}
