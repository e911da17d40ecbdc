package redisstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
)

// Store is a client of Redis: of one server, of one behind Sentinel, or of
// a Cluster. Every command touches one key, and whatever has to happen in order
// over keys in different slots happens in pipelines of their own.
type Store struct {
	client redis.UniversalClient
	// inCluster says that a pipeline is no order: the library sends on by
	// themselves the commands whose keys have moved.
	inCluster bool
	breakers  *breakers
	servers   *servers
	timeout   time.Duration
	prefix    string
	now       func() time.Time
	logger    func(name string) *zap.Logger
	reads     batches[*readRequest]
	ends      batches[*revokeRequest]
}

// sessionKey is the name of the key of a session. The keys of one session share a hash
// tag, the braces.
func (s *Store) sessionKey(key session.Key) string {
	return s.prefix + "session:{" + key.String() + "}"
}

func (s *Store) tombstoneKey(key session.Key) string {
	return s.prefix + "revoked:{" + key.String() + "}"
}

func (s *Store) useKey(key session.Key) string { return s.prefix + "used:{" + key.String() + "}" }

func (s *Store) indexKey(identity string) string {
	return s.prefix + "identity:" + identity
}
func (s *Store) errorKey(id string) string { return s.prefix + "error:" + id }

// Create stores a session: looks whether the key is free, then writes the index,
// then the session. The three are apart because a failure must end it: a session
// that is not in the index would outlive "log out everywhere".
func (s *Store) Create(ctx context.Context, key session.Key, e session.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rec, err := s.get(ctx, &readRequest{request: request{operation: "create"}, key: key})
	if err != nil {
		return err
	}
	if rec.Value != nil || !rec.RevokedAt.IsZero() {
		return session.ErrExists
	}
	if err := s.index(ctx, key, e); err != nil {
		return err
	}
	pipe := s.client.Pipeline()
	// SET with NX answers nothing if the key is there.
	value := &sentValue{bytes: e.Value}
	set := pipe.Do(ctx, "set", s.sessionKey(key), value, "nx", "pxat", e.ExpiresAt.UnixMilli())
	if s.inCluster {
		if err := execPipeline(ctx, "create", pipe); err != nil {
			return err
		}
		pipe = s.client.Pipeline()
	}
	// A tombstone that was written since the first look; one that is written
	// after this look is followed by a DEL, which is after our SET.
	revoked := pipe.Get(ctx, s.tombstoneKey(key))
	var tooMany *redis.StringSliceCmd
	if e.Bound != nil {
		// Is there one behind the last that may be? Not ZCARD, which no user of
		// Redis that was set up by docs/redis.md needed before.
		tooMany = pipe.ZRange(ctx, s.indexKey(e.Identity), int64(e.Bound.Max), int64(e.Bound.Max))
	}
	if err := execPipeline(ctx, "create", pipe); err != nil {
		return err
	}
	if revoked.Err() == nil {
		// The tombstone stays as it is: this deletes what was just written.
		if _, err := s.Revoke(ctx, key, e.Identity, readTombstone(revoked.Val()), s.now()); err != nil {
			return err
		}
		return session.ErrExists
	}
	if isNil(set.Err()) {
		if own, err := s.isOwn(ctx, s.sessionKey(key), value); err != nil || !own {
			return cmp.Or(err, session.ErrExists)
		}
	}
	if tooMany != nil {
		e.Bound.Exceeded = len(tooMany.Val()) > 0
	}
	return nil
}

// index writes the entry of key into the index of its identity, and clears out
// those that have expired by any server's clock: an entry that a fast clock took
// out of it would be missed by "log out everywhere". The index itself lasts as
// long as its last entry.
func (s *Store) index(ctx context.Context, key session.Key, e session.Entry) error {
	name := s.indexKey(e.Identity)
	end := e.ExpiresAt.Add(time.Second - 1).Truncate(time.Second) // never before the session
	pipe := s.client.Pipeline()
	pipe.ZRemRangeByScore(ctx, name, "-inf", s.expired())
	pipe.ZAddGT(ctx, name, redis.Z{Score: float64(end.Unix()), Member: key.String()})
	// NX for an index that is new, GT for one that has an end: GT alone takes
	// none for the latest end of all.
	pipe.Do(ctx, "expireat", name, end.Unix(), "nx")
	pipe.Do(ctx, "expireat", name, end.Unix(), "gt")
	return execPipeline(ctx, "create", pipe)
}

// expired is the score up to which entries of an index have expired by the clock
// of every server.
func (s *Store) expired() string {
	return strconv.FormatInt(s.now().Add(-session.ClockTolerance).Unix(), 10)
}

