// This file runs the contract of a store against Redis in all the ways in which
// it is run: TLS with a user of least privileges, Sentinel, and a Cluster.

package caddylogout

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
)

// patient is a timeout for tests that are not about time, on a busy machine.
const patient = caddy.Duration(10 * time.Second)

// aclLines returns the lines of docs/redis.md for a user, with a password, as
// arguments of redis-cli.
func aclLines(t *testing.T, password string, begins ...string) [][]string {
	t.Helper()
	lines := make([][]string, 0, len(begins))
	for _, begin := range begins {
		line := docBlock(t, "redis", begin)
		lines = append(lines, strings.Fields(strings.ReplaceAll(line, "PASSWORD", password)))
	}
	return lines
}

// TestRedisContractTLS has an ACL file that lets nobody in but an administrator
// and the user of docs/redis.md, and certificates on both sides.
func TestRedisContractTLS(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	acl := filepath.Join(t.TempDir(), "users.acl")
	line := strings.TrimPrefix(strings.Join(aclLines(t, "a-password", "ACL SETUSER caddy-logout reset")[0], " "), "ACL SETUSER ")
	noError(t, os.WriteFile(acl, []byte("user default off\nuser admin on >admin ~* &* +@all\nuser "+line+"\n"), 0o600))
	server := redistest.StartTLS(t, authority, "--aclfile", acl)
	server.Login("admin", "admin")
	testStore(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		return openRedis(t, RedisStore{
			Address: server.Addr(), Username: "caddy-logout", Password: "a-password", Timeout: patient,
			TLS: &RedisTLS{CA: authority.CA, Certificate: authority.Certificate, Key: authority.Key},
		}, now)
	})
	if info := server.CLI(t, "ACL", "LOG"); strings.Contains(info, "caddy-logout") {
		t.Errorf("the user was refused something:\n%s", info)
	}
}

func TestRedisContractSentinel(t *testing.T) {
	t.Parallel()
	watched := redistest.StartSentinels(t, "admin", "requirepass admin", "sentinel sentinel-pass admin")
	for _, server := range []*redistest.Server{watched.Master, watched.Replica} {
		for _, line := range aclLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +role") {
			server.CLI(t, line...)
		}
	}
	for _, server := range watched.Sentinels {
		server.CLI(t, aclLines(t, "b-password", "ACL SETUSER watcher")[0]...)
	}
	config := RedisStore{
		Username: "caddy-logout", Password: "a-password", Timeout: patient,
		Sentinel: &RedisSentinel{
			Master: redistest.MasterName, Addresses: watched.Addrs(), Username: "watcher", Password: "b-password",
		},
	}
	testStore(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		return openRedis(t, config, now)
	})
	for _, server := range append(watched.Sentinels, watched.Master) {
		if info := server.CLI(t, "ACL", "LOG"); strings.Contains(info, "caddy-logout") || strings.Contains(info, "watcher") {
			t.Errorf("a user was refused something:\n%s", info)
		}
	}

	for name, wrong := range map[string]*RedisSentinel{
		// Of these, the answer of a Sentinel is "nothing", as if there were no
		// session: it must not be taken for that.
		"unknown master": {Master: "other", Addresses: watched.Addrs(), Username: "watcher", Password: "b-password"},
		"no credentials": {Master: redistest.MasterName, Addresses: watched.Addrs()},
		"no Sentinel":    {Master: redistest.MasterName, Addresses: []string{"127.0.0.1:1"}},
		"wrong password": {Master: redistest.MasterName, Addresses: watched.Addrs(), Username: "watcher", Password: "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := config
			broken.Sentinel, broken.Timeout = wrong, 0
			store := openRedis(t, broken, time.Now)
			defer store.Close()
			wantUnavailable(t.Context(), t, store)
			if err := store.Ping(t.Context()); strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}

	// A Sentinel that has not heard of a failover sends to a replica.
	t.Run("sent to a replica", func(t *testing.T) {
		replica := config
		replica.Sentinel = nil
		replica.Address = watched.Replica.Addr()
		config := openRedis(t, replica, time.Now)
		defer config.Close()
		conn := config.client.(*redis.Client).Conn()
		defer conn.Close()
		if _, err := wantMaster(t.Context(), conn); !errors.Is(err, errNotMaster) {
			t.Errorf("%v, want errNotMaster", err)
		}
	})
}

func TestRedisContractCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for _, node := range cluster.Nodes {
		for _, line := range aclLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +cluster") {
			node.CLI(t, line...)
		}
	}
	testStore(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		// One address that is dead and one that is a replica's: the rest is found.
		return openRedis(t, RedisStore{
			Cluster:  []string{"127.0.0.1:1", cluster.Nodes[4].Addr()},
			Username: "caddy-logout", Password: "a-password", Timeout: patient,
		}, now)
	})
	for _, node := range cluster.Nodes {
		if info := node.CLI(t, "ACL", "LOG"); strings.Contains(info, "caddy-logout") {
			t.Errorf("the user was refused something:\n%s", info)
		}
	}
}
