package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

func TestStoreUnusableAtStart(t *testing.T) {
	t.Parallel()
	const bad, good = `"session store cannot be used"`, `"session store can be used again"`
	userOn := func(redis *redistest.Server, name, password string) string {
		return redisStore(redis) + " {\n\t\t\tusername " + name + "\n\t\t\tpassword " + password + "\n\t\t}"
	}
	tests := map[string]struct {
		args   []string
		before func(t *testing.T, redis *redistest.Server)
		mend   func(t *testing.T, redis *redistest.Server)
		access string
		cause  string
	}{
		"wrong password": {
			[]string{"--user", "narrow", "on", ">other", "~*", "&*", "+@all"},
			nil,
			func(t *testing.T, redis *redistest.Server) {
				t.Helper()
				redis.CLI(t, "ACL", "SETUSER", "narrow", ">hunter2-secret")
			}, "read", "WRONGPASS",
		},
		"no server": {
			[]string{"--user", "narrow", "on", ">hunter2-secret", "~*", "&*", "+@all"},
			func(t *testing.T, redis *redistest.Server) { t.Helper(); redis.Stop(t) },
			func(t *testing.T, redis *redistest.Server) { t.Helper(); redis.Restart(t) }, "read", "connection refused",
		},
		"may not read": {
			[]string{"--user", "narrow", "on", ">hunter2-secret", "~*", "&*", "+@all", "-get"},
			nil,
			func(t *testing.T, redis *redistest.Server) {
				t.Helper()
				redis.CLI(t, "ACL", "SETUSER", "narrow", "+get")
			}, "read", "NOPERM to GET",
		},
		"may not write": {
			[]string{"--user", "narrow", "on", ">hunter2-secret", "~*", "&*", "+@all", "-set", "-del"},
			nil,
			func(t *testing.T, redis *redistest.Server) {
				t.Helper()
				redis.CLI(t, "ACL", "SETUSER", "narrow", "+set", "+del")
			}, "write", "NOPERM to SET, DEL",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t, test.args...)
			if test.before != nil {
				test.before(t, redis)
			}
			s := startWith(t, userOn(redis, "narrow", "hunter2-secret"))
			unavailable := func(access string) float64 {
				return scrape(t, s)[fmt.Sprintf("store_unavailable{access=%q}", access)]
			}
			eventually(t, "the log says what is wrong", func() bool { return strings.Contains(s.Logs(), bad) })
			for line := range strings.Lines(s.Logs()) {
				if strings.Contains(line, bad) && (!strings.Contains(line, test.cause) || !strings.Contains(line, `"access":"`+test.access+`"`) ||
					!strings.Contains(line, `"level":"error"`)) {
					t.Errorf("%s, want the cause %q", line, test.cause)
				}
			}
			eventually(t, "it is counted", func() bool {
				return unavailable("write") == 1 && unavailable("read") == map[string]float64{"read": 1, "write": 0}[test.access] &&
					scrape(t, s)["store_check_failures_total"] >= 2
			})
			ready := 503
			if test.access == "write" {
				ready = 200 // people can be checked
			}
			if got := call(t, "GET", s.AdminURL("/sessions/readiness"), "").status; got != ready {
				t.Errorf("readiness: %d, want %d", got, ready)
			}
			if err := s.command("sessions", "ready", "--address", "127.0.0.1:"+s.admin).Run(); (err == nil) != (ready == 200) {
				t.Errorf("caddy sessions ready: %v", err)
			}
			if body := call(t, "GET", s.AdminURL("/sessions/statistics"), "").body; !strings.Contains(body, test.cause) || !strings.Contains(body, `{"access":"`+test.access+`"`) {
				t.Errorf("statistics %s, want %q", body, test.cause)
			}
			test.mend(t, redis)
			eventually(t, "the node is ready", func() bool {
				return call(t, "GET", s.AdminURL("/sessions/readiness"), "").status == 200
			})
			eventually(t, "the log says that it is mended", func() bool { return strings.Contains(s.Logs(), good) })
			eventually(t, "it is not counted any more", func() bool { return unavailable("read") == 0 && unavailable("write") == 0 })
			if body := call(t, "GET", s.AdminURL("/sessions/statistics"), "").body; !strings.Contains(body, `"faults":[]`) {
				t.Errorf("statistics %s, want no faults", body)
			}
			if got := strings.Count(s.Logs(), bad); got != 1 {
				t.Errorf("it is logged %d times, want once", got)
			}
			if strings.Contains(s.Logs(), "hunter2") {
				t.Error("the log shows the password")
			}
		})
	}
}
