package redisstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// patient is a timeout for tests that are not about time, on a busy machine.
const patient = 10 * time.Second

// TestRedisContractTLS has an ACL file that lets nobody in but an administrator
// and the user of docs/redis.md, and certificates on both sides.
func TestRedisContractTLS(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	acl := filepath.Join(t.TempDir(), "users.acl")
	line := strings.TrimPrefix(strings.Join(redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset")[0], " "), "ACL SETUSER ")
	storetest.NoError(t, os.WriteFile(acl, []byte("user default off\nuser admin on >admin ~* &* +@all\nuser "+line+"\n"), 0o600))
	server := redistest.StartTLS(t, authority, "--aclfile", acl)
	server.Login("admin", "admin")
	storetest.Run(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		return connect(t, config{
			Address: server.Addr(), Username: "caddy-logout", Password: "a-password", Timeout: patient,
			TLS: &certificates{CA: authority.CA, Certificate: authority.Certificate, Key: authority.Key},
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
		for _, line := range redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +role") {
			server.CLI(t, line...)
		}
	}
	for _, server := range watched.Sentinels {
		server.CLI(t, redistest.ACLLines(t, "b-password", "ACL SETUSER watcher")[0]...)
	}
	settings := config{
		Username: "caddy-logout", Password: "a-password", Timeout: patient,
		Sentinel: &sentinels{
			Master: redistest.MasterName, Addresses: watched.Addrs(), Username: "watcher", Password: "b-password",
		},
	}
	storetest.Run(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		return connect(t, settings, now)
	})
	for _, server := range append(watched.Sentinels, watched.Master) {
		if info := server.CLI(t, "ACL", "LOG"); strings.Contains(info, "caddy-logout") || strings.Contains(info, "watcher") {
			t.Errorf("a user was refused something:\n%s", info)
		}
	}

	for name, wrong := range map[string]*sentinels{
		// Of these, the answer of a Sentinel is "nothing", as if there were no
		// session: it must not be taken for that.
		"unknown master": {Master: "other", Addresses: watched.Addrs(), Username: "watcher", Password: "b-password"},
		"no credentials": {Master: redistest.MasterName, Addresses: watched.Addrs()},
		"no Sentinel":    {Master: redistest.MasterName, Addresses: []string{"127.0.0.1:1"}},
		"wrong password": {Master: redistest.MasterName, Addresses: watched.Addrs(), Username: "watcher", Password: "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := settings
			broken.Sentinel, broken.Timeout = wrong, 0
			store := connect(t, broken, time.Now)
			defer store.Close()
			storetest.WantUnavailable(t.Context(), t, store)
			if err := store.Ping(t.Context()); strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}

	// A Sentinel that has not heard of a failover sends to a replica.
	t.Run("sent to a replica", func(t *testing.T) {
		replica := settings
		replica.Sentinel = nil
		replica.Address = watched.Replica.Addr()
		store := connect(t, replica, time.Now)
		defer store.Close()
		conn := store.client.(*redis.Client).Conn()
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
		for _, line := range redistest.ACLLines(t, "a-password", "ACL SETUSER caddy-logout reset", "ACL SETUSER caddy-logout +cluster") {
			node.CLI(t, line...)
		}
	}
	storetest.Run(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		// One address without a server and one of a replica: the others
		// are found.
		return connect(t, config{
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
