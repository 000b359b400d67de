package socket

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// set is an epoll set that one goroutine waits for. It waits through the Go runtime's own poller (an epoll descriptor can be
// polled), so that waiting holds no thread.
type set struct {
	epfd int
	file *os.File // the same descriptor, known to the runtime's poller
	wait syscall.RawConn
}

func newSet() (set, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return set{}, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil {
		_ = unix.Close(epfd)
		return set{}, fmt.Errorf("fcntl of an epoll descriptor: %w", err)
	}
	s := set{epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll")}
	if s.wait, err = s.file.SyscallConn(); err != nil {
		_ = s.file.Close()
		return set{}, fmt.Errorf("an epoll descriptor that the runtime cannot poll: %w", err)
	}
	return s, nil
}

// add has the set tell of events on a descriptor, and drop has it tell no more.
func (s *set) add(fd int32, events uint32) syscall.Errno {
	return control(s.epfd, unix.EPOLL_CTL_ADD, fd, events)
}

func (s *set) drop(fd int32) { _ = control(s.epfd, unix.EPOLL_CTL_DEL, fd, 0) } // the descriptor is in the set
