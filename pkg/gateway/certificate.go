package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/socket"
)

// certificate is the public port's TLS certificate; a changed file replaces it for connections to come.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
}

// load reads the files that the settings name; on an error the certificate in use stays.
func (c *certificate) load(s settings.Settings) error {
	if s.TLSCertFile == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(s.TLSCertFile, s.TLSKeyFile)
	if err != nil {
		return fmt.Errorf("tls-cert-file %s and tls-key-file %s: %w", s.TLSCertFile, s.TLSKeyFile, err)
	}
	c.current.Store(&pair)
	return nil
}

// listen binds the public port, with TLS where there is a certificate.
func (c *certificate) listen(address string) (net.Listener, error) {
	// The heartbeat finds dead clients, and timeouts those that have not come that far: TCP need not, at four system calls each.
	silent := net.ListenConfig{KeepAlive: -1}
	listener, err := silent.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if c.current.Load() == nil {
		return listener, nil
	}
	return socket.ListenTLS(listener, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}), nil
}