// Touch records a use of key.
func (s *Store) Touch(ctx context.Context, key session.Key, at, until time.Time) error {
	return failure("touch", s.client.Do(ctx,
		"set", s.useKey(key), at.UnixMilli(), "pxat", until.UnixMilli()).Err())
}

// Keys lists the keys in the index of identity.
func (s *Store) Keys(ctx context.Context, identity string) ([]session.IndexedKey, error) {
	members, err := s.client.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
		Key:     s.indexKey(identity),
		Start:   "(" + s.expired(),
		Stop:    "+inf",
		ByScore: true,
	}).Result()
	if err != nil {
		return nil, failure("keys", err)
	}
	keys := make([]session.IndexedKey, 0, len(members))
	for _, member := range members {
		// Other programs write here too: an invalid key names no
		// session.
		name, _ := member.Member.(string)
		if key, err := session.ParseKey(name); err == nil {
			keys = append(keys, session.IndexedKey{Key: key, ExpiresAt: time.Unix(int64(member.Score), 0).UTC()})
		}
	}
	return keys, nil
}

// PutError keeps value under id until the given time.
func (s *Store) PutError(ctx context.Context, id string, value []byte, until time.Time) error {
	return failure("put error", s.client.Do(ctx,
		"set", s.errorKey(id), value, "pxat", until.UnixMilli()).Err())
}

// GetError returns what PutError kept.
func (s *Store) GetError(ctx context.Context, id string) ([]byte, error) {
	value, err := s.client.Get(ctx, s.errorKey(id)).Bytes()
	if isNil(err) {
		return nil, session.ErrNotFound
	}
	if err != nil {
		return nil, failure("get error", err)
	}
	return value, nil
}

// Ping checks that the server answers, in a Cluster every master.
func (s *Store) Ping(ctx context.Context) error {
	ping := func(ctx context.Context, node *redis.Client) error { return node.Ping(ctx).Err() }
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		return failure("ping", cluster.ForEachMaster(ctx, ping))
	}
	return failure("ping", s.client.Ping(ctx).Err())
}

// Close closes all connections.
func (s *Store) Close() error {
	s.breakers.close()
	return failure("close", s.client.Close())
}

// isNil reports whether Redis answered a command with nil. Only the bare error
// says so: the one of a dial can have another server's redis.Nil in it, such as
// that of a Sentinel that knows no master of that name, and to take that for an
// answer would sign everybody out.
func isNil(err error) bool {
	return err == redis.Nil //nolint:errorlint // see above
}

// execPipeline sends a pipeline and returns the first error. That a key is not
// there is an answer, no error. The error of the whole counts as well as those
// of the commands: of a login that failed, the commands know nothing, and would
// say that there is a session, and that it is empty; and of a transaction it
// says only that there was none, not why.
func execPipeline(ctx context.Context, operation string, pipe redis.Pipeliner) error {
	commands, err := pipe.Exec(ctx)
	for _, command := range commands {
		if err := command.Err(); err != nil && !isNil(err) {
			return failure(operation, err)
		}
	}
	if err != nil && !isNil(err) {
		return failure(operation, err)
	}
	return nil
}

// failure makes an error of the client one of the contract. Of the cause it
// keeps what cannot hold a key, a password or a client's data: the library puts
// whole commands into some of its errors, and the server quotes them in others.
func failure(operation string, err error) error {
	if err == nil {
		return nil
	}
	cause := causeOf(err)
	if cause == nil {
		return fmt.Errorf("redis: %s: %w", operation, session.ErrUnavailable)
	}
	return fmt.Errorf("redis: %s: %w: %w", operation, session.ErrUnavailable, cause)
}

func causeOf(err error) error {
	for _, safe := range []error{
		session.ErrNotQueried, errNotMaster, errOtherNode, errClusterMoves,
		errSeveralServers, errNoRunID, errNoCluster, context.Canceled, context.DeadlineExceeded, redis.ErrClosed, redis.ErrPoolTimeout, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, safe) {
			return safe
		}
	}
	var (
		reply       redis.Error
		network     *net.OpError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &reply):
		// The first word is the kind of error: NOPERM, OOM, READONLY, WRONGTYPE.
		kind, _, _ := strings.Cut(reply.Error(), " ")
		if kind == "" || strings.Trim(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return nil
		}
		return errors.New("the server answered " + kind)
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &record):
		return record
	case errors.As(err, &network):
		return network
	}
	return nil
}

// Interface guard.
var _ session.Store = (*Store)(nil)
