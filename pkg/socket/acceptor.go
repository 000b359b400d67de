package socket

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// AcceptorConfig is what an Acceptor is told at start.
type AcceptorConfig struct {
	// Enough tells whether somebody has to look at what a client has said so far. It is asked when something has come, on
	// the goroutine that accepts everybody: it must not block.
	Enough func(said []byte) bool
	// Serve gets who has said enough, or too much to wait for more, or has said something and hung up, on a goroutine of its
	// own.
	Serve func(*Arrival)
	// Patience is how long a client may take to say enough. Who takes longer is cut.
	Patience time.Duration
	Logger   *slog.Logger
}

// Acceptor accepts the connections of a listener and reads what each client says first, in one goroutine: a client that has
// connected and says nothing costs a descriptor and an entry in a list. The net package would register each connection with the
// runtime's poller, which we would have to undo, and wake a goroutine for it twice; and its system calls are told to Go's scheduler
// (see syscall.go). It is made by NewAcceptor; its methods
// are safe for concurrent use.
type Acceptor struct {
	// Fixed at start.
	config    AcceptorConfig
	listener  *net.TCPListener
	listening syscall.RawConn
	set       set
	listenFD  int32
	local     net.Addr
	done      chan struct{} // closed when the goroutine has ended
	failed    chan error

	closing atomic.Bool
	waiting atomic.Int64

	// The goroutine's.
	events         []unix.EpollEvent
	here           map[int32]*Arrival // who is waited for, by descriptor
	oldest, newest *Arrival           // the same as a list, so that the oldest is cut first
	spare          *[ArrivalBytes]byte
	served         int           // since the others had their turn
	more           bool          // there may be more to accept
	retryAt        time.Time     // when accepting is tried again after it failed; zero: it has not
	pause          time.Duration // how long was waited for that
	wakeAt         time.Time     // when the wait ends at the latest; zero: never
	broken         error         // why accepting is over
}

// atOnce is how many connections are accepted, and how many are handed on, before those who were here before get their turn. When
// thousands come in one moment they wait in the kernel: goroutines that are ready run in the order in which they became so, and
// the pollers, which serve the connected, would stand behind thousands of handshakes.
const atOnce = 16

