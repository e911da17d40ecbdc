package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// slots is how many slots a Cluster has, and masters among how many it parts them.
const (
	slots   = 16384
	masters = 3
)

// Cluster is a Redis Cluster: node i serves the i-th third of the slots, and node
// i+3 is its replica.
type Cluster struct{ Nodes []*Server }

// StartCluster starts a Cluster whose nodes take half a second of silence for an
// end, and waits until it serves all slots and every replica has its copy.
func StartCluster(tb testing.TB, args ...string) *Cluster {
	tb.Helper()
	return startCluster(tb, Start, args)
}

// StartClusterTLS is [StartCluster] with TLS and nothing else, also among the
// nodes.
func StartClusterTLS(tb testing.TB, a *Authority, args ...string) *Cluster {
	tb.Helper()
	return startCluster(tb, func(tb testing.TB, args ...string) *Server {
		tb.Helper()
		return StartTLS(tb, a, args...)
	}, args)
}

func startCluster(tb testing.TB, start func(testing.TB, ...string) *Server, args []string) *Cluster {
	tb.Helper()
	c := &Cluster{Nodes: make([]*Server, 2*masters)}
	bus := make([]string, 2*masters)
	for i := range c.Nodes {
		bus[i] = strconv.Itoa(FreePort(tb))
		c.Nodes[i] = start(tb, append([]string{
			"--cluster-enabled", "yes", "--cluster-port", bus[i], "--cluster-node-timeout", "500",
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
		}, args...)...)
	}
	for i, node := range c.Nodes {
		node.CLI(tb, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i < masters {
			node.CLI(tb, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		}
		host, port, _ := net.SplitHostPort(node.addr)
		if i > 0 {
			c.Nodes[0].CLI(tb, "CLUSTER", "MEET", host, port, bus[i])
		}
	}
	c.all(tb, "all nodes to know each other", func(i int) bool {
		info := c.Nodes[i].CLI(tb, "CLUSTER", "INFO")
		return strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", 2*masters)) &&
			!strings.Contains(c.Nodes[i].CLI(tb, "CLUSTER", "NODES"), "handshake")
	})
	for i := masters; i < 2*masters; i++ {
		c.Nodes[i].CLI(tb, "CLUSTER", "REPLICATE", c.ID(tb, i-masters))
	}
	c.all(tb, "the Cluster to serve all slots from copied masters", func(i int) bool {
		return strings.Contains(c.Nodes[i].CLI(tb, "CLUSTER", "INFO"), "cluster_state:ok") &&
			(i < masters && strings.Contains(c.Nodes[i].CLI(tb, "INFO", "replication"), "connected_slaves:1") ||
				i >= masters && strings.Contains(c.Nodes[i].CLI(tb, "INFO", "replication"), "master_link_status:up"))
	})
	return c
}

// all waits until every node is ready.
func (c *Cluster) all(tb testing.TB, what string, ready func(i int) bool) {
	tb.Helper()
	for i := range c.Nodes {
		waitFor(tb, what, func() bool { return ready(i) })
	}
}

// ID returns the id of a node.
func (c *Cluster) ID(tb testing.TB, i int) string {
	tb.Helper()
	return c.Nodes[i].CLI(tb, "CLUSTER", "MYID")
}

// Addrs returns the addresses of the nodes.
func (c *Cluster) Addrs() []string { return addrs(c.Nodes) }

// MoveSlot moves a slot and its keys from one master to another. Between is
// called when some of the keys have moved and some have not.
func (c *Cluster) MoveSlot(tb testing.TB, slot, from, to int, between func()) {
	tb.Helper()
	number := strconv.Itoa(slot)
	c.Nodes[to].CLI(tb, "CLUSTER", "SETSLOT", number, "IMPORTING", c.ID(tb, from))
	c.Nodes[from].CLI(tb, "CLUSTER", "SETSLOT", number, "MIGRATING", c.ID(tb, to))
	host, port, _ := net.SplitHostPort(c.Nodes[to].addr)
	migrate := func(count int) bool {
		keys := strings.Fields(c.Nodes[from].CLI(tb, "CLUSTER", "GETKEYSINSLOT", number, strconv.Itoa(count)))
		for _, key := range keys {
			c.Nodes[from].CLI(tb, "MIGRATE", host, port, key, "0", "1000")
		}
		return len(keys) > 0
	}
	migrate(1)
	between()
	for migrate(100) {
	}
	for _, i := range []int{to, from} {
		c.Nodes[i].CLI(tb, "CLUSTER", "SETSLOT", number, "NODE", c.ID(tb, to))
	}
}
