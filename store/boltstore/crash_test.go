package boltstore

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// TestEmbeddedOtherProcess opens a file that another process has open.
func TestEmbeddedOtherProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	child := startEmbeddedChild(t, file)
	child.line(t)
	start := time.Now()
	_, err := Open(file, time.Now, zap.NewNop)
	want := "embedded store: " + file + ": another process has this file open; " +
		"one process at a time can use it, several share a redis store"
	if err == nil || err.Error() != want {
		t.Fatalf("%v\nwant %s", err, want)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	child.kill(t)
	store, err := Open(file, time.Now, zap.NewNop)
	storetest.NoError(t, err)
	storetest.NoError(t, store.Close())
}

// TestEmbeddedKilled kills a process that writes, again and again, and counts
// what it had acknowledged.
func TestEmbeddedKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	acknowledged := make(map[string]string) // key → what was done last
	for range 3 {
		child := startEmbeddedChild(t, file)
		for range 150 {
			what, key, ok := strings.Cut(child.line(t), " ")
			if !ok {
				t.Fatal("the child says nothing of use")
			}
			acknowledged[key] = what
		}
		for _, line := range child.kill(t) {
			if what, key, ok := strings.Cut(line, " "); ok && len(key) == 64 {
				acknowledged[key] = what
			}
		}
	}

	store, err := Open(file, time.Now, zap.NewNop)
	storetest.NoError(t, err)
	defer store.Close()
	keys, err := store.Keys(t.Context(), "alice")
	storetest.NoError(t, err)
	listed := make(map[session.Key]bool)
	for _, key := range keys {
		listed[key.Key] = true
	}
	for text, what := range acknowledged {
		key, err := session.ParseKey(text)
		storetest.NoError(t, err)
		rec, err := store.Get(t.Context(), key)
		storetest.NoError(t, err)
		switch what {
		case "created":
			// The child may have gone on to revoke it without being heard.
			if rec.RevokedAt.IsZero() && (string(rec.Value) != text || !listed[key]) {
				t.Errorf("a session that was acknowledged is lost: %+v, listed: %v", rec, listed[key])
			}
		case "revoked":
			if rec.RevokedAt.IsZero() || rec.Value != nil || listed[key] {
				t.Errorf("a revocation that was acknowledged is lost: %+v, listed: %v", rec, listed[key])
			}
		default:
			t.Errorf("the child said %q", what)
		}
	}
	storetest.NoError(t, store.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("the file is damaged: %v", err)
		}
		return nil
	}))
}

// embeddedChildFile is the environment variable that makes this test binary a
// process that writes sessions into that file until it is killed.
const embeddedChildFile = "CADDY_LOGOUT_TEST_EMBEDDED_FILE"

// TestEmbeddedChild is what the child process runs; otherwise it does nothing.
func TestEmbeddedChild(t *testing.T) {
	file := os.Getenv(embeddedChildFile)
	if file == "" {
		return
	}
	store, err := Open(file, time.Now, zap.NewNop)
	storetest.NoError(t, err)
	var mu sync.Mutex
	say := func(what string, key session.Key) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %s\n", what, key) //nolint:forbidigo // this is how the parent learns of it
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := storetest.NewKey()
				if err := store.Create(t.Context(), key, session.Entry{
					Identity: "alice", Value: []byte(key.String()), ExpiresAt: time.Now().Add(time.Hour),
				}); err != nil {
					panic(err)
				}
				say("created", key)
				if i%2 == 0 {
					continue
				}
				if _, err := store.Revoke(t.Context(), key, "alice", time.Now(), time.Now().Add(time.Hour)); err != nil {
					panic(err)
				}
				say("revoked", key)
			}
		})
	}
	wg.Wait()
}

// embeddedChild is a child process and what it prints.
type embeddedChild struct {
	cmd    *exec.Cmd
	output *bufio.Scanner
	ended  bool
}

func startEmbeddedChild(t *testing.T, file string) *embeddedChild {
	t.Helper()
	binary, err := os.Executable()
	storetest.NoError(t, err)
	cmd := exec.Command(binary, "-test.run=^TestEmbeddedChild$")
	cmd.Env = append(os.Environ(), embeddedChildFile+"="+file)
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	storetest.NoError(t, err)
	storetest.NoError(t, cmd.Start())
	child := &embeddedChild{cmd: cmd, output: bufio.NewScanner(output)}
	t.Cleanup(func() {
		if !child.ended {
			child.kill(t)
		}
	})
	return child
}

// line returns the next line that the child prints.
func (c *embeddedChild) line(t *testing.T) string {
	t.Helper()
	if !c.output.Scan() {
		t.Fatalf("the child ended: %v", c.output.Err())
	}
	return c.output.Text()
}

// kill kills the child as nothing can be prepared for, waits for its end, and
// returns what it had printed that was not read yet.
func (c *embeddedChild) kill(t *testing.T) []string {
	t.Helper()
	c.ended = true
	storetest.NoError(t, c.cmd.Process.Kill())
	var rest []string
	for c.output.Scan() {
		rest = append(rest, c.output.Text())
	}
	_ = c.cmd.Wait() // killed: always an error
	return rest
}
