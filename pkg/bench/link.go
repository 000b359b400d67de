package bench

import (
	"net"
	"time"
)

// link carries the bytes of one connection. Its methods are called with the generator's lock held and never block.
type link interface {
	// start begins to hand over what comes, by Generator.received and, at the end, Generator.connEnded.
	start(c *Conn) error
	// send writes p or keeps a copy of what the socket does not take.
	send(p []byte)
	// close lets go of the connection at once. It may be called more than once.
	close()
}

// poller waits for sockets and for time. Only the event loop calls wait, dispatch and arm.
type poller interface {
	// adopt takes a connection over.
	adopt(net.Conn) (link, error)
	// arm sets how long the next wait may last.
	arm(time.Duration)
	wait()
	// dispatch hands what came to the connections. The lock is held.
	dispatch(*Generator)
	// wake ends a wait early. It may be called from anywhere.
	wake()
	close()
}

// streamLink is a link over any net.Conn, with a goroutine to read and, while something is to be written, one to write. It
// serves TLS, and systems without epoll.
type streamLink struct {
	conn net.Conn

	// Guarded by the generator's lock.
	owner   *Conn
	out     []byte
	writing bool
	closed  bool
}

func (l *streamLink) start(c *Conn) error {
	l.owner = c
	go l.read()
	return nil
}

func (l *streamLink) read() {
	g := l.owner.generator
	buffer := make([]byte, 4<<10)
	for {
		n, err := l.conn.Read(buffer)
		g.mu.Lock()
		g.now = g.elapsed()
		if n > 0 && l.owner.state != connGone {
			g.received(l.owner, buffer[:n])
		}
		if err != nil {
			g.connEnded(l.owner, err)
		}
		g.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *streamLink) send(p []byte) {
	if l.closed {
		return
	}
	l.out = append(l.out, p...)
	if !l.writing {
		l.writing = true
		go l.write()
	}
}

// write writes until nothing is left.
func (l *streamLink) write() {
	g := l.owner.generator
	for {
		g.mu.Lock()
		p := l.out
		l.out = nil
		if len(p) == 0 || l.closed {
			l.writing = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		if _, err := l.conn.Write(p); err != nil {
			return // the reader sees it too
		}
	}
}

// close gives the last bytes, a close frame, no chance to hold the generator up: what is not written is lost.
func (l *streamLink) close() {
	if !l.closed {
		l.closed = true
		go func() { _ = l.conn.Close() }() // TLS says goodbye, which may block
	}
}
