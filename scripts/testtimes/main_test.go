package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources is a module whose tests pass, fail, panic, and do not build.
var sources = map[string]string{
	"go.mod":             "module example.test/m\n\ngo 1.26\n",
	"none/none.go":       "package none\n",
	"passes/a_test.go":   "package a\n\nimport \"testing\"\n\nfunc TestQuiet(t *testing.T) { t.Log(\"nobody reads this\") }\n",
	"fails/a_test.go":    "package a\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) { t.Log(\"nobody reads this\") }\n\nfunc TestBad(t *testing.T) {\n\tt.Run(\"below\", func(t *testing.T) { t.Error(\"everybody reads this\") })\n}\n",
	"panics/a_test.go":   "package a\n\nimport \"testing\"\n\nfunc TestPanics(*testing.T) { panic(\"a panic\") }\n",
	"nonsense/a_test.go": "package a\n\nvar x = nonsense\n",
}

// goTest runs go test there, which must fail, and returns what it prints.
func goTest(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err == nil {
		t.Fatalf("go test passes:\n%s", out)
	}
	return string(out)
}

// TestPrintsWhatGoTestPrints compares with go test itself, line for line.
func TestPrintsWhatGoTestPrints(t *testing.T) {
	dir := t.TempDir()
	for name, text := range sources {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// How long it took, and where a goroutine was, is not the same twice.
	changing := regexp.MustCompile(`[0-9.]+s\b|\(cached\)|0x[0-9a-f]+|goroutine [0-9]+`)
	lines := func(text string) []string {
		var all []string
		for line := range strings.Lines(changing.ReplaceAllString(text, "…")) {
			// What does not build is told on another stream without -json.
			if !strings.HasPrefix(line, "# ") && !strings.Contains(line, "undefined: nonsense") && !strings.Contains(line, "\t/") {
				all = append(all, line)
			}
		}
		return all
	}
	var got strings.Builder
	r := report{out: &got, running: make(map[test][]string)}
	if err := r.read(strings.NewReader(goTest(t, dir, "-json", "./..."))); err != nil {
		t.Fatal(err)
	}
	want := goTest(t, dir, "./...")
	wanted := make(map[string]int)
	for _, line := range lines(want) {
		wanted[line]++
	}
	for _, line := range lines(got.String()) {
		wanted[line]--
	}
	for line, n := range wanted {
		if n != 0 {
			t.Errorf("%+d times: %q", -n, line)
		}
	}
	for _, line := range []string{"ok  \texample.test/m/passes\t", "FAIL\texample.test/m/fails\t", "--- FAIL: TestBad (", "everybody reads this", "panic: a panic", "undefined: nonsense"} {
		if !strings.Contains(got.String(), line) {
			t.Errorf("no %q in\n%s", line, got.String())
		}
	}
	if strings.Contains(got.String(), "nobody reads this") {
		t.Errorf("what a passing test logs is printed:\n%s", got.String())
	}
}

func TestSlowest(t *testing.T) {
	var in strings.Builder
	for i := range 20 {
		for _, name := range []string{"TestLong", "TestLong/below"} {
			line, err := json.Marshal(event{Action: "pass", Package: "p", Test: strings.Replace(name, "Long", strings.Repeat("o", i), 1), Elapsed: float64(i)})
			if err != nil {
				t.Fatal(err)
			}
			in.Write(append(line, '\n'))
		}
	}
	r := report{out: &strings.Builder{}, running: make(map[test][]string)}
	if err := r.read(strings.NewReader(in.String())); err != nil {
		t.Fatal(err)
	}
	got := r.slowest()
	if n := strings.Count(got, "\n"); n != listed || !strings.HasPrefix(got, "   19.0 s  p Test") || !strings.Contains(got, "   10.0 s") || strings.Contains(got, "/") {
		t.Errorf("%d lines:\n%s", n, got)
	}
}
