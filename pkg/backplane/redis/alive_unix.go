//go:build unix

package redis

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
)

// peeker looks whether a connection that should be quiet was closed by the other end, without reading from it.
type peeker struct {
	raw syscall.RawConn
	// secret is true where bytes may come at any time: records of TLS itself.
	secret bool
	look   func(fd uintptr) bool
	err    error
}

// newPeeker returns a peeker for conn; for a connection that is no socket it is one that sees nothing.
func newPeeker(conn net.Conn) *peeker {
	p := &peeker{}
	if c, ok := conn.(*tls.Conn); ok {
		p.secret, conn = true, c.NetConn()
	}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			p.raw = raw
		}
	}
	p.look = func(fd uintptr) bool {
		n, err := peek(fd)
		switch {
		case n > 0 && !p.secret:
			p.err = errNotRESP
		case n > 0, errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
			p.err = nil
		case err != nil:
			p.err = err
		default:
			p.err = io.EOF
		}
		return true
	}
	return p
}

// quiet returns an error when the connection was closed, or something came that nobody asked for. It does not block. It must
// not be called while somebody reads.
func (p *peeker) quiet() error {
	if p.raw == nil {
		return nil
	}
	if err := p.raw.Read(p.look); err != nil {
		return err
	}
	return p.err
}
