// This file tests what the check in the background finds on real servers: every
// right that is missing, and every reason for which a server cannot be used.

package caddylogout

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
		config RedisStore
		denied string // "", or what is unavailable
		says   string
	}{
		"all is well":  {nil, nil, RedisStore{}, "", ""},
		"as in docs":   {nil, []string{"docs"}, RedisStore{Username: "caddy-logout", Password: "a-password"}, "", ""},
		"no password":  {[]string{"--requirepass", "x"}, nil, RedisStore{}, both, "the server answered NOAUTH"},
		"wrong one":    {[]string{"--requirepass", "x"}, nil, RedisStore{Password: "hunter2"}, both, "the server answered WRONGPASS"},
		"full":         {nil, []string{"CONFIG", "SET", "maxmemory", "1"}, RedisStore{}, writes, "the server answered OOM to SET, ZADD"},
		"a replica":    {nil, []string{"REPLICAOF", "127.0.0.1", "1"}, RedisStore{}, writes, "the server answered READONLY to SET, DEL"},
		"no replicas":  {nil, []string{"CONFIG", "SET", "min-replicas-to-write", "1"}, RedisStore{}, writes, "the server answered NOREPLICAS to SET, DEL"},
		"another TLS":  {nil, nil, RedisStore{TLS: &RedisTLS{}}, both, "unavailable"},
		"other keys":   {[]string{"--user", "u", "on", ">u", "~other:*", "+@all"}, nil, RedisStore{Username: "u", Password: "u"}, both, errKeyPattern.Error()},
		"one database": {nil, nil, RedisStore{DB: 9999}, both, "unavailable"},
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
			config RedisStore
			denied string
			says   string
		}{
			[]string{"--user", "u", "on", ">u", "~*", "+@all", "-" + right},
			nil,
			RedisStore{Username: "u", Password: "u"},
			denied, "the server answered NOPERM to " + trial.name,
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, test.args...)
			switch {
			case len(test.spoil) == 1:
				server.CLI(t, aclLines(t, "a-password", "ACL SETUSER caddy-logout reset")[0]...)
			case test.spoil != nil:
				server.CLI(t, test.spoil...)
			}
			test.config.Address, test.config.Timeout = server.Addr(), patient
			store := openRedis(t, test.config, time.Now)
			defer store.Close()
			found := store.check(t.Context())
			read := test.denied == both || test.denied == reads
			if (found.read != nil) != read || (found.write != nil) != (test.denied != "") {
				t.Errorf("read: %v, write: %v; want %q to be unavailable", found.read, found.write, test.denied)
			}
			for _, err := range []error{found.read, found.write} {
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
	store := openRedis(t, RedisStore{Address: server.Addr()}, time.Now)
	defer store.Close()
	server.Stop(t)
	for range breakerFailures + 1 { // also when the breaker is open, with the cause
		found := (&storeHealth{store: store}).ask(t.Context())
		if faultKind(found.read) != "unreachable" || !strings.Contains(found.read.Error(), "refused") || found.write == nil {
			t.Errorf("read: %v, write: %v; want both to be refused", found.read, found.write)
		}
	}
}

func TestHealthOfCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for _, node := range cluster.Nodes {
		for _, line := range aclLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +cluster") {
			node.CLI(t, line...)
		}
	}
	store := openRedis(t, RedisStore{Cluster: cluster.Addrs(), Username: "caddy-logout", Password: "a-password", Timeout: patient}, time.Now)
	defer store.Close()
	if found := store.check(t.Context()); found.read != nil || found.write != nil {
		t.Fatalf("read: %v, write: %v; want all to be well", found.read, found.write)
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
	found := store.check(t.Context())
	if found.read != nil || found.write == nil || !slices.ContainsFunc(strings.Fields(found.write.Error()), func(word string) bool {
		return word == cluster.Nodes[2].Addr()+":"
	}) || !strings.Contains(found.write.Error(), "NOPERM to DEL") {
		t.Errorf("read: %v, write: %v; want the third node to refuse DEL", found.read, found.write)
	}
}
