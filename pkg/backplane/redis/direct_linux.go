package redis

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// directConn is a TCP connection whose system calls Go's scheduler is not told of. Telling it is for calls that may block, and
// sockets of Go never do. A gateway with little traffic is idle between two messages, and then the first call told of wakes the
// runtime's monitoring thread, which looks around every 20 µs for a while: that costs more than the message.
type directConn struct {
	*net.TCPConn
	raw syscall.RawConn

	// The reader's, of whom there is one at a time, and the writer's.
	in, out           []byte
	read, written     int
	readErr           error
	writeErr          error
	tryRead, tryWrite func(fd uintptr) bool
}

// direct returns conn with cheaper system calls if it is a plain TCP connection.
func direct(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	c := &directConn{TCPConn: tcp, raw: raw}
	c.tryRead, c.tryWrite = c.readNow, c.writeNow
	return c
}

// Read implements net.Conn. Unlike other connections' it is for one goroutine at a time.
func (c *directConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in, c.read, c.readErr = p, 0, nil
	err := c.raw.Read(c.tryRead)
	c.in = nil
	if err != nil {
		return 0, err
	}
	return c.read, c.readErr
}

// readNow returns false when nothing has come yet.
func (c *directConn) readNow(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(c.in))), uintptr(len(c.in)))
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return false
		case errno != 0:
			c.readErr = errno
		case n == 0:
			c.readErr = io.EOF
		default:
			c.read = int(n)
		}
		return true
	}
}

// Write implements net.Conn. Unlike other connections' it is for one goroutine at a time.
func (c *directConn) Write(p []byte) (int, error) {
	c.out, c.written, c.writeErr = p, 0, nil
	err := c.raw.Write(c.tryWrite)
	c.out = nil
	if err != nil {
		return c.written, err
	}
	return c.written, c.writeErr
}

// writeNow returns false when the socket takes no more for now.
func (c *directConn) writeNow(fd uintptr) bool {
	for c.written < len(c.out) {
		rest := c.out[c.written:]
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)))
		switch errno {
		case 0:
			c.written += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.writeErr = errno
			return true
		}
	}
	return true
}

// peek says how many bytes, 0 or 1, could be read now.
func peek(fd uintptr) (int, error) {
	var first [1]byte
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&first)), uintptr(len(first)), syscall.MSG_PEEK, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
