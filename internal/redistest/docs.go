package redistest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// DocBlock returns the fenced block of docs/redis.md of that language that holds
// a text.
func DocBlock(t testing.TB, language, holds string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(top(t), "docs", "redis.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if block[1] == language && strings.Contains(block[2], holds) {
			return block[2]
		}
	}
	t.Fatalf("docs/redis.md has no block of %s with %q", language, holds)
	return ""
}

// ACLLines returns the lines of docs/redis.md for a user, with a password, as
// arguments of redis-cli.
func ACLLines(t testing.TB, password string, begins ...string) [][]string {
	t.Helper()
	lines := make([][]string, 0, len(begins))
	for _, begin := range begins {
		line := DocBlock(t, "redis", begin)
		lines = append(lines, strings.Fields(strings.ReplaceAll(line, "PASSWORD", password)))
	}
	return lines
}

// top returns the folder of the module, in or below which a test runs.
func top(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		if folder == filepath.Dir(folder) {
			t.Fatal("no go.mod above the test")
		}
		folder = filepath.Dir(folder)
	}
}
