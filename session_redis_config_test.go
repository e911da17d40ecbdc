package caddylogout

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

func TestRedisPlaceholders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	storetest.NoError(t, os.WriteFile(file, []byte("from-a-file\n"), 0o600))
	empty := filepath.Join(t.TempDir(), "empty")
	storetest.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	t.Setenv("CADDY_LOGOUT_SECRET", "from-the-environment")
	t.Setenv("CADDY_LOGOUT_EMPTY", "")

	cases := []struct{ name, password, want, err string }{
		{"literal", "pass word", "pass word", ""},
		{"none", "", "", ""},
		{"environment", "{env.CADDY_LOGOUT_SECRET}", "from-the-environment", ""},
		{"in the middle", "a{env.CADDY_LOGOUT_SECRET}b", "afrom-the-environmentb", ""},
		{"file", "{file." + file + "}", "from-a-file", ""},
		{"escaped braces", `a\{b\}c`, "a{b}c", ""},
		{"open brace", `a{b`, "a{b", ""},
		{"unset", "{env.CADDY_LOGOUT_UNSET}", "", "password: placeholder {env.CADDY_LOGOUT_UNSET} is unset, empty or unknown"},
		{"empty", "{env.CADDY_LOGOUT_EMPTY}", "", "password: placeholder {env.CADDY_LOGOUT_EMPTY} is unset, empty or unknown"},
		{"half empty", "a{env.CADDY_LOGOUT_EMPTY}", "", "password: placeholder {env.CADDY_LOGOUT_EMPTY} is unset, empty or unknown"},
		{"misspelt", "{evn.SECRET}", "", "password: placeholder {evn.SECRET} is unset, empty or unknown"},
		{"missing file", "{file./no/such-file}", "", "password: placeholder {file./no/such-file} is unset, empty or unknown"},
		{"empty file", "{file." + empty + "}", "", "password: placeholder {file." + empty + "} is unset, empty or unknown"},
		{"braces in a literal", "hun{ter}2", "", `password: a placeholder is unknown; a brace that is meant is written \{`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			store := RedisStore{Password: tc.password}
			err := store.Provision(caddy.Context{})
			if tc.err != "" {
				if err == nil || err.Error() != "redis store: "+tc.err {
					t.Fatalf("%v\nwant %s", err, tc.err)
				}
				return
			}
			storetest.NoError(t, err)
			if store.Password != tc.want {
				t.Errorf("%q, want %q", store.Password, tc.want)
			}
		})
	}

	for name, store := range map[string]RedisStore{
		"address":          {Address: "{env.CADDY_LOGOUT_UNSET}:6379"},
		"username":         {Username: "{env.CADDY_LOGOUT_UNSET}"},
		"key_prefix":       {KeyPrefix: "{env.CADDY_LOGOUT_UNSET}:"},
		"tls: ca":          {TLS: &RedisTLS{CA: "{env.CADDY_LOGOUT_UNSET}"}},
		"tls: certificate": {TLS: &RedisTLS{Certificate: "{env.CADDY_LOGOUT_UNSET}"}},
		"tls: key":         {TLS: &RedisTLS{Key: "{env.CADDY_LOGOUT_UNSET}"}},
		"tls: server_name": {TLS: &RedisTLS{ServerName: "{env.CADDY_LOGOUT_UNSET}"}},
	} {
		want := "redis store: " + name + ": placeholder {env.CADDY_LOGOUT_UNSET} is unset, empty or unknown"
		if err := store.Provision(caddy.Context{}); err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

func TestRedisAddress(t *testing.T) {
	for address, want := range map[string]string{
		"":                   "tcp 127.0.0.1:6379",
		"redis.internal":     "tcp redis.internal:6379",
		"redis.internal:1":   "tcp redis.internal:1",
		"::1":                "tcp [::1]:6379",
		"[::1]":              "tcp [::1]:6379",
		"[::1]:1":            "tcp [::1]:1",
		"unix//run/s.sock":   "unix /run/s.sock",
		"unix:///run/s.sock": "unix /run/s.sock",
		"unix:/run/s.sock":   "unix /run/s.sock",
		"unix/s.sock":        "unix s.sock",
	} {
		network, addr, err := parseRedisAddress(address)
		if err != nil || network+" "+addr != want {
			t.Errorf("%q: %s %s %v, want %s", address, network, addr, err, want)
		}
	}
}

func TestRedisPoolKey(t *testing.T) {
	settings := RedisStore{Address: "h:1", Username: "u", Password: "hunter2"}
	base, same := settings, settings
	if base.PoolKey() != same.PoolKey() {
		t.Error("equal settings have two pool keys")
	}
	for name, change := range map[string]func(*RedisStore){
		"address":     func(s *RedisStore) { s.Address = "h:2" },
		"username":    func(s *RedisStore) { s.Username = "v" },
		"password":    func(s *RedisStore) { s.Password = "hunter3" },
		"db":          func(s *RedisStore) { s.DB = 1 },
		"prefix":      func(s *RedisStore) { s.KeyPrefix = "x" },
		"tls":         func(s *RedisStore) { s.TLS = new(RedisTLS) },
		"ca":          func(s *RedisStore) { s.TLS = &RedisTLS{CA: "x"} },
		"timeout":     func(s *RedisStore) { s.ReadTimeout = 1 },
		"sentinel":    func(s *RedisStore) { s.Sentinel = &RedisSentinel{Master: "m"} },
		"cluster":     func(s *RedisStore) { s.Cluster = []string{"h:1"} },
		"pool":        func(s *RedisStore) { s.PoolSize = 1 },
		"moved field": func(s *RedisStore) { s.Username, s.Password = "uh", "unter2" },
	} {
		other := settings
		change(&other)
		if base.PoolKey() == other.PoolKey() {
			t.Errorf("%s: other settings have the same pool key", name)
		}
	}
	for _, setting := range []string{"hunter2", "h:1"} {
		if strings.Contains(base.PoolKey(), setting) {
			t.Errorf("the pool key shows %q", setting)
		}
	}
}

// writeCertificate makes a certificate of its own authority for 127.0.0.1.
func writeCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	storetest.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, DNSNames: []string{"redis.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	storetest.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	storetest.NoError(t, err)
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	storetest.NoError(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	storetest.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return certificate, key
}

func TestRedisTLSConnects(t *testing.T) {
	certificate, key := writeCertificate(t)
	server := redistest.Start(t)
	port := freeTCPPort(t)
	for _, setting := range [][2]string{
		{"tls-cert-file", certificate}, {"tls-key-file", key}, {"tls-ca-cert-file", certificate}, {"tls-port", port},
	} {
		server.CLI(t, "CONFIG", "SET", setting[0], setting[1])
	}
	address := net.JoinHostPort("127.0.0.1", port)
	cases := []struct {
		name string
		tls  *RedisTLS
		err  string
	}{
		{"with a certificate", &RedisTLS{CA: certificate, Certificate: certificate, Key: key}, ""},
		{"by another name", &RedisTLS{CA: certificate, Certificate: certificate, Key: key, ServerName: "redis.test"}, ""},
		{"unverified", &RedisTLS{InsecureSkipVerify: true, Certificate: certificate, Key: key}, ""},
		{"unknown authority", &RedisTLS{Certificate: certificate, Key: key}, "unknown authority"},
		{"wrong name", &RedisTLS{CA: certificate, Certificate: certificate, Key: key, ServerName: "other.test"}, "other.test"},
		{"no certificate", &RedisTLS{CA: certificate}, "session store unavailable"},
		{"no TLS", nil, "session store unavailable"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			store := openRedis(t, RedisStore{Address: address, TLS: tc.tls, Timeout: caddy.Duration(5 * time.Second), DialTimeout: caddy.Duration(5 * time.Second)}, time.Now)
			defer store.Close()
			err := store.Ping(t.Context())
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%v, want %q", err, tc.err)
			}
		})
	}
}

func freeTCPPort(t *testing.T) string { return strconv.Itoa(redistest.FreePort(t)) }

// TestRedisTLSFiles opens stores with wrong files.
func TestRedisTLSFiles(t *testing.T) {
	certificate, key := writeCertificate(t)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for want, config := range map[string]RedisTLS{
		"tls: ca: open " + missing:          {CA: missing},
		"tls: ca: no certificate in " + key: {CA: key},
		"tls: certificate: open " + missing: {Certificate: missing, Key: key},
		"tls: certificate: tls:":            {Certificate: certificate, Key: certificate},
	} {
		store := RedisStore{TLS: &config}
		storetest.NoError(t, store.Provision(caddy.Context{}))
		storetest.NoError(t, store.Validate())
		if _, err := store.Open(); err == nil || !strings.HasPrefix(err.Error(), "redis store: "+want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
