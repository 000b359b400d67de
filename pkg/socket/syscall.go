package socket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of every delivery are made raw: Go's scheduler is not told. Telling it is for calls that may block, which
// these cannot, since all descriptors are non-blocking. It would cost more than the call's own entry: on a process that is idle
// between messages the first call told of wakes the runtime's monitoring thread, which then looks around every 20 µs for a while.

// read, write, waitNow and control are read(2), write(2), epoll_pwait(2) without waiting, and epoll_ctl(2). They return an error number rather than an
// error: the everyday ones are compared with, not told to anybody.

func read(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func write(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
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
