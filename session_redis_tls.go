// This file holds how the Redis store talks TLS.

package caddylogout

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

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

// config returns the settings of crypto/tls, nil for no TLS.
func (t *RedisTLS) config(addr string) (*tls.Config, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // how the library spells "no TLS"
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // asked for by name
	}
	if config.ServerName == "" {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			config.ServerName = host
		}
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
