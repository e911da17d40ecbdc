package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestReadmeTranscript(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of commands, want the two to start with and the transcript", len(blocks))
	}
	s := startQuickstart(t)
	transcript := strings.ReplaceAll(blocks[1][1], "http://localhost:8080", s.URL(""))
	out, err := exec.CommandContext(t.Context(), "bash", "-c", transcript).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "demo\nsession_inactive" {
		t.Errorf("%v:\n%s", err, out)
	}
}
