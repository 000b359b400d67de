package socket

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// scratchBytes is what a poller reads at once. Most turns read one small frame; a full buffer means a busy publisher.
	scratchBytes = 64 << 10
	eventsAtOnce = 256
	// lingerTime is how long a client has to take what is queued and to answer our close frame.
	lingerTime = 5 * time.Second
	// interest never changes, so a connection costs one epoll_ctl in its life.
	interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	// hangup tells that the stream has an end. It may come in one event with the last bytes, and never again.
	hangup = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// poller serves the connections of one epoll set from one goroutine. The set is waited for through the Go runtime's own
// poller (an epoll descriptor can be polled), so that waiting holds no thread.
type poller struct {
	reactor *Reactor
	file    *os.File // the epoll descriptor, known to the runtime's poller
	wait    syscall.RawConn
	wakeFD  int // an eventfd in the set: something was posted

	// The goroutine's.
	now      time.Duration
	nextTick time.Duration
	events   []unix.EpollEvent
	scratch  []byte
	again    []*Conn
	failed   error   // why the set cannot be waited for
	scan     []*Conn // the connections that a tick looks at

	mu      sync.Mutex
	posted  []*Conn
	conns   []*Conn
	stopped bool
}

func newPoller(r *Reactor) (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil {
		return nil, fmt.Errorf("fcntl of an epoll descriptor: %w", err)
	}
	p := &poller{reactor: r, events: make([]unix.EpollEvent, eventsAtOnce), scratch: make([]byte, scratchBytes)}
	p.file = os.NewFile(uintptr(epfd), "epoll")
	if p.wait, err = p.file.SyscallConn(); err != nil {
		return nil, fmt.Errorf("an epoll descriptor that the runtime cannot poll: %w", err)
	}
	if p.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, p.wakeFD, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(p.wakeFD)}); err != nil {
		return nil, fmt.Errorf("epoll_ctl of an eventfd: %w", err)
	}
	return p, nil
}

// register adds a connection to the set. Bytes that came before raise an event at once.
func (p *poller) register(c *Conn, handler Handler) error {
	c.handler = handler
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		c.closeDescriptor()
		p.reactor.open.Add(-1)
		return errStopped
	}
	now := p.reactor.elapsed()
	// The first ping comes early by a random part, so that clients that connect together are not pinged together.
	c.lastRead, c.nextPing = now, now+time.Duration((0.5+rand.Float64()/2)*float64(p.reactor.config.Heartbeat))
	c.index = len(p.conns)
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	p.reactor.table.set(c.fd, c)
	var err error
	if cerr := p.wait.Control(func(epfd uintptr) {
		err = unix.EpollCtl(int(epfd), unix.EPOLL_CTL_ADD, int(c.fd), &unix.EpollEvent{Events: interest, Fd: c.fd})
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		p.finish(c)
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// post has the goroutine look at a connection whose state changed.
func (p *poller) post(c *Conn) {
	p.mu.Lock()
	p.posted = append(p.posted, c)
	first := len(p.posted) == 1
	p.mu.Unlock()
	if first {
		p.wake()
	}
}

func (p *poller) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wakeFD, one[:]) // it fails only when the counter is full, and then the goroutine is awake
}

// run serves until the reactor stops and every connection is gone.
func (p *poller) run() {
	defer p.reactor.running.Done()
	for !p.over() {
		p.nextTick = p.reactor.elapsed() + p.reactor.config.tick()
		err := p.file.SetReadDeadline(p.reactor.start.Add(p.nextTick))
		if err == nil {
			err = p.wait.Read(p.serve)
		}
		if err == nil {
			err = p.failed
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			p.reactor.config.Logger.Error("waiting for sockets failed", "error", err)
			return
		}
		if p.now = p.reactor.elapsed(); p.now >= p.nextTick {
			p.tick()
		}
	}
	_ = unix.Close(p.wakeFD)
	_ = p.file.Close()
}

