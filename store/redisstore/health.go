package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/session"
)

// unreachable are causes that say that a server did not answer.
var unreachable = []error{
	session.ErrNotQueried, errNotMaster, errNoCluster, context.DeadlineExceeded, redis.ErrPoolTimeout, io.EOF, io.ErrUnexpectedEOF,
}

// errKeyPattern says that the ACL pattern of the user is for other keys.
var errKeyPattern = errors.New("the server answered NOPERM: the user may not access keys that begin with key_prefix")

var errNoPermission = errors.New("the server answered NOPERM")

// trial is a command that does nothing to a key that does not exist. Redis
// refuses it as it would refuse the real one: for want of a right, of memory, of
// replicas, or because it is a replica.
type trial struct {
	name string
	read bool // needed to check a session
	args func(key string) []any
}

var trials = []trial{
	{"GET", true, func(key string) []any { return []any{"get", key} }},
	{"SET", false, func(key string) []any { return []any{"set", key, "", "xx", "px", 1} }},
	{"DEL", false, func(key string) []any { return []any{"del", key} }},
	{"PEXPIREAT", false, func(key string) []any { return []any{"pexpireat", key, 1} }},
	{"EXPIREAT", false, func(key string) []any { return []any{"expireat", key, 1} }},
	{"ZADD", false, func(key string) []any { return []any{"zadd", key, "xx", 0, "0"} }},
	{"ZREM", false, func(key string) []any { return []any{"zrem", key, "0"} }},
	{"ZRANGE", false, func(key string) []any { return []any{"zrange", key, 0, 0} }},
	{"ZREMRANGEBYSCORE", false, func(key string) []any { return []any{"zremrangebyscore", key, 0, 0} }},
	{"MULTI", false, func(string) []any { return []any{"multi"} }},
	{"EXEC", false, func(string) []any { return []any{"exec"} }},
}

// Check implements [session.Checker]: it tries all commands on a key that is never
// there, in one round trip, in a Cluster at every master. It passes the breaker: only so
// is the cause known.
func (s *Store) Check(ctx context.Context) session.Faults {
	found := s.tryAll(context.WithValue(ctx, probing{}, true))
	return session.Faults{Read: reachable(found.Read), Write: reachable(found.Write)}
}

// reachable marks the fault of a server that did not answer.
func reachable(err error) error {
	if _, network := errors.AsType[*net.OpError](err); network {
		return unreachableError{err}
	}
	for _, cause := range unreachable {
		if errors.Is(err, cause) {
			return unreachableError{err}
		}
	}
	return err
}

// unreachableError is a fault that says in its own words that a server did not answer.
type unreachableError struct{ error }

// Is reports whether the target is [session.ErrUnreachable].
func (unreachableError) Is(target error) bool { return target == session.ErrUnreachable }

// Unwrap returns the fault itself.
func (e unreachableError) Unwrap() error { return e.error }

func (s *Store) tryAll(ctx context.Context) session.Faults {
	switch client := s.client.(type) {
	case *redis.ClusterClient:
		return s.checkCluster(ctx, client)
	case *redis.Client:
		return tryAll(ctx, client, s.prefix+"check:{0}")
	}
	err := s.Ping(ctx)
	return session.Faults{Read: err, Write: err}
}

// checkCluster checks all masters. Of several faults it returns the first.
func (s *Store) checkCluster(ctx context.Context, cluster *redis.ClusterClient) session.Faults {
	keys, err := s.keyOfEach(ctx, cluster)
	if err != nil {
		err = failure("check", err)
		return session.Faults{Read: err, Write: err}
	}
	var mu sync.Mutex
	var all session.Faults
	var running sync.WaitGroup
	for node, key := range keys {
		running.Go(func() {
			found := tryAll(ctx, node, key)
			mu.Lock()
			defer mu.Unlock()
			if all.Read == nil {
				all.Read = at(node, found.Read)
			}
			if all.Write == nil {
				all.Write = at(node, found.Write)
			}
		})
	}
	running.Wait()
	return all
}

// at says which node it was.
func at(node *redis.Client, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", node.Options().Addr, err)
}

// maxKeyTries bounds the search for a key of each master. The keys come evenly,
// so that 24 masters with a like number of slots need about a hundred.
const maxKeyTries = 2000

