package caddylogout

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"go.etcd.io/bbolt"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/internal/signin"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// countKeys counts what a store holds, errors by themselves.
type countKeys func(t *testing.T) (errors, others int)

func countEmbedded(file string) countKeys {
	return func(t *testing.T) (errors, others int) {
		t.Helper()
		// The file is locked while it is open; a copy is whole, as nothing is written now.
		content, err := os.ReadFile(file)
		storetest.NoError(t, err)
		name := filepath.Join(t.TempDir(), "copy.db")
		storetest.NoError(t, os.WriteFile(name, content, 0o600))
		db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true})
		storetest.NoError(t, err)
		defer db.Close()
		storetest.NoError(t, db.View(func(tx *bbolt.Tx) error {
			for _, bucket := range []string{"sessions", "tombstones", "uses", "identities", "errors"} {
				count := tx.Bucket([]byte(bucket)).Stats().KeyN
				if bucket == "errors" {
					errors += count
				} else {
					others += count
				}
			}
			return nil
		}))
		return errors, others
	}
}

func countRedis(server *redistest.Server) countKeys {
	return func(t *testing.T) (errors, others int) {
		t.Helper()
		for key := range strings.FieldsSeq(server.CLI(t, "KEYS", "*")) {
			if strings.HasPrefix(key, defaultRedisKeyPrefix+"error:") {
				errors++
			} else {
				others++
			}
		}
		return errors, others
	}
}

// stranger is a request with a credential that belongs to no session.
type stranger struct {
	method, path, body string
	headers            []string
}

// strangers are requests of every kind with one made-up credential and its logout
// token.
func strangers(a *testApp, n int) []stranger {
	c := session.NewCredential(session.NewToken(), session.FromHeader)
	secret := strings.Repeat(fmt.Sprintf("%08x", n), 8)
	cookie := "Cookie: " + web.DefaultCookieName + "=" + c.Secret() + "; " + a.BrowserCookieName(false) + "=" + secret
	token, key := session.LogoutToken(c), a.Format.Key(c)
	flow := signin.NewFlow(n%2 == 0, a.time())
	form := "Content-Type: application/x-www-form-urlencoded"
	const typed = "Sec-Fetch-Site: none"
	all := []stranger{
		{"GET", "/self-service/logout/browser", "", []string{cookie}},
		{"GET", "/self-service/logout/browser?return_to=https://evil.example", "", []string{cookie}},
		{"GET", "/self-service/logout?token=" + token, "", []string{cookie}},
		{"GET", "/self-service/logout?token=" + token + "&return_to=//evil.example", "", []string{cookie}},
		{"POST", "/self-service/logout", "token=" + token, []string{cookie, form}},
		{"GET", "/self-service/logout?token=" + session.LogoutToken(session.NewCredential("x", session.FromHeader)), "", []string{"X-Session-Token: " + c.Secret()}},
		{"DELETE", "/self-service/logout/api", `{"session_token":"` + c.Secret() + `"}`, []string{"Content-Type: application/json"}},
		{"DELETE", "/self-service/logout/api", "", []string{"Authorization: Bearer " + c.Secret()}},
		{"GET", "/self-service/logout/done", "", []string{cookie}},
		{"GET", "/self-service/errors?id=" + uuid.NewString(), "", []string{cookie}},
		{"GET", "/self-service/errors?id=" + strings.Repeat("x", n), "", []string{cookie}},
		{"GET", "/sessions/whoami", "", []string{cookie, "Authorization: Bearer " + c.Secret()}},
		{"GET", "/sessions?all=true", "", []string{cookie}},
		{"DELETE", "/sessions?all=true", "", []string{"X-Session-Token: " + c.Secret()}},
		{"DELETE", "/sessions/" + key.ID(), "", []string{cookie}},
		{"GET", "/account/sessions", "", []string{cookie, typed}},
		{"POST", "/account/sessions", "end=" + key.ID() + "&token=" + token + "&csrf_token=" + token, []string{cookie, form, "Sec-Fetch-Site: same-origin"}},
		{"GET", "/logout", "", []string{cookie, typed}},
		{"POST", "/logout", "", []string{cookie, "Sec-Fetch-Site: same-origin"}},
		{"GET", "/bye", "", []string{cookie}}, // logout_on
		{"GET", "/app/page", "", []string{cookie}},
		{"GET", "/self-service/login/browser?return_to=https://evil.example", "", []string{cookie}},
		{"GET", "/self-service/login/browser", "", nil},
		{"GET", "/self-service/login/api", "", []string{"X-Session-Token: " + c.Secret()}},
		{"GET", "/self-service/login?flow=" + flow.ID, "", []string{cookie}},
		{"POST", "/self-service/login?flow=" + flow.ID, url.Values{
			"method": {"password"}, "identifier": {fmt.Sprintf("stranger-%d", n)}, "password": {"x"}, "csrf_token": {flow.CSRFToken(secret)},
		}.Encode(), []string{cookie, form}},
	}
	accept := []string{"Accept: application/json", "Accept: text/html"}[n%2]
	for i := range all {
		all[i].headers = append(all[i].headers, accept)
	}
	return all
}

