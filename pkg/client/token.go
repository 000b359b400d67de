package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// ErrTokenRefused ends the client: a gateway refused the token, and the token source has no other.
var ErrTokenRefused = errors.New("the token was refused")

// renewTimeout bounds one call of the token source.
const renewTimeout = 30 * time.Second

// expiryMargin: a token that ends within it is not used for a new connection.
const expiryMargin = 10 * time.Second

// tokens keeps the token in use. Its mutex is held over a call of the source, so that there is one at a time; it is never
// locked while Client.mu is held.
type tokens struct {
	mu      sync.Mutex
	token   string
	ends    time.Time // zero: not known
	refused string    // what a gateway refused last
}

// currentToken returns the token to connect with, asking the source if there is none or it has ended.
func (c *Client) currentToken(ctx context.Context) (string, error) {
	if c.options.Token == nil {
		return "", nil
	}
	t := &c.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && (t.ends.IsZero() || time.Until(t.ends) > expiryMargin) {
		return t.token, nil
	}
	return c.freshToken(ctx)
}

// freshToken asks the source. Called with tokens.mu held.
func (c *Client) freshToken(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	token, err := c.options.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("no token: %w", err)
	}
	t := &c.tokens
	if token == t.refused && token != "" {
		return "", fmt.Errorf("%w: the token source returned it again", ErrTokenRefused)
	}
	t.token, t.ends = token, time.Time{}
	return token, nil
}

// tokenTaken notes when the token in use ends, by this machine's clock.
func (c *Client) tokenTaken(token string, welcome *serverFrame) {
	t := &c.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token && welcome.ExpiresAt != 0 {
		t.ends = time.Now().Add(time.Duration(welcome.ExpiresAt-welcome.ServerTime) * time.Millisecond)
	}
}

// tokenRefused has the next connection use another token. It returns cause, or an error that ends the client if there is no
// source to ask.
func (c *Client) tokenRefused(token string, cause error) error {
	if c.options.Token == nil {
		return fmt.Errorf("%w: %w", ErrTokenRefused, cause)
	}
	t := &c.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = token
	if t.token == token {
		t.token = ""
	}
	return cause
}

// askedToMoveLocked takes a reconnect frame. One that comes because of the token is first answered with a new token; only if
// that is not taken the connection is left.
func (c *Client) askedToMoveLocked(n *conn, f *serverFrame) {
	delay := time.Duration(max(0, f.DelayMS)) * time.Millisecond
	if f.Reason != protocol.ReconnectTokenExpiring {
		n.requestMove(delay)
		return
	}
	if c.options.Token == nil || n.renewing {
		return // the gateway will close the connection at the token's end
	}
	n.renewing = true
	c.wg.Go(func() {
		if !c.renew(n, delay) {
			n.requestMove(0)
		}
	})
}

// renew gets a new token and gives it to the gateway. It returns false if the gateway does not take it, so that a new
// connection has to be made with it. While the source fails or still returns the old token, it is asked again until the
// connection ends.
func (c *Client) renew(n *conn, pause time.Duration) (settled bool) {
	defer func() {
		c.mu.Lock()
		n.renewing = false
		c.mu.Unlock()
	}()
	retry := newBackoff(time.Second, 10*time.Second)
	for {
		select {
		case <-time.After(pause):
		case <-n.done:
			return true
		case <-c.ctx.Done():
			return true
		}
		c.tokens.mu.Lock()
		before := c.tokens.token
		token, err := c.freshToken(c.ctx)
		c.tokens.mu.Unlock()
		if err == nil && token != before {
			return c.offer(n, token)
		}
		if err != nil {
			c.options.Logger.Warn("the token ends soon, and there is no new one", "error", err)
		}
		pause = retry.after(err)
	}
}

// offer sends an auth command and waits for its answer.
func (c *Client) offer(n *conn, token string) bool {
	offered := &tokenOffer{token: token, answered: make(chan *protocol.Error, 1)}
	c.mu.Lock()
	if n.ended {
		c.mu.Unlock()
		return true // the next connection uses it
	}
	id := c.nextIDLocked()
	n.sendLocked(id, encodeAuth(id, token), offered, false)
	c.mu.Unlock()
	failure := <-offered.answered
	if failure != nil {
		c.options.Logger.Warn("the gateway did not take the new token", "code", failure.Code, "message", failure.Message)
	}
	return failure == nil
}

// tokenOffer is an auth command.
type tokenOffer struct {
	token    string
	answered chan *protocol.Error // has a place for the one answer
}

func (o *tokenOffer) answer(n *conn, f *serverFrame) {
	failure := f.failure()
	if failure == nil {
		n.token = o.token
	}
	o.answered <- failure
}

// lost counts as settled: the next connection uses the token.
func (o *tokenOffer) lost(*conn) { o.answered <- nil }
