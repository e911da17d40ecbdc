package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// How a client goes about trying again.
const (
	// retries is how often a command is tried again, or sent on in a Cluster.
	retries = 5
	// retryFrom and retryTo are how long it waits before another try.
	retryFrom = 2 * time.Millisecond
	retryTo   = 16 * time.Millisecond
	// reloadSlots is how often a Cluster is asked at least who serves which
	// slots. The library asks by itself only when a node redirects it, and a
	// node that is down redirects no client.
	reloadSlots = 5 * time.Second
)

// single makes a client of one server, whose address may be a path: a socket's.
func (b *breakers) single(network string, options *redis.UniversalOptions) redis.UniversalClient {
	o := options.Simple()
	o.Network = network
	client := redis.NewClient(o)
	client.AddHook(b.guard(client, o.Addr, nil))
	return client
}

// sentinel makes a client of the master that Sentinel names, and of the next one
// as soon as Sentinel names another.
func (b *breakers) sentinel(options *redis.UniversalOptions) redis.UniversalClient {
	o := options.Failover()
	identify := o.OnConnect
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		role, err := wantMaster(ctx, conn)
		if err != nil || role == "sentinel" {
			return err
		}
		return identify(ctx, conn)
	}
	// The library queries the Sentinel that it knows, twice and with all
	// attempts, before it queries the others, and all within the time of a
	// dial. No request waits that long: a late connection serves the next
	// one.
	o.MaxRetries = 1
	o.DialTimeout = max(o.DialTimeout, 6*o.ReadTimeout)
	client := redis.NewFailoverClient(o)
	client.AddHook(b.guard(client, "sentinel "+o.MasterName, nil))
	return client
}

// errNotMaster says that Sentinel sent us to a server that does not know, or no
// longer knows, that it is the master. Its answers may be old.
var errNotMaster = errors.New("the server is not the master")

// wantMaster refuses a new connection to a replica, as Sentinel's guide for
// clients has it (https://redis.io/docs/latest/develop/reference/sentinel-clients/,
// step 3): a Sentinel may not have heard of a failover yet. The library calls it
// for connections to Sentinels too.
func wantMaster(ctx context.Context, conn *redis.Conn) (role string, err error) {
	answer, err := conn.Do(ctx, "role").Slice()
	if err != nil {
		return "", fmt.Errorf("role: %w", err)
	}
	if len(answer) > 0 {
		role, _ = answer[0].(string)
	}
	if role != "master" && role != "sentinel" {
		return "", errNotMaster
	}
	return role, nil
}

// cluster makes a client of a Cluster. Every node has a breaker of its own, so
// that a node that is unavailable affects only its own sessions.
func (b *breakers) cluster(options *redis.UniversalOptions) redis.UniversalClient {
	o := options.Cluster()
	o.MaxRedirects = retries
	o.MaxRetries = -1 // of a node: the redirects are attempts already
	o.ClusterStateReloadInterval = reloadSlots
	// The policies are for commands of several keys, which we have none of. The
	// library would ask for the table of all commands, and ask again for every
	// single command if the user may not read it.
	o.DisableRoutingPolicies = true
	client := redis.NewClusterClient(o)
	client.OnNewNode(func(node *redis.Client) {
		node.AddHook(b.guard(node, node.Options().Addr, client.ReloadState))
	})
	return client
}
