package node

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
	"strings"
	"testing"
	"time"
)

// authority is a private CA as an installation has one.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{key, cert}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue writes a certificate and its key to dir.
func (a authority) issue(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, dir, name+".crt", "CERTIFICATE", der), writePEM(t, dir, name+".key", "PRIVATE KEY", private)
}

func writePEM(t *testing.T, dir, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// handshake connects to a TLS server with the given settings and returns what
// the client and the server make of it.
func handshake(t *testing.T, server, client *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		served <- tls.Server(conn, server).Handshake()
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		defer conn.Close()
	}
	return err, <-served
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t), newAuthority(t)
	c := Config{TLSClientCA: writePEM(t, dir, "ca.crt", "CERTIFICATE", ours.cert.Raw)}
	c.TLSCert, c.TLSKey = ours.issue(t, dir, "node")
	server, err := c.tlsConfig()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	pair := func(a authority, name string) []tls.Certificate {
		certificate, err := tls.LoadX509KeyPair(a.issue(t, dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{certificate}
	}
	for name, v := range map[string]struct {
		client *tls.Config
		good   bool
	}{
		"ours":           {&tls.Config{RootCAs: roots, Certificates: pair(ours, "client")}, true},
		"no certificate": {&tls.Config{RootCAs: roots}, false},
		"another's":      {&tls.Config{RootCAs: roots, Certificates: pair(others, "stranger")}, false},
		"old TLS":        {&tls.Config{RootCAs: roots, Certificates: pair(ours, "client"), MaxVersion: tls.VersionTLS12}, false},
	} {
		if _, err := handshake(t, server, v.client); (err == nil) != v.good {
			t.Errorf("a client with %s: %v", name, err)
		}
	}
	if err, _ := handshake(t, server, &tls.Config{RootCAs: x509.NewCertPool()}); err == nil {
		t.Error("a client that does not know the authority connected")
	}
	c.TLSClientCA = ""
	if server, err = c.tlsConfig(); err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, server, &tls.Config{RootCAs: roots}); err != nil {
		t.Errorf("where no client certificate is asked for: %v", err)
	}
	c.TLSClientCA = c.TLSKey
	if _, err := c.tlsConfig(); err == nil || !strings.Contains(err.Error(), "tls_client_ca") {
		t.Errorf("a key as authority: %v", err)
	}
}

func TestOnlyLoopbackGoesWithoutTLS(t *testing.T) {
	c := Config{TLSCert: "set"}
	for address, secure := range map[string]bool{
		"127.0.0.1:1": false, "[::1]:1": false, "localhost:1": false, "127.8.8.8:1": false,
		":1": true, "0.0.0.0:1": true, "10.0.0.1:1": true, "example.org:1": true,
	} {
		if c.secure(address) != secure {
			t.Errorf("%s: %v", address, !secure)
		}
	}
}
