package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Authority is a certificate authority with one certificate, which serves for
// both sides: for 127.0.0.1 and the name redis.test.
type Authority struct {
	CA          string // PEM file of the authority's certificate
	Certificate string // PEM file of the certificate
	Key         string // PEM file of its private key
	config      *tls.Config
}

// NewAuthority makes an authority in a directory of the test.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	dir := tb.TempDir()
	a := &Authority{
		CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
	}
	ca, caKey := certify(tb, nil, nil)
	writePEM(tb, a.CA, "CERTIFICATE", ca.Raw)
	leaf, leafKey := certify(tb, ca, caKey)
	writePEM(tb, a.Certificate, "CERTIFICATE", leaf.Raw)
	secret, err := x509.MarshalPKCS8PrivateKey(leafKey)
	fatal(tb, err)
	writePEM(tb, a.Key, "PRIVATE KEY", secret)
	pair, err := tls.LoadX509KeyPair(a.Certificate, a.Key)
	fatal(tb, err)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	a.config = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return a
}

// certify makes a certificate signed by parent, or the authority's own if there
// is none.
func certify(tb testing.TB, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(tb, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	fatal(tb, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "redistest " + serial.String()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, signer = template, private
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		template.DNSNames, template.IPAddresses = []string{"redis.test"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	fatal(tb, err)
	certificate, err := x509.ParseCertificate(der)
	fatal(tb, err)
	return certificate, private
}

func writePEM(tb testing.TB, name, kind string, der []byte) {
	tb.Helper()
	fatal(tb, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func fatal(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
}

// Args returns the arguments of a server that talks TLS only, on port, and wants
// a certificate of its clients.
func (a *Authority) Args(port int) []string {
	return []string{
		"--port", "0", "--tls-port", strconv.Itoa(port), "--tls-ca-cert-file", a.CA,
		"--tls-cert-file", a.Certificate, "--tls-key-file", a.Key, "--tls-replication", "yes", "--tls-cluster", "yes",
	}
}

// StartTLS is [Start] with TLS and nothing else.
func StartTLS(tb testing.TB, a *Authority, args ...string) *Server {
	tb.Helper()
	return tryPorts(tb, func(port int) (*Server, error) {
		return start(tb, port, a, append(a.Args(port), args...))
	})
}

// UseCertificates has the server trust another file of authorities, and show
// another certificate, to clients that connect from now on.
func (s *Server) UseCertificates(tb testing.TB, ca, certificate, key string) {
	tb.Helper()
	s.CLI(tb, "CONFIG", "SET",
		"tls-ca-cert-file", ca, "tls-cert-file", certificate, "tls-key-file", key)
}

// Trust has CLI trust another authority, and show its certificate.
func (s *Server) Trust(a *Authority) { s.tls = a }
