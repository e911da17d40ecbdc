package caddylogout

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/redisstore"
)

// Defaults of the Redis store. The library's own are 5 s and several attempts: too
// long for a person who waits for a page.
const (
	defaultRedisAddress   = "127.0.0.1:6379"
	defaultRedisPort      = "6379"
	defaultRedisKeyPrefix = "caddy-logout:"
	defaultSentinelPort   = "26379"
	defaultRedisDial      = 500 * time.Millisecond
	defaultRedisTimeout   = 250 * time.Millisecond
)

// RedisStore keeps sessions in Redis, version 7.0 or newer, which several Caddy
// servers and a login service can share: one server, one that Sentinel watches over,
// or a Cluster. Reads go to masters only, as a replica may lag behind a revocation.
// docs/redis.md describes every key. In all settings but the numbers and durations,
// placeholders are replaced at start; one that is unknown or empty is an error that
// names it.
type RedisStore struct {
	// Address of the server: `host:port`, `host` (port 6379), or
	// `unix/` and the path of a socket. Default: `127.0.0.1:6379`. Not together
	// with Sentinel or Cluster.
	Address string `json:"address,omitempty"`
	// Sentinel gets the address of the master from Redis Sentinel. Default: none.
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
	// KeyPrefix is the beginning of the names of all keys. Default: `caddy-logout:`.
	KeyPrefix string `json:"key_prefix,omitempty"`
	// TLS turns on TLS. Default: none.
	TLS *RedisTLS `json:"tls,omitempty"`
	// Timeout is how long one operation of the store may take in all: waiting for a
	// connection, making one, sending, the response, and another attempt. Past it,
	// the store is unavailable. Default: 250ms, or ReadTimeout or WriteTimeout if one
	// of them is longer.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// DialTimeout is how long a new connection may take, TLS included. It may be
	// longer than Timeout: a connection that comes late is kept for the next.
	// Default: 500ms.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`
	// ReadTimeout is how long a response may take, at most Timeout. Default: Timeout.
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
	// InsecureSkipVerify accepts any certificate: an attacker on the network can read
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

// Provision replaces placeholders and sets defaults. It does not contact the server.
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

// placeholderName matches the name of a placeholder. Braces may also be a part of a
// password, which no error may show.
var placeholderName = regexp.MustCompile(`^[a-z_]+\.[\w./:\\ -]+$`)

// replaceSecret replaces the placeholders in value. An unset one is an error that
// names it: with an empty password the server would refuse the login, or accept it as
// the default user.
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

// PoolKey names the store by all its settings, under HMAC-SHA-256, and by the
// contents of the files of TLS: a reload after a change of a password or a
// certificate makes a new client. Former configurations use the old one until they
// give it back.
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

// Remote implements [session.Remote].
func (*RedisStore) Remote() {}

// Place implements [session.Located].
func (s *RedisStore) Place() []session.Setting {
	var master, sentinels string
	if s.Sentinel != nil {
		master, sentinels = s.Sentinel.Master, strings.Join(s.Sentinel.Addresses, " ")
	}
	return []session.Setting{
		{Option: "address", Value: s.Address},
		{Option: "sentinel", Value: master},
		{Option: "sentinel", Value: sentinels, Ways: true},
		{Option: "cluster", Value: strings.Join(s.Cluster, " "), Ways: true},
		{Option: "db", Value: strconv.Itoa(s.DB)},
		{Option: "key_prefix", Value: s.KeyPrefix},
	}
}

// Open makes the client. It does not wait for the server: a Caddy that starts while
// Redis is unavailable serves requests that need no session.
func (s *RedisStore) Open() (session.Store, error) {
	options, err := s.options()
	if err != nil {
		return nil, fmt.Errorf("redis store: %w", err)
	}
	return redisstore.Open(options), nil
}

// options returns what the client needs.
func (s *RedisStore) options() (redisstore.Options, error) {
	config, err := s.TLS.config()
	if err != nil {
		return redisstore.Options{}, err
	}
	o := redisstore.Options{
		Username: s.Username, Password: s.Password, DB: s.DB, TLS: config, KeyPrefix: s.KeyPrefix,
		Timeout: time.Duration(s.Timeout), DialTimeout: time.Duration(s.DialTimeout),
		ReadTimeout: time.Duration(s.ReadTimeout), WriteTimeout: time.Duration(s.WriteTimeout),
		PoolSize: s.PoolSize, Cluster: len(s.Cluster) > 0,
		Now:     time.Now,
		Logger:  func(name string) *zap.Logger { return caddy.Log().Named("sessions." + name) },
		Breaker: telemetry.Meters.Breaker,
	}
	nodes, defaultPort := s.Cluster, defaultRedisPort
	if s.Sentinel != nil {
		o.Sentinel = &redisstore.Sentinel{Master: s.Sentinel.Master, Username: s.Sentinel.Username, Password: s.Sentinel.Password}
		nodes, defaultPort = s.Sentinel.Addresses, defaultSentinelPort
	}
	for _, address := range nodes {
		addr, err := parseNode(address, defaultPort)
		if err != nil {
			return redisstore.Options{}, err
		}
		o.Addresses = append(o.Addresses, addr)
	}
	if len(nodes) == 0 {
		network, addr, err := parseRedisAddress(s.Address)
		if err != nil {
			return redisstore.Options{}, err
		}
		o.Network, o.Addresses = network, []string{addr}
	}
	return o, nil
}

// config returns the settings of crypto/tls, nil for no TLS.
func (t *RedisTLS) config() (*tls.Config, error) {
	if t == nil {
		return nil, nil // how the library spells "no TLS"
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,         // if empty, the host of each address
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // an explicit option
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

// check is Validate for settings that may still hold placeholders, which it accepts.
// Its errors show no setting: a password may be anywhere.
func (s *RedisStore) check() error {
	switch {
	case s.DB < 0:
		return errors.New("db: want a whole number from 0")
	case strings.ContainsAny(s.KeyPrefix, " \t\r\n") || strings.ContainsAny(withoutPlaceholders(s.KeyPrefix), "{}"):
		return errRedisKeyPrefix
	case s.PoolSize < 0:
		return errors.New("pool_size: must not be negative")
	}
	for _, d := range []struct {
		name  string
		value caddy.Duration
	}{
		{"timeout", s.Timeout},
		{"dial_timeout", s.DialTimeout},
		{"read_timeout", s.ReadTimeout},
		{"write_timeout", s.WriteTimeout},
	} {
		if d.value < 0 {
			return fmt.Errorf("%s: must not be negative", d.name)
		}
	}
	if err := s.checkTopology(); err != nil {
		return err
	}
	return s.checkTLS()
}

// checkTopology refuses settings for which there is no client.
func (s *RedisStore) checkTopology() error {
	switch {
	case s.Address != "" && s.Sentinel != nil && len(s.Sentinel.Addresses) > 0:
		return errors.New("address: not together with sentinel, which knows where the server is")
	case s.Address != "" && len(s.Cluster) > 0:
		return errors.New("address: not together with cluster, which has several")
	case s.Sentinel != nil && len(s.Cluster) > 0:
		return errors.New("sentinel: not together with cluster, which needs none")
	case s.DB != 0 && len(s.Cluster) > 0:
		return errors.New("db: a cluster has number 0 only")
	}
	if _, _, err := parseRedisAddress(s.Address); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	for _, address := range s.Cluster {
		if _, err := parseNode(address, defaultRedisPort); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	if s.Sentinel != nil {
		for _, address := range s.Sentinel.Addresses {
			if _, err := parseNode(address, defaultSentinelPort); err != nil {
				return fmt.Errorf("sentinel: %w", err)
			}
		}
	}
	return nil
}

// checkWhole is check, with the checks that need all settings.
func (s *RedisStore) checkWhole() error {
	switch {
	case s.Username != "" && s.Password == "":
		// The library would leave out the name too, and log in as the default user.
		return errors.New("username: needs a password")
	case s.Timeout != 0 && s.ReadTimeout > s.Timeout:
		return errors.New("read_timeout: longer than timeout, and so without effect")
	case s.Timeout != 0 && s.WriteTimeout > s.Timeout:
		return errors.New("write_timeout: longer than timeout, and so without effect")
	}
	if sentinel := s.Sentinel; sentinel != nil {
		switch {
		case sentinel.Master == "" || len(sentinel.Addresses) == 0:
			return errors.New("sentinel: want the name of the master and at least one address")
		case sentinel.Username != "" && sentinel.Password == "":
			return errors.New("sentinel_username: needs sentinel_password")
		}
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

// withoutPlaceholders cuts out placeholders that are not replaced yet.
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
	addr, err = parseNode(address, defaultRedisPort)
	if err != nil {
		return "", "", errors.New(strings.Replace(err.Error(), "host:port", "host:port or unix/path", 1))
	}
	return "tcp", addr, nil
}

var errNode = errors.New("want host:port")

// parseNode completes the address of a server on the network.
func parseNode(address, defaultPort string) (string, error) {
	if placeholderPattern.MatchString(address) {
		return address, nil // checked again when it is replaced
	}
	if strings.Contains(address, "://") || strings.Contains(address, "@") {
		return "", errors.New("want host:port, not a URL; " +
			"username, password, db and tls are settings of their own")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), defaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", errNode
		}
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 ||
		host == "" || strings.ContainsAny(host, " /\\") {
		return "", errNode
	}
	return net.JoinHostPort(host, port), nil
}

func unixAddress(path string) (network, addr string, err error) {
	if path == "" {
		return "", "", errors.New("want the path of the socket after unix/")
	}
	return "unix", path, nil
}

// UnmarshalCaddyfile reads the Redis store's settings; all are optional, and a
// bare `tls` is TLS with the system's certificate authorities:
//
//	redis [<address>] {
//		address           <host>[:<port>] | unix/<path>
//		sentinel          <master> <host>[:<port>]…
//		sentinel_username <name>
//		sentinel_password <password>
//		cluster           <host>[:<port>]…
//		username          <name>
//		password          <password>
//		db                <number>
//		key_prefix        <prefix>
//		tls {
//			ca                   <file>
//			certificate          <file>
//			key                  <file>
//			server_name          <name>
//			insecure_skip_verify
//		}
//		timeout           <duration>
//		dial_timeout      <duration>
//		read_timeout      <duration>
//		write_timeout     <duration>
//		pool_size         <number>
//	}
func (s *RedisStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the store
	if d.NextArg() {
		if s.Address = d.Val(); s.Address == "" {
			return d.Err("address: want host:port or unix/path")
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	err := eachOption(d, func(d *caddyfile.Dispenser, option string) error {
		if option == "address" && s.Address != "" {
			return givenTwice(d, option)
		}
		if err := s.unmarshalOption(d, option); err != nil {
			return err
		}
		// Each line by itself first, so that the error is about that line.
		if err := s.check(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.checkWhole(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (s *RedisStore) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "address":
		return oneArg(d, &s.Address)
	case "sentinel":
		return s.sentinel().unmarshal(d)
	case "sentinel_username":
		return oneArg(d, &s.sentinel().Username)
	case "sentinel_password":
		return oneArg(d, &s.sentinel().Password)
	case "cluster":
		return someArgs(d, &s.Cluster)
	case "username":
		return oneArg(d, &s.Username)
	case "password":
		return oneArg(d, &s.Password)
	case "db":
		return oneNumber(d, 0, &s.DB)
	case "key_prefix":
		return oneArg(d, &s.KeyPrefix)
	case "tls":
		s.TLS = new(RedisTLS)
		return s.TLS.unmarshal(d)
	case "timeout":
		return oneDuration(d, &s.Timeout)
	case "dial_timeout":
		return oneDuration(d, &s.DialTimeout)
	case "read_timeout":
		return oneDuration(d, &s.ReadTimeout)
	case "write_timeout":
		return oneDuration(d, &s.WriteTimeout)
	case "pool_size":
		return oneNumber(d, 1, &s.PoolSize)
	default:
		return d.Errf("unknown option %q of the redis store: want address, sentinel, sentinel_username, "+
			"sentinel_password, cluster, username, password, db, key_prefix, tls, timeout, dial_timeout, "+
			"read_timeout, write_timeout or pool_size", option)
	}
}

// sentinel returns the settings of Sentinel, of which any line may come first.
func (s *RedisStore) sentinel() *RedisSentinel {
	if s.Sentinel == nil {
		s.Sentinel = new(RedisSentinel)
	}
	return s.Sentinel
}

func (r *RedisSentinel) unmarshal(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() == "" {
		return d.Err("sentinel: want the name of the master and at least one address")
	}
	r.Master = d.Val()
	if r.Addresses = d.RemainingArgs(); len(r.Addresses) == 0 {
		return d.Err("sentinel: want the name of the master and at least one address")
	}
	return nil
}

func (t *RedisTLS) unmarshal(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, func(d *caddyfile.Dispenser, option string) error {
		switch option {
		case "ca":
			return oneArg(d, &t.CA)
		case "certificate":
			return oneArg(d, &t.Certificate)
		case "key":
			return oneArg(d, &t.Key)
		case "server_name":
			return oneArg(d, &t.ServerName)
		case "insecure_skip_verify":
			t.InsecureSkipVerify = true
			if d.NextArg() {
				return d.ArgErr()
			}
			return nil
		default:
			return d.Errf("unknown option %q of tls: want ca, certificate, key, server_name or insecure_skip_verify", option)
		}
	})
}

// Interface guards.
var (
	_ caddy.Module          = (*RedisStore)(nil)
	_ caddy.Provisioner     = (*RedisStore)(nil)
	_ caddy.Validator       = (*RedisStore)(nil)
	_ caddyfile.Unmarshaler = (*RedisStore)(nil)
	_ session.StoreModule   = (*RedisStore)(nil)
	_ session.Located       = (*RedisStore)(nil)
	_ session.Remote        = (*RedisStore)(nil)
)
