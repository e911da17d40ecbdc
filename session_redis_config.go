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
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Defaults of the Redis store. The library's own are 5 s and several tries,
// which is an outage of its own for whoever waits for a page.
const (
	defaultRedisAddress   = "127.0.0.1:6379"
	defaultRedisPort      = "6379"
	defaultRedisKeyPrefix = "caddy-logout:"
	defaultRedisDial      = 500 * time.Millisecond
	defaultRedisTimeout   = 250 * time.Millisecond
)

// RedisStore keeps sessions in a Redis server, version 7.0 or newer, which
// several Caddy servers and a login service can share. docs/redis.md describes
// every key. In all settings but the numbers and durations, placeholders are
// replaced at start; one that is unknown or empty is an error that names it.
type RedisStore struct {
	// Address of the server: `host:port`, `host` (port 6379), or
	// `unix/` and the path of a socket. Default: `127.0.0.1:6379`.
	Address string `json:"address,omitempty"`
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
	// DialTimeout is how long a new connection may take, TLS and login
	// included. Default: 500ms.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`
	// ReadTimeout is how long an answer may take. Default: 250ms.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`
	// WriteTimeout is how long sending a command may take. Default: 250ms.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`
	// PoolSize is the largest number of connections. Default: 10 for every CPU.
	PoolSize int `json:"pool_size,omitempty"`
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
	fields := []struct {
		name  string
		value *string
	}{
		{"address", &s.Address},
		{"username", &s.Username},
		{"password", &s.Password},
		{"key_prefix", &s.KeyPrefix},
	}
	if s.TLS != nil {
		fields = append(fields, []struct {
			name  string
			value *string
		}{
			{"tls: ca", &s.TLS.CA},
			{"tls: certificate", &s.TLS.Certificate},
			{"tls: key", &s.TLS.Key},
			{"tls: server_name", &s.TLS.ServerName},
		}...)
	}
	repl := caddy.NewReplacer()
	for _, field := range fields {
		value, err := replaceSecret(repl, *field.value)
		if err != nil {
			return fmt.Errorf("redis store: %s: %w", field.name, err)
		}
		*field.value = value
	}
	if s.Address == "" {
		s.Address = defaultRedisAddress
	}
	if s.KeyPrefix == "" {
		s.KeyPrefix = defaultRedisKeyPrefix
	}
	s.DialTimeout = orDefault(s.DialTimeout, defaultRedisDial)
	s.ReadTimeout = orDefault(s.ReadTimeout, defaultRedisTimeout)
	s.WriteTimeout = orDefault(s.WriteTimeout, defaultRedisTimeout)
	return nil
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

// Validate refuses settings that are wrong or contradict each other.
func (s *RedisStore) Validate() error {
	if strings.ContainsAny(s.KeyPrefix, "{}") {
		return fmt.Errorf("redis store: %w", errRedisKeyPrefix)
	}
	if err := s.checkWhole(); err != nil {
		return fmt.Errorf("redis store: %w", err)
	}
	return nil
}

// errRedisKeyPrefix refuses braces: they would be the hash tag of every key, all
// in one slot of a Cluster, and the keys of a session no longer by their own.
var errRedisKeyPrefix = errors.New("key_prefix: must not contain spaces or braces")

// check is Validate for settings that may still hold placeholders, which are
// let through. Its errors show no setting: a password may be anywhere.
func (s *RedisStore) check() error {
	_, _, err := parseRedisAddress(s.Address)
	switch {
	case err != nil:
		return err
	case s.DB < 0:
		return errors.New("db: want a whole number from 0")
	case strings.ContainsAny(s.KeyPrefix, " \t\r\n") || strings.ContainsAny(withoutPlaceholders(s.KeyPrefix), "{}"):
		return errRedisKeyPrefix
	case s.DialTimeout < 0:
		return errors.New("dial_timeout: must not be negative")
	case s.ReadTimeout < 0:
		return errors.New("read_timeout: must not be negative")
	case s.WriteTimeout < 0:
		return errors.New("write_timeout: must not be negative")
	case s.PoolSize < 0:
		return errors.New("pool_size: must not be negative")
	}
	return s.checkTLS()
}

// checkWhole is check, and what can only be said when all settings are read.
func (s *RedisStore) checkWhole() error {
	if s.Username != "" && s.Password == "" {
		// The library would leave out the name too, and log in as anybody.
		return errors.New("username: needs a password")
	}
	return s.check()
}

func (s *RedisStore) checkTLS() error {
	network, _, _ := parseRedisAddress(s.Address)
	switch {
	case s.TLS == nil:
		return nil
	case network == "unix":
		return errors.New("tls: not on a unix socket")
	case (s.TLS.Certificate == "") != (s.TLS.Key == ""):
		return errors.New("tls: certificate and key go together")
	case s.TLS.InsecureSkipVerify && (s.TLS.CA != "" || s.TLS.ServerName != ""):
		return errors.New("tls: insecure_skip_verify makes ca and server_name void; remove one or the other")
	}
	return nil
}

// withoutPlaceholders cuts out placeholders, which have not been replaced yet.
func withoutPlaceholders(s string) string {
	return placeholderPattern.ReplaceAllString(s, "")
}

var placeholderPattern = regexp.MustCompile(`\{[a-z_]+\.[^{}]+\}`)

// parseRedisAddress splits an address into what net.Dial takes.
func parseRedisAddress(address string) (network, addr string, err error) {
	if address == "" {
		return "tcp", defaultRedisAddress, nil
	}
	if path, ok := strings.CutPrefix(address, "unix/"); ok {
		return unixAddress(path)
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return unixAddress(strings.TrimPrefix(path, "//"))
	}
	if placeholderPattern.MatchString(address) {
		return "tcp", address, nil // checked again when it is replaced
	}
	if strings.Contains(address, "://") || strings.Contains(address, "@") {
		return "", "", errors.New("address: want host:port or unix/path, not a URL; " +
			"username, password, db and tls are settings of their own")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), defaultRedisPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", "", errors.New("address: want host:port or unix/path")
		}
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 ||
		host == "" || strings.ContainsAny(host, " /\\") {
		return "", "", errors.New("address: want host:port or unix/path")
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

func unixAddress(path string) (network, addr string, err error) {
	if path == "" {
		return "", "", errors.New("address: want the path of the socket after unix/")
	}
	return "unix", path, nil
}

// poolKeySecret makes pool keys useless outside this process: they are a MAC of
// the settings, passwords among them, which may be weak.
var poolKeySecret = sync.OnceValue(func() []byte {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails: crypto/rand
	return secret
})

// PoolKey names the store by all its settings, under HMAC-SHA-256.
func (s *RedisStore) PoolKey() string {
	settings, err := json.Marshal(s)
	if err != nil {
		settings = fmt.Appendf(nil, "%p", s) // a struct of strings and numbers: cannot happen
	}
	mac := hmac.New(sha256.New, poolKeySecret())
	mac.Write(settings)
	return "redis:" + hex.EncodeToString(mac.Sum(nil))
}

// Interface guards.
var (
	_ caddy.Module          = (*RedisStore)(nil)
	_ caddy.Provisioner     = (*RedisStore)(nil)
	_ caddy.Validator       = (*RedisStore)(nil)
	_ caddyfile.Unmarshaler = (*RedisStore)(nil)
	_ StoreModule           = (*RedisStore)(nil)
)
