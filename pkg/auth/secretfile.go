package auth

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wscluster/wscluster/pkg/settings"
)

// secretEvery is how old the secret may be when it is used: a changed file takes effect within this time.
const secretEvery = time.Second

// secretFile is a shared secret in a file that may be replaced at any time, as Kubernetes does with mounted Secrets.
type secretFile struct {
	path   string
	now    func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	secret  []byte
	readAt  time.Time
	failing bool
}

func newSecretFile(path string, options Options) (*secretFile, error) {
	secret, err := settings.ReadSecret(path)
	if err != nil {
		return nil, fmt.Errorf("read the secret of tokens: %w", err)
	}
	return &secretFile{path: path, now: options.Now, logger: options.Logger, secret: secret, readAt: options.Now()}, nil
}

// keys reads the file again if the secret is a second old. A file that cannot be read leaves the last secret in force:
// it may be in the middle of being replaced.
func (s *secretFile) keys(context.Context, string, string) ([]jwt.VerificationKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.readAt) >= secretEvery || now.Before(s.readAt) {
		s.readAt = now
		secret, err := settings.ReadSecret(s.path)
		if err == nil {
			s.secret = secret
		} else if !s.failing {
			s.logger.Warn("the secret of tokens cannot be read again; the last one stays in force", "error", err)
		}
		s.failing = err != nil
	}
	return []jwt.VerificationKey{s.secret}, nil
}
