package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/auth"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// expiry ends a session whose token ends. Some time before, the client is asked to connect anew, which a client that can get
// a new token does, or answers with an auth command.
type expiry struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// expiryWarning is how long before its token's end a client is told; a third of the time left where that is less.
const expiryWarning = time.Minute

// watch starts over for a token that ends at end.
func (e *expiry) watch(s *session, end time.Time) {
	left := max(0, time.Until(end)) // a token is taken up to auth.Leeway after its end
	warning := min(expiryWarning, left/3)
	e.set(left-warning, func() {
		s.gateway.attendance.exit(s)   // a connection that takes its place counts, until its token is renewed
		delay := rand.N(warning/2 + 1) // clients whose tokens were made together come back one by one
		s.send(func(dst []byte) []byte {
			return protocol.AppendReconnect(dst, protocol.ReconnectTokenExpiring, delay.Milliseconds())
		})
		e.set(time.Until(end.Add(auth.Leeway)), func() {
			s.conn.Close(uint16(protocol.CloseTokenExpired), "the token has expired: connect with a new one", socket.TokenExpired)
		})
	})
}

// set replaces what is due.
func (e *expiry) set(after time.Duration, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(after, f)
}

func (e *expiry) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	if e.timer != nil {
		e.timer.Stop()
	}
}

// setIdentity takes over who the client is and what it may do from now on.
func (s *session) setIdentity(identity *auth.Identity) {
	s.identity.Store(identity)
	if !identity.ExpiresAt.IsZero() {
		s.expiry.watch(s, identity.ExpiresAt)
	}
}

// renew answers an auth command: the new token replaces the old one. Judging it may take a request to the issuer, so it
// happens on a goroutine of its own; a client renews one token at a time.
func (s *session) renew(c *protocol.Command) *protocol.Error {
	if !s.renewing.CompareAndSwap(false, true) {
		return &protocol.Error{Code: protocol.CodeRateLimited, Message: "the last token is still being judged: wait for its ack"}
	}
	id, token := []byte(string(c.ID)), string(c.Token)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), renewTimeout)
		defer cancel()
		identity, err := s.gateway.authenticator.Renew(ctx, *s.identity.Load(), token)
		if err != nil {
			s.renewing.Store(false) // before the answer: who has it may send the next token
			s.fail(id, refusal(err))
			return
		}
		s.setIdentity(&identity)
		if !s.moving.Load() {
			s.gateway.attendance.enter(s)
		}
		s.renewing.Store(false)
		if len(id) > 0 {
			s.send(func(dst []byte) []byte { return protocol.AppendAck(dst, id) })
		}
	}()
	return nil
}

// renewTimeout bounds a request for the issuer's keys.
const renewTimeout = 10 * time.Second
