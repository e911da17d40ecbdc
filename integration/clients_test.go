package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// withoutCgo has clients in Go built as make builds all but the tests under the
// race detector: out of the same cache.
const withoutCgo = "CGO_ENABLED=0"

// clientEnv tells a client what to test against.
func clientEnv(s *caddyServer) []string {
	return append(os.Environ(),
		withoutCgo,
		"CADDY_LOGOUT_URL="+s.URL(""),
		"CADDY_LOGOUT_ACCOUNT="+account,
		"CADDY_LOGOUT_PASSWORD="+password,
		"CADDY_LOGOUT_RETURN_TO="+appURL+"/bye",
	)
}

// tool returns a command that must be there, or says what to install.
func tool(t *testing.T, packages, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: try apt-get install %s", err, packages)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

// run runs a command to its end; its output shows if it fails.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// TestClientGo runs the tests of clients/go, a module of its own so that the
// client stays out of the plugin's module graph.
func TestClientGo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "clients", "go")
	readsFiles(t, dir)
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		cmd := tool(t, "golang", "go", "test", "-count=1", "./...")
		cmd.Dir = dir
		cmd.Env = clientEnv(s)
		if out := run(t, cmd); !strings.Contains(out, "ok") {
			t.Errorf("no test ran:\n%s", out)
		}
	})
}

// TestClientJS runs the tests of clients/js: @ory/kratos-client and @ory/client.
func TestClientJS(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "clients", "js")
	installPackages(t, dir)
	readsFiles(t, dir)
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		cmd := tool(t, "nodejs npm", "node", "--test")
		cmd.Dir = dir
		cmd.Env = clientEnv(s)
		out := run(t, cmd)
		if !regexp.MustCompile(`(?m)^\S+ pass [1-9]`).MatchString(out) {
			t.Errorf("no test ran:\n%s", out)
		}
	})
}

// installPackages installs what package-lock.json names, unless that is what is
// there already.
func installPackages(t *testing.T, dir string) {
	t.Helper()
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if have, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil &&
		!have.ModTime().Before(lock.ModTime()) {
		return
	}
	cmd := tool(t, "nodejs npm", "npm", "ci", "--no-audit", "--no-fund")
	cmd.Dir = dir
	run(t, cmd)
}

// TestScript runs the browser part of the public example: an id before, null
// after.
func TestScript(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		script(t, clientEnv(s))
	})
}

var idLine = regexp.MustCompile(`(?m)^` + uuids.String() + `$`)

func script(t *testing.T, env []string) {
	t.Helper()
	for _, name := range []string{"curl", "jq"} {
		tool(t, "curl jq", name)
	}
	readsFiles(t, "testdata")
	cmd := tool(t, "bash", "bash", filepath.Join("testdata", "user-logout.sh"))
	cmd.Env = append(env, "TMPDIR="+t.TempDir())
	out := strings.TrimSpace(run(t, cmd))
	ids := idLine.FindAllString(out, -1)
	if len(ids) != 1 || !strings.Contains(out, `"id": "`+ids[0]+`"`) {
		t.Errorf("want the id of the session once before the logout:\n%s", out)
	}
	if !strings.HasSuffix(out, "\nnull") {
		t.Errorf("want null after the logout:\n%s", out)
	}
}

// TestScriptAPI runs the API part of the public example.
func TestScriptAPI(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		token := signIn(t, s)
		if got := whoami(t, s, "X-Session-Token: "+token); got != 200 {
			t.Fatalf("whoami before: %d", got)
		}
		readsFiles(t, "testdata")
		cmd := tool(t, "bash", "bash", filepath.Join("testdata", "user-logout-api.sh"))
		cmd.Env = append(clientEnv(s), "CADDY_LOGOUT_SESSION_TOKEN="+token)
		if out := run(t, cmd); !strings.Contains(out, "< HTTP/1.1 204 No Content") {
			t.Errorf("want 204:\n%s", out)
		}
		if got := whoami(t, s, "X-Session-Token: "+token); got != 401 {
			t.Errorf("whoami after: %d", got)
		}
	})
}

// TestScriptQuickstart runs the same against the example that newcomers start
// with.
func TestScriptQuickstart(t *testing.T) {
	t.Parallel()
	s := startQuickstart(t)
	script(t, append(os.Environ(),
		"CADDY_LOGOUT_URL="+s.URL(""), "CADDY_LOGOUT_ACCOUNT=demo", "CADDY_LOGOUT_PASSWORD=demo-password"))
}