// keyOfEach finds a key for every master that has slots.
func (s *Store) keyOfEach(ctx context.Context, cluster *redis.ClusterClient) (map[*redis.Client]string, error) {
	masters := 0
	var mu sync.Mutex
	err := cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters++
		return nil
	})
	if err != nil {
		return nil, err
	}
	keys := make(map[*redis.Client]string, masters)
	for i := 0; i < maxKeyTries && len(keys) < masters; i++ {
		key := fmt.Sprintf("%scheck:{%d}", s.prefix, i)
		node, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return nil, err
		}
		if keys[node] == "" {
			keys[node] = key
		}
	}
	return keys, nil
}

// tryAll tries all commands on one server.
func tryAll(ctx context.Context, client *redis.Client, key string) session.Faults {
	pipe := client.Pipeline()
	commands := make([]*redis.Cmd, len(trials))
	for i, trial := range trials {
		commands[i] = pipe.Do(ctx, trial.args(key)...)
	}
	_, err := pipe.Exec(ctx)
	var read, write refusals
	silent := true
	for i, command := range commands {
		err := command.Err()
		silent = silent && err == nil
		if err == nil || isNil(err) || isElsewhere(err) {
			continue
		}
		if trials[i].name == "EXEC" && commands[i-1].Err() != nil && !isNoPermission(err) {
			continue // there was no MULTI
		}
		if trials[i].read {
			read.add(trials[i].name, err)
		} else {
			write.add(trials[i].name, err)
		}
	}
	faults := session.Faults{Read: read.err(), Write: write.err()}
	if silent {
		// Of a login that failed, the commands know nothing.
		faults.Read = failure("check", err)
	}
	if faults.Write == nil {
		faults.Write = faults.Read
	}
	return faults
}

// isElsewhere reports whether the key is served by another node just now: this
// one answers, and it is no refusal.
func isElsewhere(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && slices.ContainsFunc([]string{"MOVED ", "ASK ", "TRYAGAIN "}, func(begin string) bool {
		return strings.HasPrefix(reply.Error(), begin)
	})
}

func isNoPermission(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	// "EXECABORT Transaction discarded because of: NOPERM …" is one, too.
	kind, rest, _ := strings.Cut(reply.Error(), " ")
	return kind == "NOPERM" || kind == "EXECABORT" && strings.Contains(rest, "NOPERM")
}

// refusals collects why commands are refused. The names of the commands are ours:
// what the server says of them may have a key in it.
type refusals struct {
	causes []error
	names  map[string][]string
	first  error
}

func (r *refusals) add(name string, err error) {
	if r.first == nil {
		r.first = err
	}
	cause := causeOf(err)
	switch {
	case isNoPermission(err) && strings.Contains(err.Error(), "access"):
		cause = errKeyPattern
	case isNoPermission(err):
		cause = errNoPermission
	case cause == nil:
		cause = errors.New("the server answered an error")
	}
	text := cause.Error()
	if r.names[text] == nil {
		r.causes = append(r.causes, cause)
	}
	if r.names == nil {
		r.names = make(map[string][]string)
	}
	r.names[text] = append(r.names[text], name)
}

// err returns one error for all, nil if there is none.
func (r *refusals) err() error {
	if r.first == nil {
		return nil
	}
	if _, ok := errors.AsType[redis.Error](r.first); !ok {
		return failure("check", r.first) // one that all commands share
	}
	texts := make([]string, 0, len(r.causes))
	for _, cause := range r.causes {
		text := cause.Error()
		if isLogin(text) || errors.Is(cause, errKeyPattern) {
			texts = append(texts, text)
			continue
		}
		texts = append(texts, text+" to "+strings.Join(r.names[text], ", "))
	}
	return fmt.Errorf("redis: check: %w: %s", session.ErrUnavailable, strings.Join(texts, "; "))
}

// isLogin reports whether the whole connection was refused, whatever was asked.
func isLogin(cause string) bool {
	return slices.ContainsFunc([]string{"WRONGPASS", "NOAUTH", "LOADING", "MASTERDOWN"}, func(kind string) bool {
		return strings.HasSuffix(cause, kind)
	})
}

// Interface guard.
var _ session.Checker = (*Store)(nil)
