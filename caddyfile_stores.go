// This file reads the stores' blocks of a Caddyfile. It parses and refuses; what
// the settings do is in the files of the stores.

package caddylogout

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile reads the embedded store's settings:
//
//	embedded [<file>] {
//		file <file>
//	}
func (s *EmbeddedStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the store
	if d.NextArg() {
		if s.File = d.Val(); s.File == "" {
			return d.Err("file: want a path")
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, func(d *caddyfile.Dispenser, option string) error {
		switch {
		case option != "file":
			return d.Errf("unknown option %q of the embedded store: want file", option)
		case s.File != "":
			return givenTwice(d, option)
		}
		return oneArg(d, &s.File)
	})
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

// oneArg reads the one argument of an option, which is not empty. The errors
// here never print it: it may be a password.
func oneArg(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.NextArg() || d.Val() == "" {
		return d.Errf("%s: want a value", option)
	}
	*to = d.Val()
	if d.NextArg() {
		return d.Errf("%s: want one value", option)
	}
	return nil
}

func someArgs(d *caddyfile.Dispenser, to *[]string) error {
	option := d.Val()
	if *to = d.RemainingArgs(); len(*to) == 0 {
		return d.Errf("%s: want at least one value", option)
	}
	return nil
}

func oneNumber(d *caddyfile.Dispenser, least int, to *int) error {
	option := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil || int(number) < least {
		return d.Errf("%s: want a whole number from %d", option, least)
	}
	*to = int(number)
	return nil
}

func oneDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	option := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	duration, err := caddy.ParseDuration(text)
	if err != nil || duration < time.Millisecond {
		return d.Errf("%s: want a duration from 1ms, such as 250ms", option)
	}
	*to = caddy.Duration(duration)
	return nil
}
