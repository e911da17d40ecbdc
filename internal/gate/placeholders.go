package gate

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

// userPlaceholder is the prefix under which Caddy keeps the user.
const userPlaceholder = "http.auth.user."

// logoutURLPlaceholder is the URL that ends the session of the request.
const logoutURLPlaceholder = "session.logout_url"

// setPlaceholders makes these placeholders known for the rest of the request:
// {http.auth.user.id}, {http.auth.user.<trait>} (nested traits with dots),
// {session.id}, {session.expires_at} and {session.logout_url}. All but the first are
// computed on use.
func setPlaceholders(repl *caddy.Replacer, site *web.Site, r *http.Request, res *web.Auth) {
	s := res.Session
	repl.Set(userPlaceholder+"id", s.Identity)
	repl.Map(func(key string) (any, bool) {
		switch key {
		case "session.id":
			return s.ID, true
		case "session.expires_at":
			return s.ExpiresAt.UTC().Format(time.RFC3339), true
		case logoutURLPlaceholder:
			return site.LogoutURL(r, res.LogoutToken(), ""), true
		}
		trait, ok := strings.CutPrefix(key, userPlaceholder)
		if !ok {
			return nil, false
		}
		if res.Traits == nil {
			res.Traits = site.TraitsOf(s)
		}
		value, ok := res.Traits[trait]
		return value, ok
	})
}
