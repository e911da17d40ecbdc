package rig

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asServer turns the test binary into a server that says something and ends.
const asServer = "CADDY_LOGOUT_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) == "1" {
		_, _ = os.Stderr.WriteString("out of order\n")
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func newRig(t *testing.T) *Rig {
	t.Helper()
	r, err := New("rig-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(false) })
	return r
}

func TestStartOfWhatEnds(t *testing.T) {
	r := newRig(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Start(t.Context(), Program{
		Path: self, Env: []string{asServer + "=1"}, Dir: r.Dir, Log: filepath.Join(r.Dir, "log"),
		Up: func() bool { return false },
	})
	if err == nil || !strings.Contains(err.Error(), "ended at once") || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("error is %v, want one that tells the end and the log", err)
	}
}

func TestRedis(t *testing.T) {
	r := newRig(t)
	redis, err := r.StartRedis(t.Context(), "--appendonly", "no")
	if err != nil {
		t.Fatal(err)
	}
	addr, first := redis.Addr, redis.Process
	redis.End(syscall.SIGKILL)
	if !first.Ended() || answers(addr) {
		t.Fatal("it goes on")
	}
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if redis.Addr != addr || !answers(addr) || len(r.running()) != 1 {
		t.Errorf("%d processes, at %s", len(r.running()), redis.Addr)
	}
	r.Close(true)
	if answers(addr) || len(r.running()) != 0 {
		t.Error("it outlives the rig")
	}
	if _, err := os.Stat(r.Dir); err != nil {
		t.Errorf("the logs are not kept: %v", err)
	}
	r.Close(false)
	if _, err := os.Stat(r.Dir); err == nil {
		t.Error("the folder is left")
	}
}

func TestStatCPU(t *testing.T) {
	name := filepath.Join(t.TempDir(), "stat")
	// A name may hold anything; 1.50 s in user and 0.25 s in system mode, 2 s and 1 s
	// of those that ended.
	text := "7 (a ) b) S 1 1 1 0 -1 4194560 1 2 3 4 150 25 200 100 20 0 1 0 1 2 3"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := statCPU(name); got != 4.75 {
		t.Errorf("%v s, want 4.75", got)
	}
	if got := statCPU(name + "-none"); got != 0 {
		t.Errorf("%v s of no process", got)
	}
}

func TestReplaceIn(t *testing.T) {
	begin, end := Marks("test")
	for _, tt := range []struct{ name, page, want string }{
		{"between the marks", "before\n" + begin + "old\n" + end + "after\n", "before\n" + begin + "\n| a | b |\n|---|---:|\n| 1 | x |\n\n" + end + "after\n"},
		{"no marks", "before\n", ""},
		{"no end", "before\n" + begin, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page := filepath.Join(t.TempDir(), "page.md")
			if err := os.WriteFile(page, []byte(tt.page), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			report := NewReport(&out)
			table := report.Table("a", "b")
			table.Row(1, "x")
			table.End()
			err := report.ReplaceIn(page, "test")
			if (err == nil) != (tt.want != "") {
				t.Fatalf("error is %v", err)
			}
			want := tt.want
			if want == "" {
				want = tt.page
			}
			if got, _ := os.ReadFile(page); string(got) != want {
				t.Errorf("the page is\n%s\nwant\n%s", got, want)
			}
		})
	}
}
