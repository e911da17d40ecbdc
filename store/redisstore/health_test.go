package redisstore

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
)

func TestHealthOfRedis(t *testing.T) {
	t.Parallel()
	const reads, writes, both = "reads", "writes", "both"
	tests := map[string]struct {
		args   []string
		spoil  []string // a command for the server
		config config
		denied string // "", or what is unavailable
		says   string
	}{
		"all is well":  {nil, nil, config{}, "", ""},
		"as in docs":   {nil, []string{"docs"}, config{Username: "caddy-logout", Password: "a-password"}, "", ""},
		"no password":  {[]string{"--requirepass", "x"}, nil, config{}, both, "the server answered NOAUTH"},
		"wrong one":    {[]string{"--requirepass", "x"}, nil, config{Password: "hunter2"}, both, "the server answered WRONGPASS"},
		"full":         {nil, []string{"CONFIG", "SET", "maxmemory", "1"}, config{}, writes, "the server answered OOM to SET, ZADD"},
		"a replica":    {nil, []string{"REPLICAOF", "127.0.0.1", "1"}, config{}, writes, "the server answered READONLY to SET, DEL"},
		"no replicas":  {nil, []string{"CONFIG", "SET", "min-replicas-to-write", "1"}, config{}, writes, "the server answered NOREPLICAS to SET, DEL"},
		"another TLS":  {nil, nil, config{TLS: &certificates{}}, both, "unavailable"},
		"other keys":   {[]string{"--user", "u", "on", ">u", "~other:*", "+@all"}, nil, config{Username: "u", Password: "u"}, both, errKeyPattern.Error()},
		"one database": {nil, nil, config{DB: 9999}, both, "unavailable"},
	}
	for _, trial := range trials {
		right := strings.ToLower(trial.name)
		denied := writes
		if trial.read {
			denied = reads
		}
		tests["no right to "+trial.name] = struct {
			args   []string
			spoil  []string
			config config
			denied string
			says   string
		}{
			[]string{"--user", "u", "on", ">u", "~*", "+@all", "-" + right},
			nil,
			config{Username: "u", Password: "u"},
			denied, "the server answered NOPERM to " + trial.name,
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, test.args...)
			switch {
			case len(test.spoil) == 1:
				server.CLI(t, redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset")[0]...)
			case test.spoil != nil:
				server.CLI(t, test.spoil...)
			}
			test.config.Address, test.config.Timeout = server.Addr(), patient
			store := connect(t, test.config, time.Now)
			defer store.Close()
			found := store.Check(t.Context())
			read := test.denied == both || test.denied == reads
			if (found.Read != nil) != read || (found.Write != nil) != (test.denied != "") {
				t.Errorf("read: %v, write: %v; want %q to be unavailable", found.Read, found.Write, test.denied)
			}
			for _, err := range []error{found.Read, found.Write} {
				if err == nil {
					continue
				}
				if !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v, want ErrUnavailable with %q and no secret", err, test.says)
				}
			}
			if test.args == nil {
				if left := server.CLI(t, "DBSIZE"); left != "0" {
					t.Errorf("the check leaves %s keys behind", left)
				}
				if log := server.CLI(t, "ACL", "LOG"); strings.Contains(log, "caddy-logout") {
					t.Errorf("the check wants more than docs/redis.md grants:\n%s", log)
				}
			}
		})
	}
}

func TestHealthUnreachable(t *testing.T) {
	server := redistest.Start(t)
	store := connect(t, config{Address: server.Addr()}, time.Now)
	defer store.Close()
	server.Stop(t)
	for range breakerFailures + 1 { // also when the breaker is open, with the cause
		found := store.Check(t.Context())
		if !errors.Is(found.Read, session.ErrUnreachable) || !strings.Contains(found.Read.Error(), "refused") || found.Write == nil {
			t.Errorf("read: %v, write: %v; want both to be refused", found.Read, found.Write)
		}
	}
}

func TestHealthOfCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for _, node := range cluster.Nodes {
		for _, line := range redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +cluster") {
			node.CLI(t, line...)
		}
	}
	store := connect(t, config{Cluster: cluster.Addrs(), Username: "caddy-logout", Password: "a-password", Timeout: patient}, time.Now)
	defer store.Close()
	if found := store.Check(t.Context()); found.Read != nil || found.Write != nil {
		t.Fatalf("read: %v, write: %v; want all to be well", found.Read, found.Write)
	}
	asked := 0
	for _, node := range cluster.Nodes {
		if strings.Contains(node.CLI(t, "INFO", "commandstats"), "cmdstat_zremrangebyscore") {
			asked++
		}
		if log := node.CLI(t, "ACL", "LOG"); strings.Contains(log, "caddy-logout") {
			t.Errorf("the check wants more than docs/redis.md grants:\n%s", log)
		}
	}
	if asked < 3 {
		t.Errorf("%d masters were asked, want all 3", asked)
	}
	cluster.Nodes[2].CLI(t, "ACL", "SETUSER", "caddy-logout", "-del")
	found := store.Check(t.Context())
	if found.Read != nil || found.Write == nil || !slices.ContainsFunc(strings.Fields(found.Write.Error()), func(word string) bool {
		return word == cluster.Nodes[2].Addr()+":"
	}) || !strings.Contains(found.Write.Error(), "NOPERM to DEL") {
		t.Errorf("read: %v, write: %v; want the third node to refuse DEL", found.Read, found.Write)
	}
}
