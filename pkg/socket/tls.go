package socket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// ListenTLS returns a listener whose connections speak TLS and can be upgraded. Only HTTP/1.1 is negotiated: a WebSocket
// handshake takes over a whole connection. Closing it closes inner.
//
// An upgraded TLS connection is served like a plain one, without a goroutine of its own: crypto/tls reads from and writes to
// a transport that never blocks. Reading says "not now" by a temporary error, which crypto/tls hands on without giving the
// connection up; writing always takes everything, since what the socket does not take is queued as ciphertext.
func ListenTLS(inner net.Listener, config *tls.Config) net.Listener {
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	return &tlsListener{inner, config}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

// Accept returns a *tls.Conn whose handshake has not begun.
func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&transport{Conn: c}, l.config), nil
}

// transport is what crypto/tls reads from and writes to: at first the accepted connection, and after the upgrade a Conn, whose
// lock is then held in every call.
type transport struct {
	net.Conn
	upgraded *Conn
}

// Read implements net.Conn.
func (t *transport) Read(p []byte) (int, error) {
	if t.upgraded == nil {
		return t.Conn.Read(p)
	}
	for {
		n, err := unix.Read(int(t.upgraded.fd), p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errNotNow
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write implements net.Conn.
func (t *transport) Write(p []byte) (int, error) {
	if t.upgraded == nil {
		return t.Conn.Write(p)
	}
	return t.upgraded.writeCiphertextLocked(p)
}

// SetWriteDeadline implements net.Conn; crypto/tls sets one around its closing message, and our writes never wait.
func (t *transport) SetWriteDeadline(when time.Time) error {
	if t.upgraded == nil {
		return t.Conn.SetWriteDeadline(when)
	}
	return nil
}

// notNow is the error of a read that would block.
type notNow struct{}

var errNotNow net.Error = notNow{}

func (notNow) Error() string   { return "the socket would have to be waited for" }
func (notNow) Timeout() bool   { return true }
func (notNow) Temporary() bool { return true }

// encryptLocked sends plaintext.
func (c *Conn) encryptLocked(p []byte) {
	if _, err := c.tls.Write(p); err != nil {
		c.breakLocked()
	}
}

// writeCiphertextLocked writes what crypto/tls made of plaintext, and queues what the socket does not take.
func (c *Conn) writeCiphertextLocked(p []byte) (int, error) {
	if c.state >= broken {
		return 0, net.ErrClosed
	}
	n := 0
	if len(c.queue) == 0 {
		var ok bool
		if n, ok = c.writeLocked(p); !ok {
			return 0, net.ErrClosed
		}
	}
	if n < len(p) {
		rest := NewBuffer() // crypto/tls uses its buffer again
		defer rest.Release()
		rest.B = append(rest.B, p[n:]...)
		c.queueLocked(rest, 0)
	}
	return len(p), nil
}

// decrypt reads plaintext; 0 bytes and no error mean that nothing has come.
func (c *Conn) decrypt(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state >= broken {
		return 0, net.ErrClosed
	}
	n, err := c.tls.Read(p)
	if n > 0 || errors.Is(err, errNotNow) {
		return n, nil
	}
	return 0, err
}
