//go:build unix

package faultproxy

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reserve keeps a port from being given to anybody else while the proxy refuses connections: a socket that is bound and does not
// listen. Who connects meanwhile is refused.
func reserve(addr *net.TCPAddr) (release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		at := &unix.SockaddrInet4{Port: addr.Port}
		copy(at.Addr[:], addr.IP.To4())
		err = unix.Bind(fd, at)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// shared lets a listener and a reservation have the same port.
func shared(_, _ string, raw syscall.RawConn) (err error) {
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
		return e
	}
	return err
}
