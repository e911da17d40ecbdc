package caddylogout

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/internal/signout"
)

func FuzzLogoutBody(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", `""`, "[]", `{"session_token":"x"}`, `{"session_token":1}`, `{"session_token":"x"} y`, `{"a":{"b":[1e999]}}`, "\xff", "{",
	} {
		f.Add(body, "application/json")
	}
	f.Add("{}", "application/json; charset=utf-8")
	f.Add("{}", "text/plain")
	a := newTestApp(f, nil)
	c, _ := a.signIn(f, "alice", "")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		r := newRequest(t, http.MethodDelete, "/self-service/logout/api")
		r.Header.Set("Content-Type", contentType)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		w := serve(t, &signout.Handler{Site: a.Site}, r, nil)
		if w.Code != http.StatusBadRequest && w.Code != http.StatusForbidden && w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", w.Code)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer %q", w.Body)
		}
		if !a.alive(t, c) {
			t.Error("a session was ended that was not named")
		}
	})
}

func FuzzCaddyfile(f *testing.F) {
	for _, block := range []string{
		"sessions", "sessions {\nlifespan 1h\nidle_timeout off\nmax_sessions 7\n}", "sessions {\nstore redis localhost {\ndb 1\ntls {\nca x\n}\n}\n}",
		"sessions {\nstore embedded x\ncookie __Host-x {\nsecure\npath /\n}\n}", "sessions {\nallowed_return_urls https://*.example.com {env.X}\n}",
		"logout {\nsessions_api off\n}", "logout /logout /x* {\napp_first off\nquery /i a=b\nlogout_on {\nstatus 3xx\nheader A b\nlocation /\n}\nstrip_cookies a* {\ndomain b\npath /\n}\nclear_site_data cache\n}",
		"login {\naccounts x\ndefault_return_url /\n}",
		"session_auth {\nlogin_url /x\nheader X-A {http.auth.user.id}\nstrip_credentials off\n}", "session alice bob", "session_auth {\n{\n}\n}",
	} {
		f.Add(block)
	}
	f.Fuzz(func(t *testing.T, block string) {
		name, _, _ := strings.Cut(block, " ")
		var to caddyfile.Unmarshaler
		switch strings.TrimSpace(name) {
		case "logout":
			to = new(Logout)
		case "login":
			to = new(Login)
		case "session_auth":
			to = new(SessionAuth)
		case "session":
			to = new(MatchSession)
		default:
			to = new(App)
		}
		tokens, err := caddyfile.Tokenize([]byte(block), "Caddyfile")
		if err != nil || to.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)) != nil {
			return
		}
		// What was accepted can be written as JSON, and read again.
		config, err := json.Marshal(to)
		if err != nil {
			t.Fatalf("%q: %v", block, err)
		}
		if err := json.Unmarshal(config, to); err != nil {
			t.Errorf("%q: %v", block, err)
		}
	})
}
