// This file holds the configuration of the Redis store: what is refused, and
// how secrets are found.

package caddylogout

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/session"
)

// Defaults of the Redis store. The library's own are 5 s and several tries,
// which is an outage of its own for whoever waits for a page.
const (
	defaultRedisAddress   = "127.0.0.1:6379"
	defaultRedisPort      = "6379"
	defaultRedisKeyPrefix = "caddy-logout:"
	defaultSentinelPort   = "26379"
	defaultRedisDial      = 500 * time.Millisecond
	defaultRedisTimeout   = 250 * time.Millisecond
)

// RedisStore keeps sessions in Redis, version 7.0 or newer, which several Caddy
// servers and a login service can share: one server, one that Sentinel watches
// over, or a Cluster. Reads go to masters only, as a replica may not know yet of
// a revocation. docs/redis.md describes every key. In all settings but the
// numbers and durations, placeholders are replaced at start; one that is unknown
// or empty is an error that names it.
type RedisStore struct {
	// Address of the server: `host:port`, `host` (port 6379), or
	// `unix/` and the path of a socket. Default: `127.0.0.1:6379`. Not together
	// with Sentinel or Cluster.
	Address string `json:"address,omitempty"`
	// Sentinel asks Redis Sentinel for the address of the master. Default: none.
	Sentinel *RedisSentinel `json:"sentinel,omitempty"`
	// Cluster holds addresses of nodes of a Redis Cluster, as `host:port` or
	// `host` (port 6379): one that answers is enough to find the others. Only
	// with DB 0. Default: none.
	Cluster []string `json:"cluster,omitempty"`
	// Username of the Redis user. Default: none, which is Redis' default user.
	Username string `json:"username,omitempty"`
	// Password of the Redis user, best as `{env.REDIS_PASSWORD}` or
	// `{file./run/secrets/redis}`. Default: none.
	Password string `json:"password,omitempty"`
	// DB is the number of the database. Default: 0.
	DB int `json:"db,omitempty"`
	// KeyPrefix is what the names of all keys begin with. Default:
	// `caddy-logout:`.
	KeyPrefix string `json:"key_prefix,omitempty"`
	// TLS turns on TLS. Default: none.
	TLS *RedisTLS `json:"tls,omitempty"`
	// Timeout is how long one operation of the store may take in all: waiting for
	// a connection, making one, sending, the answer, and another try. Past it,
	// the store is unavailable. Default: 250ms, or ReadTimeout or WriteTimeout if
	// one of them is longer.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// DialTimeout is how long a new connection may take, TLS included. It may be
	// longer than Timeout: a connection that comes late is kept for the next.
	// Default: 500ms.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`
	// ReadTimeout is how long an answer may take, at most Timeout. Default:
	// Timeout.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`
	// WriteTimeout is how long sending a command may take, at most Timeout.
	// Default: Timeout.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`
	// PoolSize is the largest number of connections, in a Cluster to each node.
	// Default: 10 for every CPU.
	PoolSize int `json:"pool_size,omitempty"`

	poolKey string // made once: files that it stands for may change
}

// RedisSentinel says where the Sentinels are and what they watch over.
type RedisSentinel struct {
	// Master is the name of the master, as in `sentinel monitor`.
	Master string `json:"master"`
	// Addresses of Sentinels, as `host:port` or `host` (port 26379): one that
	// answers is enough.
	Addresses []string `json:"addresses"`
	// Username of the Sentinels' own user. Default: none.
	Username string `json:"username,omitempty"`
	// Password of the Sentinels, which is not that of the servers. Default: none.
	Password string `json:"password,omitempty"`
}

// RedisTLS says how to talk TLS to the Redis server.
type RedisTLS struct {
	// CA is a PEM file of the certificate authorities to trust. Default: the
	// system's.
	CA string `json:"ca,omitempty"`
	// Certificate is a PEM file of the certificate to show to the server. It is
	// read for every connection, so it can be renewed without a reload.
	Certificate string `json:"certificate,omitempty"`
	// Key is the PEM file of the private key of Certificate.
	Key string `json:"key,omitempty"`
	// ServerName is the name that the server's certificate must have. Default:
	// the host of the address.
	ServerName string `json:"server_name,omitempty"`
	// InsecureSkipVerify accepts any certificate: whoever is on the way can read
	// and change all sessions. For tests only.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (RedisStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "sessions.stores.redis",
		New: func() caddy.Module { return new(RedisStore) },
	}
}

