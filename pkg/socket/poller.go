package socket

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// scratchBytes is what a poller reads at once. Most turns read one small frame; a full buffer means a busy publisher.
	scratchBytes = 64 << 10
	eventsAtOnce = 256
	// lingerTime is how long a client has to take what is queued and to answer our close frame.
	lingerTime = 5 * time.Second
	// interest is all that most connections ever need, so they cost one epoll_ctl in their lives. Room to write is asked for when
	// there was none for the first time: every socket has some at first, and each connection would begin with an event that says so.
	interest = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	// hangup tells that the stream has an end. It may come in one event with the last bytes, and never again.
	hangup = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// poller serves the connections of one epoll set from one goroutine.
type poller struct {
	reactor *Reactor
	set     set
	wakeFD  int32 // an eventfd in the set: something was posted

	turnLength time.Duration // the part of a heartbeat that has its own connections to ping

	// The goroutine's.
	now      time.Duration
	nextTick time.Duration
	turn     int64 // the last whose pings were sent, since the reactor's start
	events   []unix.EpollEvent
	scratch  []byte
	again    []*Conn
	failed   error   // why the set cannot be waited for
	scan     []*Conn // whose turn it is
	watched  []*Conn // may have to be cut soon

	mu      sync.Mutex
	posted  []*Conn
	turns   [][]*Conn // all connections, by when they are pinged
	count   int       // how many they are
	stopped bool
}

func newPoller(r *Reactor) (*poller, error) {
	count, turn := turnsIn(r.config.Heartbeat)
	p := &poller{reactor: r, turnLength: turn, turns: make([][]*Conn, count), turn: int64(r.elapsed() / turn),
		events: make([]unix.EpollEvent, eventsAtOnce), scratch: make([]byte, scratchBytes)}
	var err error
	if p.set, err = newSet(); err != nil {
		return nil, err
	}
	eventfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p.wakeFD = int32(eventfd)
	if errno := p.set.add(p.wakeFD, unix.EPOLLIN|unix.EPOLLET); errno != 0 {
		return nil, fmt.Errorf("epoll_ctl of an eventfd: %w", errno)
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
	c.lastRead = p.reactor.elapsed()
	p.place(c, c.lastRead)
	p.mu.Unlock()
	p.reactor.table.set(c.fd, c)
	// The set is there as long as p.count is not 0.
	c.mu.Lock()
	c.inSet = true
	errno := c.tellSetLocked(unix.EPOLL_CTL_ADD)
	c.mu.Unlock()
	if errno != 0 {
		p.finish(c)
		return fmt.Errorf("epoll_ctl: %w", errno)
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
	_, _ = unix.Write(int(p.wakeFD), one[:]) // it fails only when the counter is full, and then the goroutine is awake
}

// run serves until the reactor stops and every connection is gone.
func (p *poller) run() {
	defer p.reactor.running.Done()
	for !p.over() {
		// A deadline that is over would end the wait before anything is read.
		p.nextTick = max(time.Duration(p.turn+1)*p.turnLength, p.reactor.elapsed()+time.Millisecond)
		err := p.set.file.SetReadDeadline(p.reactor.start.Add(p.nextTick))
		if err == nil {
			err = p.set.wait.Read(p.serve)
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
	_ = unix.Close(int(p.wakeFD))
	_ = p.set.file.Close()
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
	if e.Fd == p.wakeFD {
		var count [8]byte
		_, _ = unix.Read(int(p.wakeFD), count[:]) // resets the counter
		return
	}
	c := p.reactor.table.get(e.Fd)
	if c == nil || c.poller != p {
		return // closed earlier in this round, its number perhaps in use again: a new connection raises its own event
	}
	if e.Events&unix.EPOLLOUT != 0 {
		c.flush()
	}
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
			p.watchOver(c)
		}
	}
}

// finish lets go of a connection.
func (p *poller) finish(c *Conn) {
	p.mu.Lock()
	p.displace(c)
	p.mu.Unlock()
	c.gone = true
	p.reactor.table.set(c.fd, nil)
	c.closeDescriptor()
	c.partial = nil
	p.reactor.open.Add(-1)
}

// over tells whether the goroutine may end.
func (p *poller) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped && p.count == 0
}