func TestStrangersLeaveNothing(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost)
	storetest.NoError(t, err)
	idle := func(a *App) { a.IdleTimeout = caddy.Duration(time.Hour) }
	run := func(t *testing.T, a *testApp, count countKeys) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "accounts")
		storetest.NoError(t, os.WriteFile(file, []byte("alice:"+string(hash)+"\n"), 0o600))
		signIn, err := signin.New(signin.Options{Accounts: file}, a.Site, zap.NewNop())
		storetest.NoError(t, err)
		defer func() { _ = signIn.Close() }()
		signOut := newLogout(t, a, signout.AppLogout{
			Paths: []string{"/logout"}, LogoutOn: []signout.LogoutOn{{ResponseMatcher: caddyhttp.ResponseMatcher{StatusCode: []int{2}}}}, StripCookies: []signout.StripCookies{{Names: []string{"*"}}},
		})
		signOut.SessionsPage = "/account/sessions"
		gate := newGate(t, a, gate.Options{Optional: true})
		app := func(w http.ResponseWriter, r *http.Request) error {
			return gate.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				_, err := io.WriteString(w, "the app")
				return err
			}))
		}
		send := func(s stranger) *httptest.ResponseRecorder {
			r := newRequest(t, s.method, "http://app.example"+s.path, s.headers...)
			if s.body != "" {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(s.body)), int64(len(s.body))
			}
			return serve(t, signIn, r, func(w http.ResponseWriter, r *http.Request) error {
				return signOut.ServeHTTP(w, r, caddyhttp.HandlerFunc(app))
			})
		}

		c, _ := a.signIn(t, "alice", "")
		_, before := count(t)
		if before == 0 {
			t.Fatal("nothing is counted")
		}
		requests := 0
		for n := range 50 {
			for _, s := range strangers(a, n) {
				requests++
				if w := send(s); w.Code >= http.StatusInternalServerError {
					t.Errorf("%s %s: status %d", s.method, s.path, w.Code)
				}
			}
		}
		if kept, after := count(t); requests < 1000 || after != before || kept == 0 || kept > web.KeptErrorsAtOnce {
			t.Errorf("after %d requests: %d keys, of %d before, and %d errors", requests, after, before, kept)
		}

		// Beyond that errors are shown and not kept, for as long as it goes on.
		w := send(strangers(a, 1)[0])
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "<html") || w.Header().Get("Location") != "" {
			t.Errorf("an error too many: %d %q", w.Code, w.Header())
		}
		a.advance(time.Second)
		if w := send(strangers(a, 1)[0]); w.Code != http.StatusSeeOther {
			t.Errorf("an error a second later: %d", w.Code)
		}
		// What a session of their own leaves is counted, so more would have been.
		_, err = a.Revoke(t.Context(), mustLookUp(t, a, c))
		storetest.NoError(t, err)
		if _, after := count(t); after == before {
			t.Error("a tombstone is not counted")
		}
	}
	t.Run("embedded", func(t *testing.T) {
		a := newTestApp(t, idle)
		run(t, a, countEmbedded(a.file))
	})
	t.Run("redis", func(t *testing.T) {
		a := newTestApp(t, idle)
		server := redistest.Start(t)
		store := openRedis(t, RedisStore{Address: server.Addr(), Timeout: unhurried}, a.time)
		t.Cleanup(func() { _ = store.Close() })
		a.reopen(func(o *manager.Opened) { o.Store = store })
		run(t, a, countRedis(server))
	})
}

func mustLookUp(t *testing.T, a *testApp, c session.Credential) *session.Session {
	t.Helper()
	found, err := a.Lookup(t.Context(), c)
	if err != nil || found.Session == nil {
		t.Fatalf("the session is not live: %v", err)
	}
	return found.Session
}
