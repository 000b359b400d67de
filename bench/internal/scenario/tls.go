package scenario

import (
	"context"
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
	"time"

	"github.com/wscluster/wscluster/pkg/bench"
)

// TLS is the room of 2,000 with one message outstanding, once plain and once with TLS on the gateway.
func TLS() []Scenario {
	list := []Scenario{}
	for _, secure := range []bool{false, true} {
		metric := map[bool]string{false: "plain", true: "TLS"}[secure]
		list = append(list, Scenario{
			Name: "tls", Title: "TLS on the gateway, 1 outstanding", Fits: ours, Metric: metric,
			Prepare: func(ctx context.Context, e *Env) (Session, error) { return e.overTLS(ctx, secure) },
		})
	}
	return list
}

func (e *Env) overTLS(ctx context.Context, secure bool) (Session, error) {
	var flags []string
	var roots *x509.CertPool
	if secure {
		dir, err := os.MkdirTemp("", "bench-tls-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir) // the gateway has read them by the time that clients are connected
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		if roots, err = writeCertificate(cert, key); err != nil {
			return nil, err
		}
		flags = []string{"--tls-cert-file=" + cert, "--tls-key-file=" + key}
	}
	d, err := e.deploy(1, false, flags...)
	if err != nil {
		return nil, err
	}
	o := e.options(d.Cluster)
	if secure {
		o.URLs = []string{strings.Replace(d.URLs[0], "ws://", "wss://", 1)}
		o.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	}
	o.Publishers, o.Subscribers = 1, e.size(2000, 50)-1
	return e.load(ctx, d, o, func(ctx context.Context, s *loaded) ([]Value, error) {
		return s.perDelivery(ctx, bench.Load{Outstanding: 1, Duration: s.duration(time.Second)})
	})
}

// writeCertificate makes a certificate for 127.0.0.1 that signs itself, and returns the pool that trusts it.
func writeCertificate(certFile, keyFile string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, certPEM, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool, nil
}
