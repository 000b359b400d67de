package socket

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ArrivalBytes is how much of what a client says first is read at most before somebody has to look at it: more than an ordinary
// WebSocket handshake has.
const ArrivalBytes = 4 << 10

// Arrival is an accepted connection and the first bytes that came on it. Whoever gets one must see to its end: by Upgrade, by
// NetConn or by Close. As a net.Conn it never waits: what cannot be read or written at once is an error. It is for one
// goroutine at a time.
type Arrival struct {
	fd       int32 // -1: it is somebody else's
	remote   netip.AddrPort
	local    net.Addr
	deadline time.Time

	older, newer *Arrival // in the acceptor's list

	buffer *[ArrivalBytes]byte // nil: nothing has come
	length int
}

var arrivalBuffers = sync.Pool{New: func() any { return new([ArrivalBytes]byte) }}

// Bytes returns what has been read. It is overwritten after Close, NetConn, or the end of the function that the arrival was
// given to.
func (a *Arrival) Bytes() []byte {
	if a.buffer == nil {
		return nil
	}
	return a.buffer[:a.length]
}

// Remote returns the client's address.
func (a *Arrival) Remote() netip.AddrPort { return a.remote }

// Deadline returns when the patience with the client's first request ends.
func (a *Arrival) Deadline() time.Time { return a.deadline }

// NetConn makes an ordinary connection of the arrival, which ends with it. Nothing of Bytes is read from it again.
func (a *Arrival) NetConn() (net.Conn, error) {
	if a.fd < 0 {
		return nil, net.ErrClosed
	}
	file := os.NewFile(uintptr(a.fd), "connection")
	a.fd = -1
	conn, err := net.FileConn(file)
	return conn, errors.Join(err, file.Close()) // the connection has a descriptor of its own
}

// take hands the descriptor over to the caller.
func (a *Arrival) take() (fd int32, err error) {
	if a.fd < 0 {
		return 0, net.ErrClosed
	}
	fd, a.fd = a.fd, -1
	return fd, nil
}

func (a *Arrival) giveBufferBack() {
	if a.buffer != nil {
		arrivalBuffers.Put(a.buffer)
		a.buffer, a.length = nil, 0
	}
}

// Read implements net.Conn. It reads what comes behind Bytes.
func (a *Arrival) Read(p []byte) (int, error) {
	if a.fd < 0 {
		return 0, net.ErrClosed
	}
	n, errno := read(a.fd, p)
	switch {
	case errno == unix.EAGAIN:
		return 0, errNotNow
	case errno != 0:
		return 0, errno
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn. A new socket has room for some tens of kilobytes.
func (a *Arrival) Write(p []byte) (written int, err error) {
	if a.fd < 0 {
		return 0, net.ErrClosed
	}
	written, errno := writeAll(a.fd, p)
	switch errno {
	case 0:
		return written, nil
	case unix.EAGAIN:
		return written, errNotNow
	}
	return written, errno
}

// Close implements net.Conn.
func (a *Arrival) Close() error {
	fd, err := a.take()
	if err != nil {
		return err
	}
	return unix.Close(int(fd))
}

// LocalAddr implements net.Conn; it returns the listener's address.
func (a *Arrival) LocalAddr() net.Addr { return a.local }

// RemoteAddr implements net.Conn.
func (a *Arrival) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(a.remote) }

// SetDeadline implements net.Conn; nothing waits.
func (a *Arrival) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (a *Arrival) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (a *Arrival) SetWriteDeadline(time.Time) error { return nil }
