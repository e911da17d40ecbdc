package integration_test

import (
	"path/filepath"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// TestReadyCommand uses a socket, as the image does.
func TestReadyCommand(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := prepare(t, serverOptions{
		caddyfile: caddyfile(redisStore(redis)), files: map[string]string{"accounts.txt": accountsFile()},
	})
	s.env = append(s.env, "CADDY_ADMIN=unix/"+filepath.Join(s.dir, "admin.sock"))
	ask := func(args ...string) (printed string, ok bool) {
		t.Helper()
		out, err := s.command(append([]string{"sessions", "ready"}, args...)...).Output()
		return string(out), err == nil
	}
	want := func(when, printed string, ok bool, args ...string) {
		t.Helper()
		if got, fine := ask(args...); got != printed || fine != ok {
			t.Errorf("%s: ready %q prints %q, %v; want %q, %v", when, args, got, fine, printed, ok)
		}
	}
	want("before the start", "", false)
	want("before the start", "", false, "--live")
	s.run()
	eventually(t, "the node is ready", func() bool { _, ok := ask(); return ok })
	want("at work", "ready\n", true)
	want("at work", "alive\n", true, "--live")
	redis.Stop(t)
	want("without Redis", "", false)
	want("without Redis", "alive\n", true, "--live")
	redis.Restart(t)
	eventually(t, "the node is ready again", func() bool { _, ok := ask(); return ok })
	s.Kill9()
	want("after its end", "", false)
	want("after its end", "", false, "--live")
	s.logs.mark()
	s.run() // what is left of the socket is in the way of nobody
	eventually(t, "the node is ready after a restart", func() bool { _, ok := ask(); return ok })
}
