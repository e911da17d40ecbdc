// This file runs the tests of clients/browser: headless Chromium against a real
// Caddy.

package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// browserCaddyfile serves an app of two gated pages: one that browsers may keep,
// and one that they may not.
const browserCaddyfile = `{
	default_bind 127.0.0.1
	sessions {
		store embedded {$DIR}/sessions.db
		default_return_url /goodbye
		COOKIE
	}
}
http://localhost:{$PORT} {
	logout {
		sessions_page /account/sessions
	}
	login {
		accounts {$DIR}/accounts.txt
	}
	session_auth /app/* {
		login_url /self-service/login/browser
		no_store
	}
	session_auth /kept/* {
		login_url /self-service/login/browser
	}
	header Content-Type "text/html; charset=utf-8"
	@private path /app/* /kept/*
	respond @private "<!doctype html><title>app</title><p>private page of {http.auth.user.id}</p><a id='sign-out' href='{session.logout_url}'>Sign out</a>"
	respond /goodbye "<!doctype html><title>bye</title><p>Goodbye</p><img src='/self-service/logout/done' alt=''>"
	respond /public "<!doctype html><title>public</title>open to all"
}
`

// TestBrowser runs the tests of clients/browser, a module of its own so that
// what drives the browser stays out of the plugin's module graph. To take the
// pictures of docs/images anew, set CADDY_LOGOUT_SCREENSHOTS to that folder.
func TestBrowser(t *testing.T) {
	t.Parallel()
	tool(t, "chromium", "chromium")
	serve := func(cookie string) string {
		s := start(t, serverOptions{
			caddyfile: strings.Replace(browserCaddyfile, "COOKIE", cookie, 1),
			files:     map[string]string{"accounts.txt": accountsFile() + "alice@example.test:" + hashed() + "\n"},
		})
		return "http://localhost:" + s.port
	}
	cmd := tool(t, "golang", "go", "test", "-count=1", "-parallel=2", "-timeout=8m", "./...")
	cmd.Dir = filepath.Join("..", "clients", "browser")
	cmd.Env = append(os.Environ(),
		withoutCgo,
		"CADDY_LOGOUT_URL="+serve("cookie"),
		// Browsers take a secure cookie from localhost without HTTPS, too.
		"CADDY_LOGOUT_URL_NONE="+serve("cookie {\nsame_site none\n}"),
		"CADDY_LOGOUT_ACCOUNT="+account,
		"CADDY_LOGOUT_OTHER_ACCOUNT=other@example.test",
		"CADDY_LOGOUT_THIRD_ACCOUNT=alice@example.test",
		"CADDY_LOGOUT_PASSWORD="+password,
	)
	if out := run(t, cmd); !strings.Contains(out, "ok") {
		t.Errorf("no test ran:\n%s", out)
	}
}
