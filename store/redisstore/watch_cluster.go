package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterPoll is how often every master is asked for its view of the Cluster,
// and clusterProof how long an answer counts, from when it was asked for.
const (
	clusterPoll  = 300 * time.Millisecond
	clusterProof = time.Second
)

// errClusterMoves says that the masters do not agree, or that a slot is being
// moved to or from a server without a listener: its keys could change without a
// notification.
var errClusterMoves = errors.New("the cluster is changing")

// clusterView is one master's view of the Cluster.
type clusterView struct {
	id     string   // of itself
	slots  []string // one line for each master that has slots: its id and those
	owners []string // the ids in slots
	moves  []string // the ids of those it moves slots to or from
}

// parseClusterView reads the answer to CLUSTER NODES
// (https://redis.io/docs/latest/commands/cluster-nodes/).
func parseClusterView(nodes string) (clusterView, error) {
	var v clusterView
	for line := range strings.Lines(nodes) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		id, flags := fields[0], strings.Split(fields[2], ",")
		master := slices.Contains(flags, "master")
		if slices.Contains(flags, "myself") && master {
			v.id = id
		}
		var own []string
		for _, slot := range fields[8:] {
			move, moving := strings.CutPrefix(slot, "[")
			if !moving {
				own = append(own, slot)
				continue
			}
			// [slot->-to] or [slot-<-from], told by the node itself alone.
			move = strings.TrimSuffix(move, "]")
			v.moves = append(v.moves, move[strings.LastIndexByte(move, '-')+1:])
		}
		if master && len(own) > 0 {
			v.slots = append(v.slots, id+" "+strings.Join(own, " "))
			v.owners = append(v.owners, id)
		}
	}
	if v.id == "" {
		return v, fmt.Errorf("%w: a node is no master any more", errClusterMoves)
	}
	slices.Sort(v.slots)
	slices.Sort(v.owners)
	return v, nil
}

// followCluster polls the view of the Cluster, and listens to every master in
// it.
func (w *watch) followCluster(ctx context.Context, client *redis.ClusterClient) {
	var listening sync.WaitGroup
	defer listening.Wait()
	stops := make(map[string]context.CancelFunc)
	var known []string
	tick := time.NewTicker(clusterPoll)
	defer tick.Stop()
	for {
		asked := time.Now()
		views, nodes, err := askCluster(ctx, client)
		if err == nil {
			err = agree(views)
		}
		w.mu.Lock()
		if err != nil {
			w.topology = time.Time{}
			w.update(err)
			client.ReloadState(ctx)
		} else {
			if !slices.Equal(known, views[0].slots) {
				// What was read of a slot before it moved is not listened to
				// where it is now.
				w.disarm(errClusterMoves)
				known = views[0].slots
			}
			for id, stop := range stops {
				// A node keeps its id when it starts again at another address.
				if node := nodes[id]; node == nil || node.Options().Addr != w.nodes[id].options.Addr {
					w.disarm(errClusterMoves)
					stop()
					delete(stops, id)
					delete(w.nodes, id)
				}
			}
			for id, node := range nodes {
				if w.nodes[id] != nil {
					continue
				}
				l := &listener{watch: w, options: *node.Options(), node: id}
				nodeCtx, stop := context.WithCancel(ctx)
				w.nodes[id], stops[id] = l, stop
				listening.Go(func() { l.run(nodeCtx) })
			}
			w.topology = asked.Add(clusterProof)
			w.update(nil)
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			for _, stop := range stops {
				stop()
			}
			return
		case <-tick.C:
		}
	}
}

// askCluster asks all masters that the client knows for their view.
func askCluster(ctx context.Context, client *redis.ClusterClient) ([]clusterView, map[string]*redis.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterPoll)
	defer cancel()
	var mu sync.Mutex
	var views []clusterView
	nodes := make(map[string]*redis.Client)
	err := client.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		text, err := node.ClusterNodes(ctx).Result()
		if err != nil {
			return err
		}
		v, err := parseClusterView(text)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		views, nodes[v.id] = append(views, v), node
		return nil
	})
	return views, nodes, err
}

// agree checks that all masters have one view, and that they are all in it.
func agree(views []clusterView) error {
	if len(views) == 0 {
		return errClusterMoves
	}
	ids := make([]string, 0, len(views))
	for _, v := range views {
		ids = append(ids, v.id)
	}
	slices.Sort(ids)
	for _, v := range views {
		if !slices.Equal(v.slots, views[0].slots) || !slices.Equal(v.owners, ids) {
			return errClusterMoves
		}
		for _, id := range v.moves {
			if !slices.Contains(ids, id) {
				return errClusterMoves
			}
		}
	}
	return nil
}
