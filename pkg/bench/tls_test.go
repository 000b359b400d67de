package bench

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/settings"
)

// certificate writes the key and certificate that net/http/httptest has for 127.0.0.1, and returns the pool that trusts it.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return certFile, keyFile, roots
}

func TestARunOverTLS(t *testing.T) {
	certFile, keyFile, roots := certificate(t)
	n := startNode(t, "one", memory.New(), func(s *settings.Settings) { s.TLSCertFile, s.TLSKeyFile = certFile, keyFile })
	o := Options{
		URLs: []string{strings.Replace(n.url, "ws://", "wss://", 1)}, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Publishers: 2, Subscribers: 30, Rooms: 2, PayloadBytes: 20_000, Check: true,
	}
	r, err := Run(t.Context(), o, Load{Outstanding: 8, Duration: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	wantClean(t, r)

	o.TLS = nil
	o.StayClosed = true
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with a certificate that nobody trusts: %v, want the reason", err)
	}
}
