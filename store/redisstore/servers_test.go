package redisstore

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/store/storetest"
)

func TestServersCompare(t *testing.T) {
	var told []error
	s := &servers{open: make(map[*serverConn]struct{}), newest: make(map[string]string), clock: time.Now}
	s.watch(func(err error) { told = append(told, err) })
	add := func(group, run string, known bool) *serverConn {
		near, far := net.Pipe()
		t.Cleanup(func() { _, _ = near.Close(), far.Close() })
		c := &serverConn{Conn: near, servers: s, group: group, known: known, run: run}
		s.open[c] = struct{}{}
		if known {
			s.newest[group] = run
		}
		s.compare()
		return c
	}
	want := func(step string, errs ...error) {
		t.Helper()
		if len(told) != len(errs) {
			t.Fatalf("%s: told %v, want %v", step, told, errs)
		}
		for i := range errs {
			if !errors.Is(told[i], errs[i]) {
				t.Errorf("%s: told %v, want %v", step, told, errs)
			}
		}
		told = nil
	}
	want("at first", nil)
	add("", "one", true)
	add("", "one", true)
	add("other", "two", true)
	add("", "", false)
	want("all alike in each group, and one that is not used yet")
	add("", "three", true)
	want("another server", errSeveralServers)
	s.settle()
	want("the old ones are closed", nil)
	add("", "four", true)
	want("another one at once", errSeveralServers)
	s.settle()
	want("too soon to close again")
	s.swept = time.Time{}
	s.settle()
	want("later", nil)
	silent := add("", "", true)
	want("one that does not tell", errNoRunID)
	s.swept = time.Time{}
	s.settle()
	want("it is the newest: there is no better one")
	storetest.NoError(t, silent.Close())
	want("it is closed", nil)
}

func TestRunID(t *testing.T) {
	id := strings.Repeat("0a", 20)
	for info, want := range map[string]string{
		"# Server\r\nredis_version:7.0.15\r\nrun_id:" + id + "\r\ntcp_port:1\r\n": id,
		"run_id:0\r\n":                "",
		"run_id:" + id + "0\r\n":      "",
		"a_run_id:" + id + "\r\n":     "",
		"run_id:" + id[:39] + "X\r\n": "",
		"":                            "",
	} {
		if got := runID(info); got != want {
			t.Errorf("%q: %q, want %q", info, got, want)
		}
	}
}
