//go:build !windows

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-logout/caddy-logout"
	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// asCaddy is the environment variable that turns the test binary into Caddy.
const asCaddy = "CADDY_LOGOUT_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) == "1" {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

// inAHurry is a run of a few seconds on the test binary.
func inAHurry(t *testing.T, out *bytes.Buffer) *soak {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSoak(t.Context(), &options{
		caddy: self, last: 9 * time.Second, rate: 25, env: []string{asCaddy + "=1"}, out: out,
	})
	if err != nil {
		t.Fatal(err)
	}
	// On a busy machine, a stream may be closed late.
	s.plan.settled, s.plan.streamBound = time.Minute, time.Minute
	t.Cleanup(func() {
		s.close(false)
		if t.Failed() {
			t.Logf("%s", out)
		}
	})
	return s
}

func TestSoak(t *testing.T) {
	var out bytes.Buffer
	s := inAHurry(t, &out)
	if err := s.soak(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := rig.NewReport(&out)
	if err := s.report(t.Context(), text, "The run took nine seconds."); err != nil {
		t.Error(err)
	}
	for name, count := range map[string]int64{
		"sign-ins": s.counts.signIns.Load(), "checks": s.counts.checks.Load(), "logouts": s.counts.signOuts.Load(),
		"streams": s.counts.streams.Load(), "reloads": s.counts.reloads.Load(),
		"Redis killed": s.counts.redisKills.Load(), "Caddys killed": s.counts.nodeKills.Load(),
	} {
		if count == 0 {
			t.Errorf("%s: none", name)
		}
	}
	beginMark, endMark := rig.Marks("soak")
	page := t.TempDir() + "/page.md"
	if err := os.WriteFile(page, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := text.ReplaceIn(page, "soak"); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(written); !strings.HasPrefix(got, "before\n"+beginMark) || !strings.HasSuffix(got, endMark+"after\n") ||
		strings.Contains(got, "old\n") || !strings.Contains(got, "| live sessions that were refused | 0 |") {
		t.Errorf("the page: %s", got)
	}
}
