package caddylogout

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// unmarshalStore reads a store's segment and returns its JSON, or the error.
func unmarshalStore(t *testing.T, module caddyfile.Unmarshaler, text string) string {
	t.Helper()
	if err := module.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		return err.Error()
	}
	out, err := json.Marshal(module)
	storetest.NoError(t, err)
	return string(out)
}

func TestEmbeddedCaddyfile(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"bare", "embedded", `{}`},
		{"empty block", "embedded {\n}", `{}`},
		{"file as argument", "embedded /var/lib/s.db", `{"file":"/var/lib/s.db"}`},
		{"file in the block", "embedded {\n\tfile {env.DIR}/s.db\n}", `{"file":"{env.DIR}/s.db"}`},
		{"file twice", "embedded a.db {\n\tfile b.db\n}", "file is given twice, at Testfile:2"},
		{"file twice in the block", "embedded {\n\tfile a.db\n\tfile b.db\n}", "file is given twice, at Testfile:3"},
		{"two arguments", "embedded a.db b.db", "wrong argument count or unexpected line ending after 'b.db', at Testfile:1"},
		{"empty argument", `embedded ""`, "file: want a path, at Testfile:1"},
		{"no value", "embedded {\n\tfile\n}", "file: want a value, at Testfile:2"},
		{"two values", "embedded {\n\tfile a b\n}", "file: want one value, at Testfile:2"},
		{
			"unknown option", "embedded {\n\n\tfolder /x\n}",
			`unknown option "folder" of the embedded store: want file, at Testfile:3`,
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := unmarshalStore(t, new(EmbeddedStore), tc.text); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestRedisCaddyfile(t *testing.T) {
	const wantAddress = "address: want host:port or unix/path, at Testfile:1"
	const wantNoURL = "address: want host:port or unix/path, not a URL; " +
		"username, password, db and tls are settings of their own, at Testfile:1"
	cases := []struct{ name, text, want string }{
		{"bare", "redis", `{}`},
		{"address", "redis redis.internal:6380", `{"address":"redis.internal:6380"}`},
		{"address without a port", "redis redis.internal", `{"address":"redis.internal"}`},
		{"IPv6", "redis [::1]:6379", `{"address":"[::1]:6379"}`},
		{"bare IPv6", "redis ::1", `{"address":"::1"}`},
		{"socket", "redis unix//run/redis.sock", `{"address":"unix//run/redis.sock"}`},
		{"socket as a URL", "redis unix:///run/redis.sock", `{"address":"unix:///run/redis.sock"}`},
		{"placeholder", "redis {env.REDIS}:6379", `{"address":"{env.REDIS}:6379"}`},
		{
			"everything", `redis {
				address redis.internal:6380
				username caddy
				password {file./run/secrets/redis}
				db 3
				key_prefix shop:
				tls {
					ca ca.pem
					certificate cert.pem
					key key.pem
					server_name redis
				}
				dial_timeout 1s
				read_timeout 100ms
				write_timeout 150ms
				pool_size 7
			}`,
			`{"address":"redis.internal:6380","username":"caddy","password":"{file./run/secrets/redis}","db":3,` +
				`"key_prefix":"shop:","tls":{"ca":"ca.pem","certificate":"cert.pem","key":"key.pem","server_name":"redis"},` +
				`"dial_timeout":1000000000,"read_timeout":100000000,"write_timeout":150000000,"pool_size":7}`,
		},
		{
			"sentinel", "redis {\n\tsentinel main a b:1\n\tsentinel_username u\n\tsentinel_password p\n}",
			`{"sentinel":{"master":"main","addresses":["a","b:1"],"username":"u","password":"p"}}`,
		},
		{
			"sentinel in another order", "redis {\n\tsentinel_password p\n\tsentinel main a\n}",
			`{"sentinel":{"master":"main","addresses":["a"],"password":"p"}}`,
		},
		{"cluster", "redis {\n\tcluster a b:1 [::1]:2\n}", `{"cluster":["a","b:1","[::1]:2"]}`},
		{"cluster with a placeholder", "redis {\n\tcluster {env.NODE}\n}", `{"cluster":["{env.NODE}"]}`},
		{"timeout", "redis {\n\ttimeout 1s\n\tread_timeout 1s\n}", `{"timeout":1000000000,"read_timeout":1000000000}`},
		{"bare tls", "redis {\n\ttls\n\tdb 1\n}", `{"db":1,"tls":{}}`},
		{"unverified tls", "redis {\n\ttls {\n\t\tinsecure_skip_verify\n\t}\n}", `{"tls":{"insecure_skip_verify":true}}`},
		{"username after password", "redis {\n\tpassword x\n\tusername y\n}", `{"username":"y","password":"x"}`},
		{"prefix with a placeholder", "redis {\n\tkey_prefix {env.APP}:\n}", `{"key_prefix":"{env.APP}:"}`},

		{"URL", "redis redis://u:hunter2@h:1/0", wantNoURL},
		{"user in the address", "redis hunter2@h:1", wantNoURL},
		{"port 0", "redis h:0", wantAddress},
		{"port too high", "redis h:65536", wantAddress},
		{"no host", "redis :6379", wantAddress},
		{"two colons", "redis a:b:c", wantAddress},
		{"path", "redis /run/redis.sock", wantAddress},
		{"empty address", `redis ""`, wantAddress},
		{"empty socket", "redis unix/", "address: want the path of the socket after unix/, at Testfile:1"},
		{"two addresses", "redis a b", "wrong argument count or unexpected line ending after 'b', at Testfile:1"},
		{"address again", "redis a {\n\taddress b\n}", "address is given twice, at Testfile:2"},
		{"password twice", "redis {\n\tpassword a\n\tpassword b\n}", "password is given twice, at Testfile:3"},
		{"no password", "redis {\n\tpassword\n}", "password: want a value, at Testfile:2"},
		{"empty password", "redis {\n\tpassword \"\"\n}", "password: want a value, at Testfile:2"},
		{"password of two words", "redis {\n\tpassword hunter2 hunter3\n}", "password: want one value, at Testfile:2"},
		{"username without password", "redis {\n\tusername a\n}", "username: needs a password, at Testfile:3"},
		{"db not a number", "redis {\n\tdb one\n}", "db: want a whole number from 0, at Testfile:2"},
		{"db negative", "redis {\n\tdb -1\n}", "db: want a whole number from 0, at Testfile:2"},
		{"db too large", "redis {\n\tdb 99999999999\n}", "db: want a whole number from 0, at Testfile:2"},
		{"prefix with braces", "redis {\n\tkey_prefix {x}\n}", "key_prefix: must not contain spaces or braces, at Testfile:2"},
		{"prefix with a space", "redis {\n\tkey_prefix \"a b\"\n}", "key_prefix: must not contain spaces or braces, at Testfile:2"},
		{"pool of none", "redis {\n\tpool_size 0\n}", "pool_size: want a whole number from 1, at Testfile:2"},
		{
			"address and sentinel", "redis a {\n\tsentinel main b\n}",
			"address: not together with sentinel, which knows where the server is, at Testfile:2",
		},
		{
			"sentinel and address", "redis {\n\tsentinel main b\n\taddress a\n}",
			"address: not together with sentinel, which knows where the server is, at Testfile:3",
		},
		{
			"address and cluster", "redis a {\n\tcluster b c\n}",
			"address: not together with cluster, which has several, at Testfile:2",
		},
		{
			"sentinel and cluster", "redis {\n\tsentinel main b\n\tcluster b c\n}",
			"sentinel: not together with cluster, which needs none, at Testfile:3",
		},
		{
			"cluster and db", "redis {\n\tcluster b c\n\tdb 1\n}",
			"db: a cluster has number 0 only, at Testfile:3",
		},
		{"cluster on a socket", "redis {\n\tcluster unix//run/s\n}", "cluster: want host:port, at Testfile:2"},
		{"cluster of none", "redis {\n\tcluster\n}", "cluster: want at least one value, at Testfile:2"},
		{
			"cluster of URLs", "redis {\n\tcluster redis://:hunter2@a\n}",
			"cluster: want host:port, not a URL; username, password, db and tls are settings of their own, at Testfile:2",
		},
		{
			"sentinel without addresses", "redis {\n\tsentinel main\n}",
			"sentinel: want the name of the master and at least one address, at Testfile:2",
		},
		{"sentinel at a bad port", "redis {\n\tsentinel main a:0\n}", "sentinel: want host:port, at Testfile:2"},
		{"sentinel twice", "redis {\n\tsentinel main a\n\tsentinel main b\n}", "sentinel is given twice, at Testfile:3"},
		{
			"password of no sentinel", "redis {\n\tsentinel_password p\n}",
			"sentinel: want the name of the master and at least one address, at Testfile:3",
		},
		{
			"sentinel user without password", "redis {\n\tsentinel main a\n\tsentinel_username u\n}",
			"sentinel_username: needs sentinel_password, at Testfile:4",
		},
		{
			"read_timeout beyond timeout", "redis {\n\ttimeout 100ms\n\tread_timeout 200ms\n}",
			"read_timeout: longer than timeout, and so without effect, at Testfile:4",
		},
		{
			"write_timeout beyond timeout", "redis {\n\twrite_timeout 200ms\n\ttimeout 100ms\n}",
			"write_timeout: longer than timeout, and so without effect, at Testfile:4",
		},
		{
			"no duration", "redis {\n\tdial_timeout soon\n}",
			"dial_timeout: want a duration from 1ms, such as 250ms, at Testfile:2",
		},
		{
			"duration of none", "redis {\n\tread_timeout 0\n}",
			"read_timeout: want a duration from 1ms, such as 250ms, at Testfile:2",
		},
		{
			"negative duration", "redis {\n\twrite_timeout -1s\n}",
			"write_timeout: want a duration from 1ms, such as 250ms, at Testfile:2",
		},
		{"tls on a socket", "redis unix//s {\n\tdb 1\n\ttls\n}", "tls: not on a unix socket, at Testfile:3"},
		{"tls on a socket, other order", "redis {\n\ttls\n\taddress unix//s\n}", "tls: not on a unix socket, at Testfile:3"},
		{"tls with an argument", "redis {\n\ttls on\n}", "wrong argument count or unexpected line ending after 'on', at Testfile:2"},
		{
			"certificate without key", "redis {\n\ttls {\n\t\tcertificate c\n\t}\n}",
			"tls: certificate and key go together, at Testfile:4",
		},
		{
			"unverified and verified", "redis {\n\ttls {\n\t\tca c\n\t\tinsecure_skip_verify\n\t}\n}",
			"tls: insecure_skip_verify makes ca and server_name void; remove one or the other, at Testfile:5",
		},
		{
			"unverified with an argument", "redis {\n\ttls {\n\t\tinsecure_skip_verify yes\n\t}\n}",
			"wrong argument count or unexpected line ending after 'yes', at Testfile:3",
		},
		{"ca twice", "redis {\n\ttls {\n\t\tca a\n\t\tca b\n\t}\n}", "ca is given twice, at Testfile:4"},
		{
			"unknown option of tls", "redis {\n\ttls {\n\t\tversion 1.3\n\t}\n}",
			`unknown option "version" of tls: want ca, certificate, key, server_name or insecure_skip_verify, at Testfile:3`,
		},
		{
			"unknown option", "redis {\n\tdb 1\n\thost a\n}",
			`unknown option "host" of the redis store: want address, sentinel, sentinel_username, ` +
				`sentinel_password, cluster, username, password, db, key_prefix, tls, timeout, dial_timeout, ` +
				`read_timeout, write_timeout or pool_size, at Testfile:3`,
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := unmarshalStore(t, new(RedisStore), tc.text); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestStoreJSON refuses in JSON what the Caddyfile refuses at adapt time.
func TestStoreJSON(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"nothing", `{}`, ""},
		{"address", `{"address":"redis://h"}`, "redis store: address: want host:port or unix/path, not a URL; username, password, db and tls are settings of their own"},
		{"db", `{"db":-1}`, "redis store: db: want a whole number from 0"},
		{"prefix", `{"key_prefix":"a b"}`, "redis store: key_prefix: must not contain spaces or braces"},
		{"prefix with braces", `{"key_prefix":"\\{a.b\\}"}`, "redis store: key_prefix: must not contain spaces or braces"},
		{"dial timeout", `{"dial_timeout":-1}`, "redis store: dial_timeout: must not be negative"},
		{"read timeout", `{"read_timeout":-1}`, "redis store: read_timeout: must not be negative"},
		{"write timeout", `{"write_timeout":"-1s"}`, "redis store: write_timeout: must not be negative"},
		{"pool size", `{"pool_size":-1}`, "redis store: pool_size: must not be negative"},
		{"username", `{"username":"a"}`, "redis store: username: needs a password"},
		{"tls on a socket", `{"address":"unix//s","tls":{}}`, "redis store: tls: not on a unix socket"},
		{"key without certificate", `{"tls":{"key":"k"}}`, "redis store: tls: certificate and key go together"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var store RedisStore
			storetest.NoError(t, json.Unmarshal([]byte(tc.text), &store))
			storetest.NoError(t, store.Provision(caddy.Context{}))
			got := ""
			if err := store.Validate(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}