// Provision replaces placeholders and sets defaults. It does not ask the server.
func (s *RedisStore) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	for _, field := range s.texts() {
		value, err := replaceSecret(repl, *field.value)
		if err != nil {
			return fmt.Errorf("redis store: %s: %w", field.name, err)
		}
		*field.value = value
	}
	if s.Address == "" && s.Sentinel == nil && len(s.Cluster) == 0 {
		s.Address = defaultRedisAddress
	}
	if s.KeyPrefix == "" {
		s.KeyPrefix = defaultRedisKeyPrefix
	}
	s.Timeout = orDefault(s.Timeout, max(defaultRedisTimeout, time.Duration(s.ReadTimeout), time.Duration(s.WriteTimeout)))
	s.DialTimeout = orDefault(s.DialTimeout, defaultRedisDial)
	s.ReadTimeout = orDefault(s.ReadTimeout, time.Duration(s.Timeout))
	s.WriteTimeout = orDefault(s.WriteTimeout, time.Duration(s.Timeout))
	return nil
}

// redisText is a setting that may hold placeholders.
type redisText struct {
	name  string
	value *string
}

func (s *RedisStore) texts() []redisText {
	texts := []redisText{
		{"address", &s.Address},
		{"username", &s.Username},
		{"password", &s.Password},
		{"key_prefix", &s.KeyPrefix},
	}
	if s.Sentinel != nil {
		texts = append(texts,
			redisText{"sentinel", &s.Sentinel.Master},
			redisText{"sentinel_username", &s.Sentinel.Username},
			redisText{"sentinel_password", &s.Sentinel.Password})
		for i := range s.Sentinel.Addresses {
			texts = append(texts, redisText{"sentinel", &s.Sentinel.Addresses[i]})
		}
	}
	for i := range s.Cluster {
		texts = append(texts, redisText{"cluster", &s.Cluster[i]})
	}
	if s.TLS != nil {
		texts = append(texts,
			redisText{"tls: ca", &s.TLS.CA},
			redisText{"tls: certificate", &s.TLS.Certificate},
			redisText{"tls: key", &s.TLS.Key},
			redisText{"tls: server_name", &s.TLS.ServerName})
	}
	return texts
}

func orDefault(d caddy.Duration, def time.Duration) caddy.Duration {
	if d == 0 {
		return caddy.Duration(def)
	}
	return d
}

// placeholderName is what the name of a placeholder looks like. Braces may also
// be a part of a password, of which no error is to show anything.
var placeholderName = regexp.MustCompile(`^[a-z_]+\.[\w./:\\ -]+$`)

// replaceSecret replaces the placeholders in value. An unset one is an error
// that names it: a password that is empty by accident is a login as anybody, or
// a puzzle.
func replaceSecret(repl *caddy.Replacer, value string) (string, error) {
	return repl.ReplaceFunc(value, func(name string, found any) (any, error) {
		if caddy.ToString(found) != "" {
			return found, nil
		}
		if !placeholderName.MatchString(name) {
			return nil, errors.New(`a placeholder is unknown; a brace that is meant is written \{`)
		}
		return nil, fmt.Errorf("placeholder {%s} is unset, empty or unknown", name)
	})
}

// poolKeySecret makes pool keys useless outside this process: they are a MAC of
// the settings, passwords among them, which may be weak.
var poolKeySecret = sync.OnceValue(func() []byte {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails: crypto/rand
	return secret
})

// PoolKey names the store by all its settings, under HMAC-SHA-256, and by what
// is in the files of TLS: a reload after a password or a certificate was renewed
// makes a new client. Who uses the old one goes on using it until it is given back.
func (s *RedisStore) PoolKey() string {
	if s.poolKey != "" {
		return s.poolKey
	}
	settings, err := json.Marshal(s)
	if err != nil {
		settings = fmt.Appendf(nil, "%p", s) // a struct of strings and numbers: cannot happen
	}
	mac := hmac.New(sha256.New, poolKeySecret())
	mac.Write(settings)
	if s.TLS != nil {
		for _, name := range []string{s.TLS.CA, s.TLS.Certificate, s.TLS.Key} {
			content, _ := os.ReadFile(name) // one that cannot be read fails Open
			digest := sha256.Sum256(content)
			mac.Write(digest[:])
		}
	}
	s.poolKey = "redis:" + hex.EncodeToString(mac.Sum(nil))
	return s.poolKey
}

// Interface guards.
var (
	_ caddy.Module          = (*RedisStore)(nil)
	_ caddy.Provisioner     = (*RedisStore)(nil)
	_ caddy.Validator       = (*RedisStore)(nil)
	_ caddyfile.Unmarshaler = (*RedisStore)(nil)
	_ session.StoreModule   = (*RedisStore)(nil)
)
