// This file refuses settings of the Redis store that are wrong or contradict
// each other, and reads addresses.

package caddylogout

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

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

// checkTopology refuses what no client could be made for.
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

// checkWhole is check, and what can only be said when all settings are read.
func (s *RedisStore) checkWhole() error {
	switch {
	case s.Username != "" && s.Password == "":
		// The library would leave out the name too, and log in as anybody.
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