// serve handles what has come. It returns false when nothing is left, to be called again when something comes, and true when
// the next tick is due or the poller is to end. The set tells of each event once, so a set that gave less
// than it could have is empty: what comes from then on ends the wait at once.
func (p *poller) serve(epfd uintptr) (leave bool) {
	for {
		n, errno := waitNow(epfd, p.events)
		p.now = p.reactor.elapsed()
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		default:
			p.failed = errno
			return true
		}
		for i := range p.events[:n] {
			p.event(&p.events[i])
		}
		again := p.again
		p.again = nil
		for _, c := range again {
			c.again = false
			p.read(c)
		}
		p.takePosted()
		switch {
		case p.now >= p.nextTick || p.over():
			return true
		case n < len(p.events) && len(p.again) == 0:
			return false
		}
	}
}

func (p *poller) event(e *unix.EpollEvent) {
	if e.Fd == int32(p.wakeFD) {
		var count [8]byte
		_, _ = unix.Read(p.wakeFD, count[:]) // resets the counter
		return
	}
	c := p.reactor.table.get(e.Fd)
	if c == nil || c.poller != p {
		return // closed earlier in this round, its number perhaps in use again: a new connection raises its own event
	}
	if e.Events&unix.EPOLLOUT != 0 {
		c.flush()
	}
	// The first event of every connection is that it can be written to. What came right behind a TLS handshake may wait
	// inside crypto/tls then, and no other event would tell of it.
	if e.Events&hangup != 0 {
		c.hungUp = true
	}
	if e.Events&^unix.EPOLLOUT != 0 || c.tls != nil {
		p.read(c)
	}
}

func (p *poller) read(c *Conn) {
	if c.readable(p.scratch) && !c.again {
		c.again = true
		p.again = append(p.again, c)
	}
}

// takePosted ends connections that are over and begins the lingering of those that are closing.
func (p *poller) takePosted() {
	p.mu.Lock()
	posted := p.posted
	p.posted = nil
	p.mu.Unlock()
	for _, c := range posted {
		c.mu.Lock()
		c.posted = false
		state, reason, left := c.state, c.reason, len(c.queue)
		c.mu.Unlock()
		if state == open || state == closed {
			continue
		}
		c.tell(reason)
		if state == broken || c.peerClose && left == 0 {
			p.finish(c)
		} else if c.lingerEnd == 0 {
			c.lingerEnd = p.now + lingerTime
		}
	}
}

// finish lets go of a connection.
func (p *poller) finish(c *Conn) {
	p.mu.Lock()
	last := len(p.conns) - 1
	p.conns[c.index] = p.conns[last]
	p.conns[c.index].index = c.index
	p.conns[last] = nil
	p.conns = p.conns[:last]
	p.mu.Unlock()
	p.reactor.table.set(c.fd, nil)
	c.closeDescriptor()
	c.partial = nil
	p.reactor.open.Add(-1)
}

// tick sends the pings that are due and ends what is silent or lingers for too long.
func (p *poller) tick() {
	heartbeat := p.reactor.config.Heartbeat
	p.mu.Lock()
	p.scan = append(p.scan[:0], p.conns...)
	p.mu.Unlock()
	defer clear(p.scan)
	ping := NewBuffer()
	defer ping.Release()
	ping.B = appendHeader(ping.B, finBit|opPing, 0)
	for _, c := range p.scan {
		switch {
		case c.lingerEnd != 0:
			if p.now >= c.lingerEnd {
				c.Abort(ClientGone)
			}
		case p.now-c.lastRead > heartbeat*5/2:
			c.Abort(HeartbeatTimeout)
		case p.now >= c.nextPing:
			c.nextPing = p.now + heartbeat
			c.Send(ping)
		}
	}
}

// over tells whether the goroutine may end.
func (p *poller) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped && len(p.conns) == 0
}
