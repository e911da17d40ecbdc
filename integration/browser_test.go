package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// browserCaddyfile serves an app of two gated pages: one that browsers may keep,
// and one that they may not.
const browserCaddyfile = `{
	default_bind 127.0.0.1
	sessions {
		store embedded {$DIR}/sessions.db
		default_return_url /self-service/logout/done
		COOKIE
	}
}
http://localhost:{$PORT} {
	logout /leave {
		sessions_page /account/sessions
		app_first off
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
	session_auth /members/*
	header Content-Type "text/html; charset=utf-8"
	@private path /app/* /kept/*
	respond @private "<!doctype html><title>app</title><p>private page of {http.auth.user.id}</p><a id='sign-out' href='{session.logout_url}'>Sign out</a>"
	respond /public "<!doctype html><title>public</title>open to all"
}
`

// awayCaddyfile is a server whose Redis goes away.
const awayCaddyfile = `{
	default_bind 127.0.0.1
	sessions {
		STORE
		durable_logout {
			journal {$DIR}/pending.db
		}
	}
}
http://:{$PORT} {
	logout
	login {
		accounts {$DIR}/accounts.txt
	}
	session_auth /app/*
	respond "open to all"
}
`

// TestBrowser runs the tests of clients/browser, a module of its own so that
// the browser driver stays out of the plugin's module graph. To remake the
// images of docs/images, set CADDY_LOGOUT_SCREENSHOTS to that folder.
func TestBrowser(t *testing.T) {
	t.Parallel()
	tool(t, "chromium", "chromium")
	dir := filepath.Join("..", "clients", "browser")
	installPackages(t, dir)
	readsFiles(t, dir)
	accounts := []string{account, "other@example.test", "alice@example.test", "bob@example.test", "carol@example.test"}
	files := map[string]string{"accounts.txt": strings.Join(accounts, ":"+hashed()+"\n") + ":" + hashed() + "\n"}
	serve := func(cookie string) string {
		s := start(t, serverOptions{caddyfile: strings.Replace(browserCaddyfile, "COOKIE", cookie, 1), files: files})
		return "http://localhost:" + s.port
	}
	redis := redistest.Start(t)
	away := start(t, serverOptions{caddyfile: strings.Replace(awayCaddyfile, "STORE", redisStore(redis), 1), files: files})
	credential := signIn(t, away)
	logout := createLogout(t, away, cookieName+"="+credential, "")
	redis.Stop(t)
	cmd := tool(t, "golang", "go", "test", "-count=1", "-parallel=2", "-timeout=5m", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		withoutCgo,
		"CADDY_LOGOUT_URL="+serve("cookie"),
		// Browsers take a secure cookie from localhost without HTTPS, too.
		"CADDY_LOGOUT_URL_NONE="+serve("cookie {\nsame_site none\n}"),
		"CADDY_LOGOUT_URL_AWAY=http://localhost:"+away.port,
		"CADDY_LOGOUT_AWAY_CREDENTIAL="+credential,
		"CADDY_LOGOUT_AWAY_LOGOUT=/self-service/logout?token="+logout.Token,
		"CADDY_LOGOUT_URL_DEMO=http://localhost:"+startQuickstart(t).port,
		"CADDY_LOGOUT_ACCOUNT="+accounts[0],
		"CADDY_LOGOUT_OTHER_ACCOUNT="+accounts[1],
		"CADDY_LOGOUT_THIRD_ACCOUNT="+accounts[2],
		"CADDY_LOGOUT_FOURTH_ACCOUNT="+accounts[3],
		"CADDY_LOGOUT_FIFTH_ACCOUNT="+accounts[4],
		"CADDY_LOGOUT_PASSWORD="+password,
	)
	if out := run(t, cmd); !strings.Contains(out, "ok") {
		t.Errorf("no test ran:\n%s", out)
	}
}