// NewAcceptor begins to accept. It takes the listener over, also if it fails.
func NewAcceptor(listener *net.TCPListener, config AcceptorConfig) (*Acceptor, error) {
	a := &Acceptor{config: config, listener: listener, local: listener.Addr(), done: make(chan struct{}), failed: make(chan error, 1),
		events: make([]unix.EpollEvent, eventsAtOnce), here: map[int32]*Arrival{}}
	if err := a.prepare(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go a.run()
	return a, nil
}

func (a *Acceptor) prepare() error {
	var err error
	if a.listening, err = a.listener.SyscallConn(); err != nil {
		return err
	}
	if a.set, err = newSet(); err != nil {
		return err
	}
	var errno syscall.Errno
	cerr := a.listening.Control(func(fd uintptr) {
		a.listenFD = int32(fd)
		// Accepted connections inherit it, which saves a call for each.
		if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err == nil {
			errno = a.set.add(a.listenFD, unix.EPOLLIN|unix.EPOLLET)
		}
	})
	switch {
	case cerr != nil:
		err = cerr
	case err != nil:
		err = fmt.Errorf("setsockopt of a listener: %w", err)
	case errno != 0:
		err = fmt.Errorf("epoll_ctl of a listener: %w", errno)
	}
	if err != nil {
		return errors.Join(err, a.set.file.Close())
	}
	return nil
}

// Failed returns a channel that says why accepting has ended, if it was not by Close.
func (a *Acceptor) Failed() <-chan error { return a.failed }

// Waiting returns how many clients have connected and not said enough.
func (a *Acceptor) Waiting() int { return int(a.waiting.Load()) }

// Close ends the listener and cuts who has not said enough. It returns net.ErrClosed if it was called before.
func (a *Acceptor) Close() error {
	if !a.closing.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	_ = a.set.file.Close() // ends the goroutine's wait
	<-a.done
	return a.listener.Close()
}

func (a *Acceptor) run() {
	defer close(a.done)
	defer a.cutAll()
	for {
		err := a.set.wait.Read(a.serve)
		if a.closing.Load() {
			return
		}
		if err == nil {
			err = a.broken
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			_ = a.set.file.Close()
			a.failed <- fmt.Errorf("accepting connections: %w", err)
			return
		}
		a.onTime(time.Now())
	}
}

// serve handles what has come. It returns false when nothing is left, to be called again when something comes, and true when
// accepting is over or has failed.
func (a *Acceptor) serve(epfd uintptr) (leave bool) {
	for !a.closing.Load() && a.broken == nil {
		n, errno := waitNow(epfd, a.events)
		if errno != 0 && errno != unix.EINTR {
			a.broken = errno
			return true
		}
		for i := range a.events[:max(0, n)] {
			if fd := a.events[i].Fd; fd == a.listenFD {
				a.more = true
			} else if arrival := a.here[fd]; arrival != nil {
				a.hear(arrival)
			}
		}
		if a.served >= atOnce {
			a.served = 0
			runtime.Gosched()
		}
		if a.more && a.retryAt.IsZero() {
			a.accept()
		} else if n < len(a.events) && errno == 0 {
			return false
		}
	}
	return true
}

// accept accepts some of those who have come.
func (a *Acceptor) accept() {
	now := time.Now()
	var errno syscall.Errno
	// The listener may be closed by somebody else at any time, and its number given to another file.
	err := a.listening.Control(func(listener uintptr) {
		for range atOnce {
			var fd int32
			var remote netip.AddrPort
			if fd, remote, errno = accept(listener); errno != 0 {
				return
			}
			a.welcome(&Arrival{fd: fd, remote: remote, local: a.local, deadline: now.Add(a.config.Patience)})
		}
	})
	switch {
	case err != nil:
		a.broken = err
	case errno == 0:
		a.pause = 0
	case errno == unix.EINTR, errno == unix.ECONNABORTED: // whoever it was is gone
	case errno == unix.EAGAIN:
		a.more, a.pause = false, 0
	case errno == unix.EBADF, errno == unix.EINVAL, errno == unix.ENOTSOCK, errno == unix.EFAULT, errno == unix.EOPNOTSUPP:
		a.broken = os.NewSyscallError("accept4", errno)
	default: // no descriptors or no memory are left
		a.pause = min(max(2*a.pause, 5*time.Millisecond), time.Second)
		a.retryAt = now.Add(a.pause)
		a.wakeBy(a.retryAt)
		a.config.Logger.Warn("connections cannot be accepted", "error", errno, "retry_after", a.pause.String())
	}
}

// welcome begins to wait for what an arrival says. Under load it has said it already.
func (a *Acceptor) welcome(arrival *Arrival) {
	if a.hear(arrival) {
		return
	}
	if errno := a.set.add(arrival.fd, interest); errno != 0 {
		a.config.Logger.Warn("a connection cannot be waited for", "error", errno)
		_ = arrival.Close()
		return
	}
	a.here[arrival.fd] = arrival
	a.waiting.Add(1)
	arrival.older = a.newest
	if a.newest != nil {
		a.newest.newer = arrival
	} else {
		a.oldest = arrival
		a.wakeBy(arrival.deadline)
	}
	a.newest = arrival
}

// hear reads what has come from an arrival. It returns true if there is nothing more to wait for.
func (a *Acceptor) hear(arrival *Arrival) (over bool) {
	if arrival.buffer == nil {
		if a.spare == nil {
			a.spare = arrivalBuffers.Get().(*[ArrivalBytes]byte)
		}
		arrival.buffer, a.spare = a.spare, nil
	}
	for arrival.length < ArrivalBytes {
		n, errno := read(arrival.fd, arrival.buffer[arrival.length:])
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			if arrival.length == 0 {
				a.spare, arrival.buffer = arrival.buffer, nil
			}
			return false
		case (errno != 0 || n == 0) && arrival.length == 0:
			a.forget(arrival)
			_ = arrival.Close()
			return true
		}
		arrival.length += max(0, n)
		if n <= 0 || a.config.Enough(arrival.Bytes()) {
			break
		}
	}
	if a.forget(arrival) {
		a.set.drop(arrival.fd)
	}
	a.served++
	go a.hand(arrival)
	return true
}

// hand gives an arrival to who serves it.
func (a *Acceptor) hand(arrival *Arrival) {
	defer arrival.giveBufferBack()
	a.config.Serve(arrival)
}

// forget takes an arrival out of those who are waited for. It returns false if it was not among them.
func (a *Acceptor) forget(arrival *Arrival) bool {
	if a.here[arrival.fd] != arrival {
		return false
	}
	delete(a.here, arrival.fd)
	a.waiting.Add(-1)
	if arrival.older != nil {
		arrival.older.newer = arrival.newer
	} else {
		a.oldest = arrival.newer
	}
	if arrival.newer != nil {
		arrival.newer.older = arrival.older
	} else {
		a.newest = arrival.older
	}
	arrival.older, arrival.newer = nil, nil
	return true
}

// wakeBy has the wait end at a time at the latest.
func (a *Acceptor) wakeBy(when time.Time) {
	if a.wakeAt.IsZero() || when.Before(a.wakeAt) {
		a.wakeAt = when
		_ = a.set.file.SetReadDeadline(when) // it fails only when the wait has ended for good
	}
}

// onTime cuts those who have taken too long, and accepts again after a pause.
func (a *Acceptor) onTime(now time.Time) {
	for a.oldest != nil && !now.Before(a.oldest.deadline) {
		a.cut(a.oldest)
	}
	if !now.Before(a.retryAt) {
		a.retryAt = time.Time{}
	}
	a.wakeAt = time.Time{}
	_ = a.set.file.SetReadDeadline(time.Time{}) // as in wakeBy
	if a.oldest != nil {
		a.wakeBy(a.oldest.deadline)
	}
	if !a.retryAt.IsZero() {
		a.wakeBy(a.retryAt)
	}
}

// cut lets go of somebody who is waited for.
func (a *Acceptor) cut(arrival *Arrival) {
	a.forget(arrival)
	arrival.giveBufferBack()
	_ = arrival.Close() // nothing is lost with it
}

func (a *Acceptor) cutAll() {
	for a.oldest != nil {
		a.cut(a.oldest)
	}
}
