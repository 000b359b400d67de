package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Queued returns how many bytes wait because the client has not taken them yet.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queuedBytes
}

// maxVectors is how many queued buffers one writev takes along.
const maxVectors = 64

func (c *Conn) sendLocked(b *Buffer) {
	if c.state != open || len(b.B) == 0 {
		return
	}
	if c.deflate {
		b = b.deflated()
	}
	if len(c.queue) > 0 && c.overLocked(len(b.B)) {
		c.closeLocked(closeSlowConsumer, "the client reads too slowly", SlowConsumer)
		return
	}
	c.transmitLocked(b)
}

// transmitLocked writes or queues b, whatever the bounds and the state are.
func (c *Conn) transmitLocked(b *Buffer) {
	if c.answer != nil {
		first := NewBuffer()
		defer first.Release()
		first.B = append(append(first.B, c.answer...), b.B...)
		b, c.answer = first, nil
	}
	if c.tls != nil {
		c.encryptLocked(b.B)
		return
	}
	from := 0
	if len(c.queue) == 0 {
		n, ok := c.writeLocked(b.B)
		if !ok || n == len(b.B) {
			return
		}
		from = n
	}
	c.queueLocked(b, from)
}

func (c *Conn) queueLocked(b *Buffer, from int) {
	b.retain()
	c.queue = append(c.queue, queued{b, from})
	c.countQueued(len(b.B) - from)
}

// closeSlowConsumer is protocol.CloseSlowConsumer; this package knows only the codes that it has to send by itself.
const closeSlowConsumer = 4408

// overLocked tells whether n more bytes may not be queued. It is asked only when something is queued already, so a single
// buffer may be larger than the bound: it was the socket that could not take it whole.
func (c *Conn) overLocked(n int) bool {
	config := &c.poller.reactor.config
	if c.queuedBytes+n > config.SendQueueBytes() {
		return true
	}
	return config.MaxQueuedBytes > 0 && c.poller.reactor.queuedBytes.Load()+int64(n) > config.MaxQueuedBytes
}

// writeLocked writes p until the socket takes no more; the kernel then tells the poller when there is room again.
// It returns false when the connection broke.
func (c *Conn) writeLocked(p []byte) (int, bool) {
	written, errno := writeAll(c.fd, p)
	switch errno {
	case 0:
		return written, true
	case unix.EAGAIN:
		return written, c.awaitRoomLocked()
	}
	c.breakLocked()
	return written, false
}

// awaitRoomLocked has the kernel tell the poller when there is room, from the first time that there is none on. It returns false
// when the connection broke.
func (c *Conn) awaitRoomLocked() bool {
	if c.wantsRoom {
		return true
	}
	c.wantsRoom = true
	if c.inSet && c.tellSetLocked(unix.EPOLL_CTL_MOD) != 0 { // room that came meanwhile raises an event too
		c.breakLocked()
		return false
	}
	return true
}

// tellSetLocked puts the connection into its poller's set, or changes what it waits for there.
func (c *Conn) tellSetLocked(operation int) syscall.Errno {
	events := uint32(interest)
	// With TLS what came right behind the handshake may wait inside crypto/tls, and no other event tells of it than
	// that the socket can be written to.
	if c.wantsRoom || c.tls != nil {
		events |= unix.EPOLLOUT
	}
	return control(c.poller.set.epfd, operation, c.fd, events)
}

// flush writes what is queued, on the poller's goroutine, when the kernel says that there is room.
func (c *Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var vectors [maxVectors][]byte
	for len(c.queue) > 0 && c.state < broken {
		n := 0
		for n < len(c.queue) && n < maxVectors {
			vectors[n] = c.queue[n].buffer.B[c.queue[n].from:]
			n++
		}
		written, err := unix.Writev(int(c.fd), vectors[:n])
		switch err {
		case nil:
			c.consumeLocked(written)
		case unix.EINTR:
		case unix.EAGAIN:
			return
		default:
			c.breakLocked()
			return
		}
	}
	if len(c.queue) == 0 {
		c.queue = nil
		if c.state == closing {
			c.postLocked()
		}
	}
}

// consumeLocked takes n written bytes off the queue.
func (c *Conn) consumeLocked(n int) {
	c.countQueued(-n)
	done := 0
	for n > 0 {
		q := &c.queue[done]
		rest := len(q.buffer.B) - q.from
		if n < rest {
			q.from += n
			break
		}
		n -= rest
		q.buffer.Release()
		done++
	}
	left := copy(c.queue, c.queue[done:])
	clear(c.queue[left:]) // or it would keep others' buffers alive
	c.queue = c.queue[:left]
}
