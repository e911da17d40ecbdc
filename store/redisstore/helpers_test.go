package redisstore

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// config says which servers a test wants, and how; the rest is as the module has it.
type config struct {
	Address            string
	Sentinel           *sentinels
	Cluster            []string
	Username, Password string
	DB                 int
	TLS                *certificates
	Timeout            time.Duration
}

type sentinels struct {
	Master             string
	Addresses          []string
	Username, Password string
}

// certificates are files; without any, the server's is not trusted.
type certificates struct{ CA, Certificate, Key string }

// testPrefix is what the names of keys begin with.
const testPrefix = "caddy-logout:"

func (c config) options(now func() time.Time) Options {
	const patience = 250 * time.Millisecond
	o := Options{
		Network: "tcp", Addresses: []string{c.Address}, Username: c.Username, Password: c.Password, DB: c.DB,
		KeyPrefix: testPrefix, Timeout: cmp.Or(c.Timeout, patience), DialTimeout: 2 * patience, Now: now,
		Logger: func(string) *zap.Logger { return zap.NewNop() },
	}
	o.ReadTimeout, o.WriteTimeout = o.Timeout, o.Timeout
	if path, ok := strings.CutPrefix(c.Address, "unix"); ok {
		o.Network, o.Addresses = "unix", []string{"/" + strings.TrimLeft(path, ":/")}
	}
	switch {
	case c.Sentinel != nil:
		o.Addresses = c.Sentinel.Addresses
		o.Sentinel = &Sentinel{Master: c.Sentinel.Master, Username: c.Sentinel.Username, Password: c.Sentinel.Password}
	case c.Cluster != nil:
		o.Addresses, o.Cluster = c.Cluster, true
	}
	if c.TLS != nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.TLS.CA != "" {
			pem, err := os.ReadFile(c.TLS.CA)
			if err != nil {
				panic(err)
			}
			o.TLS.RootCAs = x509.NewCertPool()
			o.TLS.RootCAs.AppendCertsFromPEM(pem)
		}
		if c.TLS.Certificate != "" {
			pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
			if err != nil {
				panic(err)
			}
			o.TLS.Certificates = []tls.Certificate{pair}
		}
	}
	return o
}

// connect opens a store.
func connect(t *testing.T, c config, now func() time.Time) *Store {
	t.Helper()
	return Open(c.options(now))
}
