package integration_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// tutorialBlock is a block of the page: a file to save, if it has a name behind
// its language, or commands, with what they print in the block of text below.
type tutorialBlock struct{ language, file, code, prints string }

func readTutorial(t *testing.T) []tutorialBlock {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []tutorialBlock
	for _, match := range regexp.MustCompile("(?ms)^```(\\w+) ?([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if match[1] == "text" {
			blocks[len(blocks)-1].prints = match[3]
			continue
		}
		blocks = append(blocks, tutorialBlock{language: match[1], file: match[2], code: match[3]})
	}
	return blocks
}

// tutorial is a reader who follows the page.
type tutorial struct {
	t       *testing.T
	folder  string
	env     []string
	replace *strings.Replacer
}

// elsewhere are the addresses of the page; each becomes a free one.
var elsewhere = []string{"8080", "8081", "9000", "2020"}

func newTutorial(t *testing.T) *tutorial {
	t.Helper()
	folder := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// In place of the binary that the reader has built.
	writeFile(t, filepath.Join(folder, "caddy"), "#!/bin/sh\n"+asCaddy+"=1 exec "+strconv.Quote(self)+` "$@"`+"\n")
	if err := os.Chmod(filepath.Join(folder, "caddy"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Caddy opens a second listener at a reload and closes the first: a connection
	// of that moment may be reset, and a client sends its request again.
	writeFile(t, filepath.Join(folder, ".curlrc"), "retry = 5\nretry-all-errors\nretry-delay = 1\nnoproxy = *\n")
	_, redisPort, err := net.SplitHostPort(redistest.Start(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	ports := []string{
		// A busy machine may be slower than people want to wait for.
		"store redis 127.0.0.1:6379", "store redis 127.0.0.1:" + redisPort + " {\n\t\t\ttimeout 20s\n\t\t}",
		"6379", redisPort,
	}
	for _, port := range elsewhere {
		ports = append(ports, port, freePort(t))
	}
	return &tutorial{
		t:       t,
		folder:  folder,
		replace: strings.NewReplacer(ports...),
		env: append(os.Environ(), "HOME="+folder, "CURL_HOME="+folder, "CADDY_ADMIN=localhost:"+freePort(t),
			"XDG_DATA_HOME="+filepath.Join(folder, "data"), "XDG_CONFIG_HOME="+filepath.Join(folder, "config")),
	}
}

func (u *tutorial) bash(ctx context.Context, code string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", code)
	cmd.Dir, cmd.Env = u.folder, u.env
	return cmd
}

// serve runs what the reader starts in a terminal of its own, until the test ends.
func (u *tutorial) serve(command string) {
	u.t.Helper()
	logs := &logBuffer{}
	// env, so that the process that is started is the one that serves.
	cmd := u.bash(context.WithoutCancel(u.t.Context()), "exec env "+strings.TrimSpace(command))
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended shows in its log
	}()
	u.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			<-exited
		}
		if strings.Contains(logs.String(), "DATA RACE") {
			u.t.Error("caddy reported a data race")
		}
		if u.t.Failed() {
			u.t.Logf("%s\nwrote:\n%s", command, tail(logs.String(), 8<<10))
		}
	})
	eventually(u.t, command, func() bool {
		select {
		case <-exited:
			u.t.Fatalf("%s ended:\n%s", command, logs.String())
		default:
		}
		return logs.contains("serving initial configuration")
	})
}

// run runs commands to their end and returns what they print.
func (u *tutorial) run(code string) (string, error) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 2*startTimeout)
	defer cancel()
	var complaints strings.Builder
	cmd := u.bash(ctx, code)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s", err, tail(complaints.String(), 4<<10))
	}
	return string(out), nil
}

// onlyLooks is a block that changes nothing: it may be tried until a logout at
// one proxy has been heard of by the other.
var onlyLooks = regexp.MustCompile(`^curl -s -b stolen \S+ [^\n]*\n$`)

func TestTutorial(t *testing.T) {
	t.Parallel()
	u := newTutorial(t)
	commands, files := 0, 0
	for i, block := range readTutorial(t) {
		code, want := u.replace.Replace(block.code), u.replace.Replace(block.prints)
		switch {
		case block.file != "":
			files++
			writeFile(t, filepath.Join(u.folder, block.file), code)
		case block.language != "sh":
			t.Errorf("block %d: a %s that is neither saved nor run:\n%s", i, block.language, block.code)
		case strings.HasPrefix(code, "git clone "), strings.HasPrefix(code, "redis-server "):
			// Built and started above.
		case strings.Contains(code, "./caddy run"):
			u.serve(code)
		default:
			commands++
			u.follow(code, want)
		}
		if t.Failed() {
			return
		}
	}
	if commands < 12 || files < 5 {
		t.Errorf("%d blocks of commands and %d files: too few for the page", commands, files)
	}
}

// follow runs a block and compares what it prints.
func (u *tutorial) follow(code, want string) {
	u.t.Helper()
	var got string
	var err error
	matches := func() bool {
		got, err = u.run(code)
		return err == nil && strings.TrimSpace(got) == strings.TrimSpace(want)
	}
	if matches() {
		return
	}
	if onlyLooks.MatchString(code) {
		for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); <-time.After(pollInterval) {
			if matches() {
				return
			}
		}
	}
	u.t.Errorf("%s\nprints:\n%s\n(%v)\nand not, as the page has it:\n%s", code, got, err, want)
}
