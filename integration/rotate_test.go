package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// TestRotate rotates all that Caddy and Redis know each other by, in the order of
// docs/redis.md, while people use the app: no request fails, no session is lost.
func TestRotate(t *testing.T) {
	t.Parallel()
	authority, next := redistest.NewAuthority(t), redistest.NewAuthority(t)
	redis := redistest.StartTLS(t, authority)
	redis.CLI(t, "ACL", "SETUSER", "caddy", "on", ">the-first-one", "~*", "+@all")

	s := prepare(t, serverOptions{files: map[string]string{
		"accounts.txt": accountsFile(), "password": "the-first-one\n",
	}})
	inDir := func(name string) string { return filepath.Join(s.dir, name) }
	copyTo := func(name string, from ...string) {
		t.Helper()
		var all []byte
		for _, file := range from {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, content...)
		}
		writeFile(t, inDir(name), string(all))
	}
	copyTo("ca.pem", authority.CA)
	copyTo("cert.pem", authority.Certificate)
	copyTo("key.pem", authority.Key)
	config := caddyfile("store redis " + redis.Addr() + ` {
			username caddy
			password {file.{$DIR}/password}
			tls {
				ca {$DIR}/ca.pem
				certificate {$DIR}/cert.pem
				key {$DIR}/key.pem
			}
			timeout 5s
		}`)
	writeFile(t, s.configFile(), config)
	s.run()
	load := startLoad(t, s, signIn(t, s))
	reload := func() {
		t.Helper()
		if err := s.tryReload(config); err != nil { // with --force: nothing has changed in it
			t.Fatal(err)
		}
	}
	// stays checks that the crowd saw nothing, and that no connection of before is
	// needed any more.
	stays := func(what string) {
		t.Helper()
		before := load.passed.Load()
		eventually(t, "requests after "+what, func() bool { return load.passed.Load() > before+20 })
		tokens, failures := load.stop()
		for _, f := range failures {
			t.Errorf("while %s: %s", what, f)
		}
		redis.CLI(t, "CLIENT", "KILL", "TYPE", "normal")
		eventually(t, "Redis to be asked again", func() bool { return whoami(t, s, "X-Session-Token: "+tokens[0]) == 200 })
		for i, token := range tokens {
			if got := whoami(t, s, "X-Session-Token: "+token); got != 200 {
				t.Errorf("after %s: session %d of %d was lost: %d", what, i+1, len(tokens), got)
			}
		}
		t.Logf("%s: %d requests, %d sign-ins", what, load.passed.Load(), len(tokens))
	}

	// The password: both are good, then the file, then the reload, then the old
	// one ends.
	redis.CLI(t, "ACL", "SETUSER", "caddy", ">the-second-one")
	writeFile(t, inDir("password"), "the-second-one\n")
	reload()
	redis.CLI(t, "ACL", "SETUSER", "caddy", "<the-first-one")
	stays("the password changed")
	load = startLoad(t, s, signIn(t, s))

	// The certificates: both authorities are good on both sides, then each side
	// shows a new one, then the old authority ends.
	both := inDir("both.pem")
	copyTo("both.pem", authority.CA, next.CA)
	copyTo("ca.pem", both)
	reload()
	redis.UseCertificates(t, both, next.Certificate, next.Key)
	redis.Trust(next)
	copyTo("key.pem", next.Key)
	copyTo("cert.pem", next.Certificate)
	copyTo("ca.pem", next.CA)
	reload()
	redis.UseCertificates(t, next.CA, next.Certificate, next.Key)
	stays("the certificates changed")
	for _, secret := range []string{"the-first-one", "the-second-one"} {
		if strings.Contains(s.Logs(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if a := call(t, "GET", s.AdminURL("/config/"), ""); a.status != 200 || strings.Contains(a.body, "the-second-one") {
		t.Errorf("the configuration that runs shows the password, or cannot be seen: %d", a.status)
	}
}
