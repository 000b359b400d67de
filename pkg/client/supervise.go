package client

import (
	"context"
	"errors"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

const (
	// enterTimeout is how long a move waits until all rooms are joined on the new connection: less than the gateway's grace
	// of 5 s, after which it closes the old one.
	enterTimeout = 4 * time.Second
	// settle is how long both connections are read after that. In rooms without history a message may still be on its way
	// through the old gateway that the new one passed on before we joined.
	settle = 200 * time.Millisecond
	// lingerTimeout is how long an old connection is kept for the answers that it owes.
	lingerTimeout = 5 * time.Second
)

// supervise connects, and connects again, until the client is closed or a gateway refuses for good.
func (c *Client) supervise() {
	retry := newBackoff(c.options.BackoffMin, c.options.BackoffMax)
	var old *conn // asked us to move; it is used until there is a new one
	var pause time.Duration
	for {
		if !sleep(c.ctx, pause) {
			c.finish(ErrClosed)
			return
		}
		if old != nil && !old.lives() {
			old = nil
		}
		if old == nil {
			c.tell(State{Status: StatusConnecting})
		}
		n, err := c.dial(c.ctx)
		if err == nil {
			old, err = c.use(n, old, &retry)
		}
		switch {
		case c.ctx.Err() != nil:
			c.finish(ErrClosed)
			return
		case err == nil:
			pause = 0
			c.turn++
		case c.final(err):
			c.finish(err)
			return
		default:
			c.turn++
			pause = retry.after(err)
			c.options.Logger.Info("not connected", "error", err, "retry", pause)
			if old == nil {
				c.tell(State{Status: StatusWaiting, Err: err, Retry: pause})
			}
		}
	}
}

// final tells whether err ends the client.
func (c *Client) final(err error) bool {
	if errors.Is(err, ErrTokenRefused) {
		return true
	}
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.final(c.connected)
	}
	closed, ok := errors.AsType[*ClosedError](err)
	return ok && !closed.Code.Reconnect() && !badToken(closed.Code)
}

// badToken: with another token it may go on.
func badToken(code protocol.CloseCode) bool {
	return code == protocol.CloseNoToken || code == protocol.CloseTokenExpired
}

// use puts a new connection to use and stays until it ends, which is an error, or is to be left: then it is returned.
func (c *Client) use(n, old *conn, retry *backoff) (leaving *conn, err error) {
	c.open(n)
	if old != nil && !c.enter(n, old) {
		return old, c.gone(n, retry)
	}
	c.switchTo(n, old)
	c.connectedTo(n)
	select {
	case <-c.ctx.Done():
		return nil, nil
	case <-n.done:
		return nil, c.gone(n, retry)
	case delay := <-n.move:
		c.tell(State{Status: StatusMoving, Node: n.welcome.Node, ConnectionID: n.welcome.ConnectionID, UserID: n.welcome.UserID, Retry: delay})
		retry.succeeded()
		select {
		case <-c.ctx.Done():
			return nil, nil
		case <-n.done:
			return nil, c.gone(n, retry)
		case <-time.After(delay):
			return n, nil
		}
	}
}

// open starts a connection: it joins every room. If there is a current one, that still serves them.
func (c *Client) open(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, n)
	n.entering = 1
	if c.current == nil {
		c.current = n
	}
	c.eachLocked(func(s *stream) {
		n.entering++
		s.openOn(n)
	})
	n.enteredLocked()
	if c.current == n {
		c.sendUnsentLocked()
	}
	c.wg.Go(n.read)
	c.wg.Go(n.write)
}

// enter waits until the new connection has joined what the old one is in, or the old one ends. It returns false if the new
// one has ended.
func (c *Client) enter(n, old *conn) bool {
	timeout := time.NewTimer(enterTimeout)
	defer timeout.Stop()
	select {
	case <-n.ready:
	case <-n.done:
		return false
	case <-old.done:
		return true
	case <-timeout.C:
		c.options.Logger.Warn("not all rooms are joined on the new connection, but the old one ends soon", "node", n.welcome.Node)
		return true
	case <-c.ctx.Done():
		return true
	}
	select {
	case <-n.done:
		return false
	case <-old.done:
	case <-time.After(settle):
	case <-c.ctx.Done():
	}
	return true
}

// switchTo makes n the one that publishes, and closes old when it owes no answer any more.
func (c *Client) switchTo(n, old *conn) {
	c.mu.Lock()
	if !n.ended {
		c.current = n
	}
	c.eachLocked((*stream).switched)
	c.sendUnsentLocked()
	c.mu.Unlock()
	if old != nil {
		c.wg.Go(func() { c.linger(old) })
	}
}

// linger closes an old connection when it owes no answers any more, or after a while.
func (c *Client) linger(old *conn) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	end := time.Now().Add(lingerTimeout)
	for now := time.Now(); now.Before(end); {
		c.mu.Lock()
		owes := old.owesLocked()
		c.mu.Unlock()
		if !owes {
			break
		}
		select {
		case now = <-ticker.C:
		case <-old.done:
			return
		case <-c.ctx.Done():
			return // finish leaves all
		}
	}
	old.leave()
}

func (c *Client) connectedTo(n *conn) {
	if !c.connected {
		c.connected = true
		close(c.first)
	}
	c.options.Logger.Debug("connected", "connection_id", n.welcome.ConnectionID, "user_id", n.welcome.UserID, "node", n.welcome.Node)
	c.tell(State{Status: StatusConnected, Node: n.welcome.Node, ConnectionID: n.welcome.ConnectionID, UserID: n.welcome.UserID})
}

// gone returns why a connection ended, and judges whether it lasted.
func (c *Client) gone(n *conn, retry *backoff) error {
	if time.Since(n.began) > stable {
		retry.succeeded()
	}
	if closed, ok := errors.AsType[*ClosedError](n.err); ok && badToken(closed.Code) {
		c.mu.Lock()
		token := n.token
		c.mu.Unlock()
		return c.tokenRefused(token, n.err)
	}
	return n.err
}

// lives tells whether the connection has not ended.
func (n *conn) lives() bool {
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
