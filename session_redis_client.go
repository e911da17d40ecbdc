// This file makes the client of the Redis store, tuned for a proxy: whoever waits
// for a page does not wait for a Redis that is away.

package caddylogout

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
)

// Open makes the client. It does not wait for the server: a Caddy that starts
// while Redis is away serves what needs no session.
func (s *RedisStore) Open() (session.Store, error) { return s.open(time.Now) }

func (s *RedisStore) open(now func() time.Time) (*redisStore, error) {
	options, err := s.options()
	if err != nil {
		return nil, fmt.Errorf("redis store: %w", err)
	}
	bridgeRedisLog()
	store := &redisStore{
		prefix: s.KeyPrefix, now: now, timeout: time.Duration(s.Timeout),
		breakers: newBreakers(time.Duration(s.Timeout)),
		servers:  newRedisServers(options, len(s.Cluster) > 0),
	}
	options.Dialer, options.OnConnect = store.servers.Dial, store.servers.identify
	switch {
	case s.Sentinel != nil:
		store.client = store.breakers.sentinel(options)
	case len(s.Cluster) > 0:
		store.client, store.inCluster = store.breakers.cluster(options), true
	default:
		network, _, _ := parseRedisAddress(s.Address) // checked with the options
		store.client = store.breakers.single(network, options)
	}
	// Whoever sends a command through this client, it ends in time.
	store.client.AddHook(deadlineHook(s.Timeout))
	return store, nil
}

// options returns what the clients of all topologies have in common.
func (s *RedisStore) options() (*redis.UniversalOptions, error) {
	config, err := s.TLS.config()
	if err != nil {
		return nil, err
	}
	options := &redis.UniversalOptions{
		Username:     s.Username,
		Password:     s.Password,
		DB:           s.DB,
		TLSConfig:    config,
		DialTimeout:  time.Duration(s.DialTimeout),
		ReadTimeout:  time.Duration(s.ReadTimeout),
		WriteTimeout: time.Duration(s.WriteTimeout),
		PoolSize:     s.PoolSize,
		PoolTimeout:  time.Duration(s.Timeout),
		// The deadline of the operation counts too.
		ContextTimeoutEnabled: true,
		// More tries, for connections that died while they were idle: of those
		// with TLS the library does not see it. All tries share one Timeout.
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
	nodes, defaultPort := s.Cluster, defaultRedisPort
	if s.Sentinel != nil {
		options.MasterName = s.Sentinel.Master
		options.SentinelUsername, options.SentinelPassword = s.Sentinel.Username, s.Sentinel.Password
		nodes, defaultPort = s.Sentinel.Addresses, defaultSentinelPort
	}
	for _, address := range nodes {
		addr, err := parseNode(address, defaultPort)
		if err != nil {
			return nil, err
		}
		options.Addrs = append(options.Addrs, addr)
	}
	if len(nodes) == 0 {
		_, addr, err := parseRedisAddress(s.Address)
		if err != nil {
			return nil, err
		}
		options.Addrs = []string{addr}
	}
	return options, nil
}

// config returns the settings of crypto/tls, nil for no TLS.
func (t *RedisTLS) config() (*tls.Config, error) {
	if t == nil {
		return nil, nil // how the library spells "no TLS"
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,         // if empty, the host of each address
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // asked for by name
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls: ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: ca: no certificate in %s", t.CA)
		}
	}
	if t.Certificate != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
			if err != nil {
				return nil, fmt.Errorf("tls: certificate: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, nil
}

// redisLog hands the library's log lines to Caddy's logger. They are for finding
// faults: whatever fails is also an error of the call, and logged where that is
// handled.
type redisLog struct{}

// Printf logs a line of the library.
func (redisLog) Printf(_ context.Context, format string, args ...any) {
	if entry := caddy.Log().Named("sessions.redis").Check(zap.DebugLevel, "redis client"); entry != nil {
		entry.Write(zap.String("detail", fmt.Sprintf(format, args...)))
	}
}

// bridgeRedisLog sets the library's logger, which is one for the whole process.
var bridgeRedisLog = sync.OnceFunc(func() { redis.SetLogger(redisLog{}) })
