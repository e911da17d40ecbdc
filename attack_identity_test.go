package caddylogout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/login"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// lookalikes are ids that some reader takes for admin, or that do something to a
// log or a terminal.
var lookalikes = []string{
	"", " admin", "admin ", "\tadmin", "admin\n", "admin\u0085", "\u0085admin", "admin\u00a0", "\u2003admin", "admin\u3000",
	"\ufeffadmin", "admin\ufeff", "admin\u200b", "ad\u0085min", "ad\x00min", "ad\u009bmin", "ad\u2028min", "\u202enimda", "admin\x7f",
}

// oddTraits are traits whose role is not what it seems.
var oddTraits = []string{
	`{"role":" admin"}`, `{"role":"admin\n"}`, `{"role":"admin\u0085"}`, `{"role":"admin\u00a0"}`, `{"role":"ad\u202emin"}`, `{"role":"\ud800"}`,
	`{"role":"user","role":"admin"}`, `{"role":"admin","role":"user"}`, `{"role":"user","r\u006fle":"admin"}`, `{"role":null,"role":"admin"}`,
	`{"org":{"role":"user"},"org.role":"admin"}`, `{"org.role":"admin","org":{"role":"user"}}`,
	`{"org":{"role":"user"},"org":{"role":"admin"}}`, `{"org":{"role":"admin"},"org":"user"}`,
}

func TestAttackIdentities(t *testing.T) {
	a := newTestApp(t, nil)
	tries, through := 0, 0
	made := func(how string, err error) {
		tries++
		if err == nil {
			through++
			t.Errorf("%s made a session", how)
		}
	}
	hash := "$2a$04$" + strings.Repeat("a", 53)
	quote := func(s string) string {
		text, err := json.Marshal(s)
		storetest.NoError(t, err)
		return string(text)
	}
	sign := func(how, identity, traits string) {
		_, _, err := a.Issue(t.Context(), manager.NewSession{Identity: identity, Traits: json.RawMessage(traits), Method: "password"})
		made("issue: "+how, err)

		var q manager.IssueRequest
		text := fmt.Sprintf(`{"identity":%s,"traits":%s}`, quote(identity), traits)
		storetest.NoError(t, json.Unmarshal([]byte(text), &q))
		_, err = q.Session("token")
		made("admin endpoint: "+how, err)

		w := serve(t, newGate(t, a, gate.Options{IssueOnHeader: "X-Signed-In", Optional: true}),
			newRequest(t, http.MethodGet, "/", "Accept: application/json"), func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("X-Signed-In", text)
				w.WriteHeader(http.StatusOK)
				return nil
			})
		if w.Code == http.StatusBadGateway && len(w.Header()["Set-Cookie"]) == 0 {
			err = manager.ErrInvalidSession
		} else {
			err = nil
		}
		made("app's header: "+how, err)
	}
	for _, identity := range lookalikes {
		sign(fmt.Sprintf("%q", identity), identity, `{}`)
		// Blanks before a name are those of the line.
		if name := identity + ":"; !strings.HasPrefix(strings.TrimSpace(name), "admin:") && !strings.Contains(identity, "\n") {
			_, err := login.ParseAccounts("accounts.txt", strings.NewReader("# one\n"+name+hash))
			made(fmt.Sprintf("accounts file: %q", identity), err)
			if err != nil && (!strings.HasPrefix(err.Error(), "accounts.txt:2: ") || strings.Contains(err.Error(), "admin")) {
				t.Errorf("%q: %v", identity, err)
			}
		}
	}
	for _, traits := range oddTraits {
		sign(traits, "alice", traits)
		_, err := login.ParseAccounts("accounts.txt", strings.NewReader("# one\nalice:"+hash+":"+traits))
		made("accounts file: "+traits, err)
		if err != nil && (!strings.HasPrefix(err.Error(), "accounts.txt:2: ") || strings.Contains(err.Error(), "admin")) {
			t.Errorf("%s: %v", traits, err)
		}
	}
	attacktest.Report(t, "sign-in under an ambiguous identity or with ambiguous traits", tries, through)
}

