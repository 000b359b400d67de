package socket

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of every delivery are made raw: Go's scheduler is not told. Telling it is for calls that may block, which
// these cannot, since all descriptors are non-blocking. It would cost more than the call's own entry: on a process that is idle
// between messages the first call told of wakes the runtime's monitoring thread, which then looks around every 20 µs for a while.

// read, write, waitNow, control and accept are read(2), write(2), epoll_pwait(2) without waiting, epoll_ctl(2) and accept4(2). They return an error number rather than an
// error: the everyday ones are compared with, not told to anybody.

func read(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func write(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

// writeAll writes p until the socket takes no more (EAGAIN) or the connection breaks.
func writeAll(fd int32, p []byte) (written int, errno syscall.Errno) {
	for written < len(p) {
		n, errno := write(fd, p[written:])
		switch errno {
		case 0:
			written += n
		case unix.EINTR:
		default:
			return written, errno
		}
	}
	return written, 0
}

func waitNow(epfd uintptr, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, epfd, uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return int(n), errno
}

func control(epfd, operation int, fd int32, events uint32) syscall.Errno {
	event := unix.EpollEvent{Events: events, Fd: fd}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(operation), uintptr(fd), uintptr(unsafe.Pointer(&event)), 0, 0)
	return errno
}

// accept returns a non-blocking descriptor and the client's address, which is not valid for other than TCP.
func accept(listener uintptr) (fd int32, remote netip.AddrPort, errno syscall.Errno) {
	var address unix.RawSockaddrInet6 // the longest that there can be
	size := uint32(unsafe.Sizeof(address))
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, listener, uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return 0, remote, errno
	}
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&address.Port))[:]) // the address is in the network's byte order
	switch address.Family {
	case unix.AF_INET:
		remote = netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&address)).Addr), port)
	case unix.AF_INET6:
		ip := netip.AddrFrom16(address.Addr).Unmap()
		if address.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(address.Scope_id), 10))
		}
		remote = netip.AddrPortFrom(ip, port)
	}
	return int32(n), remote, 0
}
