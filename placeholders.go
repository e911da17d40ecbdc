// This file sets the placeholders that tell about a session.

package caddylogout

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
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
		value, ok := traitsOf(s)[trait]
		return value, ok
	})
}

// traitsOf flattens the traits of a session: numbers as they were written,
// nested objects with dots, lists as their JSON.
func traitsOf(s *Session) map[string]string {
	flat := make(map[string]string)
	if len(s.Traits) == 0 {
		return flat
	}
	var traits map[string]any
	decoder := json.NewDecoder(bytes.NewReader(s.Traits))
	decoder.UseNumber()
	if decoder.Decode(&traits) == nil {
		flatten(flat, "", traits)
	}
	return flat
}

func flatten(flat map[string]string, prefix string, object map[string]any) {
	for name, value := range object {
		switch v := value.(type) {
		case nil:
		case string:
			flat[prefix+name] = v
		case map[string]any:
			flatten(flat, prefix+name+".", v)
		default:
			if text, err := json.Marshal(v); err == nil {
				flat[prefix+name] = string(text)
			}
		}
	}
}