// A session that a login service has written into Redis with an ambiguous identity is
// an outage, so that no cookie is cleared. Ambiguous traits are left out.
func TestAttackIdentitiesInRedis(t *testing.T) {
	server := redistest.Start(t)
	a := newTestApp(t, nil)
	store := openRedis(t, RedisStore{Address: server.Addr()}, a.time)
	t.Cleanup(func() { _ = store.Close() })
	a.reopen(func(o *manager.Opened) { o.Store = store })
	put := func(identity, traits string) session.Credential {
		c := session.NewCredential(session.NewToken(), session.FromHeader)
		key := a.Format.Key(c)
		text := func(s string) string {
			var out strings.Builder
			encoder := json.NewEncoder(&out)
			encoder.SetEscapeHTML(false)
			storetest.NoError(t, encoder.Encode(s))
			return strings.TrimSpace(out.String())
		}
		at := a.time().UTC().Format(time.RFC3339)
		value := fmt.Sprintf(`{"v":1,"id":%q,"identity":%s,"traits":%s,"issued_at":%q,"expires_at":%q}`,
			key.ID(), text(identity), traits, at, a.time().Add(time.Hour).UTC().Format(time.RFC3339))
		storetest.NoError(t, store.Create(t.Context(), key, session.Entry{Identity: identity + "?", Value: []byte(value), ExpiresAt: a.time().Add(time.Hour)}))
		return c
	}
	gate := newGate(t, a, gate.Options{Headers: map[string]string{"X-User-Id": "{http.auth.user.id}", "X-Role": "{http.auth.user.role}", "X-Org-Role": "{http.auth.user.org.role}", "X-Org": "{http.auth.user.org}", "X-Ok": "{http.auth.user.ok}"}})
	tries, through := 0, 0
	for _, identity := range lookalikes {
		var p passed
		w := serve(t, gate, newRequest(t, http.MethodGet, "/", sessionCookieLine(put(identity, `{}`)), "Accept: application/json"), p.next)
		tries++
		if p.header != nil || w.Code != http.StatusServiceUnavailable || len(w.Header()["Set-Cookie"]) > 0 {
			through++
			t.Errorf("%q: %d, the app got %v", identity, w.Code, p.header)
		}
	}
	for _, traits := range oddTraits {
		var p passed
		c := put("alice", strings.TrimSuffix(traits, "}")+`,"ok":"yes"}`)
		serve(t, gate, newRequest(t, http.MethodGet, "/", sessionCookieLine(c)), p.next)
		tries++
		if p.header["X-Role"] != nil || p.header["X-Org-Role"] != nil || p.header["X-Org"] != nil {
			through++
			t.Errorf("%s: the app got %v", traits, p.header)
		}
		if p.header.Get("X-User-Id") != "alice" || p.header.Get("X-Ok") != "yes" {
			t.Errorf("%s: the app got %v", traits, p.header)
		}
		r := newRequest(t, http.MethodGet, "/", sessionCookieLine(c))
		user, ok, err := (&SessionProvider{site: a.Site}).Authenticate(nil, r)
		if !ok || err != nil || len(user.Metadata) != 1 || user.Metadata["ok"] != "yes" {
			t.Errorf("%s: the provider says %v, %v", traits, user, err)
		}
	}
	attacktest.Report(t, "ambiguous identity or traits in Redis", tries, through)

	// An operator can end such a session by its index.
	c := put("admin ", `{}`)
	if _, err := a.Lookup(t.Context(), c); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("before: %v", err)
	}
	if count, err := a.RevokeKeys(t.Context(), "admin ?", func(key session.Key) bool { return key == a.Format.Key(c) }); count != 1 || err != nil {
		t.Errorf("revoked %d, %v", count, err)
	}
	if found, err := a.Lookup(t.Context(), c); err != nil || found.RevokedAt.IsZero() {
		t.Errorf("after: %+v, %v", found, err)
	}
}
