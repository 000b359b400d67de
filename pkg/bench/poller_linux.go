package bench

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// epoll is a poller over one epoll set. A timerfd in the set keeps time finer than epoll_wait's milliseconds, and its being
// set to "now" wakes a wait.
type epoll struct {
	fd, timer int
	events    []unix.EpollEvent
	count     int
	scratch   []byte
	links     []*socketLink // by descriptor; guarded by the generator's lock
}

const (
	eventsAtOnce = 512
	scratchBytes = 256 << 10
)

func newPoller() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, timer, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(timer)}); err != nil {
		return nil, fmt.Errorf("epoll_ctl of a timer: %w", err)
	}
	p := &epoll{fd: fd, timer: timer, events: make([]unix.EpollEvent, eventsAtOnce), scratch: make([]byte, scratchBytes)}
	p.wake()
	return p, nil
}

func (p *epoll) arm(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, time.Microsecond)))}
	_ = unix.TimerfdSettime(p.timer, 0, &spec, nil) // the values are valid
}

func (p *epoll) wake() { p.arm(0) }

func (p *epoll) wait() {
	n, err := unix.EpollWait(p.fd, p.events, -1)
	if err != nil {
		n = 0 // EINTR: look at the clock and wait again
	}
	p.count = n
}

func (p *epoll) dispatch(g *Generator) {
	for _, event := range p.events[:p.count] {
		fd := int(event.Fd)
		if fd == p.timer {
			var expirations [8]byte
			_, _ = unix.Read(p.timer, expirations[:]) // makes it unreadable until it is armed again
			continue
		}
		l := p.links[fd]
		if l == nil {
			continue // closed earlier in this round
		}
		if event.Events&unix.EPOLLOUT != 0 {
			l.flush()
		}
		if event.Events&^unix.EPOLLOUT != 0 {
			l.read(g)
		}
	}
}

func (p *epoll) close() {
	_ = unix.Close(p.timer)
	_ = unix.Close(p.fd)
}

// adopt takes the socket away from the Go runtime's poller, which would keep a kilobyte for it.
func (p *epoll) adopt(conn net.Conn) (link, error) {
	if _, ok := conn.(*tls.Conn); ok {
		return &streamLink{conn: conn}, nil
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if cerr := raw.Control(func(original uintptr) { fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	return &socketLink{poller: p, fd: fd}, err
}

// socketLink is a link over a plain socket. Level-triggered, so that one read an event is enough.
type socketLink struct {
	poller *epoll
	fd     int
	owner  *Conn
	out    []byte // what the socket did not take
}

func (l *socketLink) start(c *Conn) error {
	l.owner = c
	for len(l.poller.links) <= l.fd {
		l.poller.links = append(l.poller.links, nil)
	}
	l.poller.links[l.fd] = l
	return l.interest(unix.EPOLL_CTL_ADD, unix.EPOLLIN)
}

func (l *socketLink) interest(op int, events uint32) error {
	return unix.EpollCtl(l.poller.fd, op, l.fd, &unix.EpollEvent{Events: events, Fd: int32(l.fd)})
}

func (l *socketLink) read(g *Generator) {
	n, err := unix.Read(l.fd, l.poller.scratch)
	g.now = g.elapsed()
	switch {
	case n > 0:
		g.received(l.owner, l.poller.scratch[:n])
	case err == unix.EAGAIN || err == unix.EINTR:
	default:
		g.connEnded(l.owner, err)
	}
}

func (l *socketLink) send(p []byte) {
	if l.fd < 0 {
		return
	}
	if len(l.out) == 0 {
		n, err := unix.Write(l.fd, p)
		if err != nil {
			n = 0 // full, or broken: then reading tells
		}
		if p = p[n:]; len(p) == 0 {
			return
		}
		_ = l.interest(unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLOUT) // the descriptor is in the set
	}
	l.out = append(l.out, p...)
}

func (l *socketLink) flush() {
	n, err := unix.Write(l.fd, l.out)
	if err != nil {
		return
	}
	if l.out = append(l.out[:0], l.out[n:]...); len(l.out) == 0 {
		l.out = nil
		_ = l.interest(unix.EPOLL_CTL_MOD, unix.EPOLLIN) // the descriptor is in the set
	}
}

func (l *socketLink) close() {
	if l.fd < 0 {
		return
	}
	if l.fd < len(l.poller.links) && l.poller.links[l.fd] == l {
		l.poller.links[l.fd] = nil
	}
	_ = unix.Close(l.fd)
	l.fd = -1
}

// openFileLimit returns how many files this process may have open; 0: unknown. Go has raised the soft limit already.
func openFileLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<31))
}
