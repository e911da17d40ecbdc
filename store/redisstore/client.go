package redisstore

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"
)

// Options are what a store needs to know. All of them are set: there are no defaults
// but those that say so.
type Options struct {
	// Network is tcp or unix, for one server.
	Network string
	// Addresses are host:port, or the path of a socket: of the server, of Sentinels, or
	// of some nodes of a Cluster.
	Addresses []string
	// Sentinel asks Sentinels, at Addresses, where the server is.
	Sentinel *Sentinel
	// Cluster says that Addresses are nodes of a Cluster.
	Cluster bool

	Username, Password string
	DB                 int
	TLS                *tls.Config // nil: none
	// KeyPrefix is what the names of all keys begin with.
	KeyPrefix string

	// Timeout bounds an operation, all round trips and attempts together.
	Timeout, DialTimeout, ReadTimeout, WriteTimeout time.Duration
	// PoolSize is the largest number of connections to a server. Default: 10 for
	// every CPU.
	PoolSize int

	Now func() time.Time
	// Logger returns the logger of a part of the store.
	Logger func(name string) *zap.Logger
	// Breaker is called when the circuit breaker of a server opens and
	// closes. Default: no call.
	Breaker func(open bool)
}

// Sentinel is what Sentinel watches over, and the user of the Sentinels.
type Sentinel struct{ Master, Username, Password string }

// Open makes a store. It does not wait for the server.
func Open(o Options) *Store {
	bridgeLog(o.Logger)
	options := o.universal()
	store := &Store{
		prefix: o.KeyPrefix, now: o.Now, timeout: o.Timeout, logger: o.Logger,
		breakers: newBreakers(o),
		servers:  newServers(options, o.Cluster),
	}
	options.Dialer, options.OnConnect = store.servers.Dial, store.servers.identify
	switch {
	case o.Sentinel != nil:
		store.client = store.breakers.sentinel(options)
	case o.Cluster:
		store.client, store.inCluster = store.breakers.cluster(options), true
	default:
		store.client = store.breakers.single(o.Network, options)
	}
	// Every command through this client ends in time.
	store.client.AddHook(deadlineHook(o.Timeout))
	return store
}

// universal returns what the clients of all topologies have in common, tuned
// for a proxy: a person who waits for a page does not wait for a Redis that is
// unavailable.
func (o Options) universal() *redis.UniversalOptions {
	options := &redis.UniversalOptions{
		Addrs:        o.Addresses,
		Username:     o.Username,
		Password:     o.Password,
		DB:           o.DB,
		TLSConfig:    o.TLS,
		DialTimeout:  o.DialTimeout,
		ReadTimeout:  o.ReadTimeout,
		WriteTimeout: o.WriteTimeout,
		PoolSize:     o.PoolSize,
		PoolTimeout:  o.Timeout,
		// The deadline of the operation counts too.
		ContextTimeoutEnabled: true,
		// More attempts, for connections that broke while they were
		// idle: with TLS the library does not notice. All attempts
		// share one Timeout.
		MaxRetries:      retries,
		MinRetryBackoff: retryFrom,
		MaxRetryBackoff: retryTo,
		DialerRetries:   1,
		// One pool, as nearly everything here is a pipeline, and small buffers,
		// as sessions are small.
		PipelinePoolSize: -1,
		ReadBufferSize:   8 << 10,
		WriteBufferSize:  8 << 10,
		// A least-privilege user may send no CLIENT commands.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if o.Sentinel != nil {
		options.MasterName = o.Sentinel.Master
		options.SentinelUsername, options.SentinelPassword = o.Sentinel.Username, o.Sentinel.Password
	}
	return options
}

// clientLog hands the library's log lines to ours. They are for finding
// faults: whatever fails is also an error of the call, and logged where that is
// handled.
type clientLog struct{ logger func(name string) *zap.Logger }

// Printf logs a line of the library.
func (l clientLog) Printf(_ context.Context, format string, args ...any) {
	if entry := l.logger("redis").Check(zap.DebugLevel, "redis client"); entry != nil {
		entry.Write(zap.String("detail", fmt.Sprintf(format, args...)))
	}
}

var bridgedLog sync.Once

// bridgeLog sets the library's logger, which is one for the whole process.
func bridgeLog(logger func(name string) *zap.Logger) {
	bridgedLog.Do(func() { redis.SetLogger(clientLog{logger}) })
}

// AddHook has a hook around every command and pipeline of the store.
func (s *Store) AddHook(hook redis.Hook) { s.client.AddHook(hook) }
