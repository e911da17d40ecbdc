package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// MasterName is what the Sentinels of [StartSentinels] call the master.
const MasterName = "main"

// Watched is a master with a replica, and the Sentinels that watch over them.
type Watched struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// StartSentinels starts a master, a replica and three Sentinels, which take half
// a second of silence for an end, and waits until they know of each other. Lines
// are added to the configuration of each Sentinel. With a password, the servers
// want it of everybody.
func StartSentinels(tb testing.TB, password string, lines ...string) *Watched {
	tb.Helper()
	var args []string
	if password != "" {
		args = []string{"--requirepass", password, "--masterauth", password}
	}
	// A replica that is up to date at once, and a master that drops no replica
	// that it has not heard of.
	args = append(args, "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
	w := &Watched{Master: Start(tb, args...)}
	host, port, _ := net.SplitHostPort(w.Master.addr)
	w.Replica = Start(tb, append(args, "--replicaof", host+" "+port)...)
	waitFor(tb, "the replica to have copied the master", func() bool {
		return strings.Contains(w.Replica.CLI(tb, "INFO", "replication"), "master_link_status:up")
	})
	config := []string{
		"sentinel monitor " + MasterName + " " + host + " " + port + " 2",
		"sentinel down-after-milliseconds " + MasterName + " 500",
		"sentinel failover-timeout " + MasterName + " 5000",
	}
	if password != "" {
		config = append(config, "sentinel auth-pass "+MasterName+" "+password)
	}
	for range 3 {
		w.Sentinels = append(w.Sentinels, startSentinel(tb, append(config, lines...)))
	}
	waitFor(tb, "the Sentinels to know of each other and of the replica", func() bool {
		for _, s := range w.Sentinels {
			info := s.CLI(tb, "INFO", "sentinel")
			if !strings.Contains(info, "slaves=1,sentinels=3") {
				return false
			}
		}
		return true
	})
	return w
}

func startSentinel(tb testing.TB, config []string) *Server {
	tb.Helper()
	return tryPorts(tb, func(port int) (*Server, error) {
		dir := tb.TempDir()
		file := filepath.Join(dir, "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\n%s\n", port, dir, strings.Join(config, "\n"))
		fatal(tb, os.WriteFile(file, []byte(text), 0o600))
		s := &Server{addr: fmt.Sprintf("127.0.0.1:%d", port), args: []string{file, "--sentinel"}}
		for _, line := range config {
			if password, ok := strings.CutPrefix(line, "requirepass "); ok {
				s.login = []string{"--no-auth-warning", "-a", password}
			}
		}
		return s, s.run(tb, false)
	})
}

// Addrs returns the addresses of the Sentinels.
func (w *Watched) Addrs() []string { return addrs(w.Sentinels) }

func addrs(servers []*Server) []string {
	list := make([]string, 0, len(servers))
	for _, s := range servers {
		list = append(list, s.addr)
	}
	return list
}

// waitFor waits until ready, for as long as a server may take to start.
func waitFor(tb testing.TB, what string, ready func() bool) {
	tb.Helper()
	deadline := time.Now().Add(startWithin)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		if time.Now().After(deadline) {
			tb.Fatalf("redistest: waited in vain for %s", what)
		}
		<-tick.C
	}
}
