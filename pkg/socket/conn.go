package socket

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Handler is told what a client sends. Its methods are called from one goroutine at a time, a poller's, which serves many
// connections: they must not block.
type Handler interface {
	// Text hands over one complete text message of valid UTF-8. p is borrowed: it is overwritten after Text returns.
	Text(p []byte)
	// Closed says that the connection is over: nothing more comes from it, and Send drops. It is called once, last.
	Closed(Reason)
}

// Conn is one WebSocket connection after its handshake. Send, Close and Abort are safe for concurrent use and never block.
type Conn struct {
	// Fixed at start.
	fd      int32
	poller  *poller
	handler Handler
	deflate bool      // permessage-deflate was agreed on
	tls     *tls.Conn // nil: plain; its use is guarded by mu

	// The poller goroutine's.
	partial   []byte        // bytes of a frame of which more has to come; nil while there are none
	message   []byte        // payloads of the fragments of an unfinished message
	inMessage bool          // a first fragment has come, its last has not
	deflated  bool          // the unfinished message is compressed
	deaf      bool          // the client broke the protocol: nothing that it sends is read any more
	peerClose bool          // the client's close frame came
	hungUp    bool          // the client sends no more: what is still to be read ends with the stream's end
	told      bool          // handler.Closed was called
	again     bool          // waits in poller.again
	lastRead  time.Duration // times are measured from the reactor's start
	lingerEnd time.Duration // when a closing connection is cut; 0: it is not closing
	watched   bool          // is in poller.watched
	gone      bool          // the poller has let go of it

	turn, index int32 // place in poller.turns; guarded by its lock

	ended atomic.Bool // state is not open; read without mu

	// Guarded by mu.
	mu          sync.Mutex
	state       state
	reason      Reason
	started     bool     // the poller knows the connection
	posted      bool     // waits in poller.posted
	inSet       bool     // of the poller's epoll set
	wantsRoom   bool     // the set tells when there is room to write
	answer      []byte   // to the handshake, while nothing was sent; nil: sent
	queue       []queued // what the socket did not take
	queuedBytes int
}

// state goes only upwards.
type state uint8

const (
	open    state = iota
	closing       // a close frame is sent or queued: nothing may follow it
	broken        // the descriptor is of no use any more, but still ours
	closed        // the descriptor is given back
)

// queued is a part of a shared buffer that still has to be written.
type queued struct {
	buffer *Buffer
	from   int
}

// Start registers the connection with its poller: from now on handler is called. It is called once; a connection that was
// upgraded must be started, also if it is to be closed at once. On an error the connection is gone and handler is never called.
func (c *Conn) Start(handler Handler) error {
	if err := c.poller.register(c, handler); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	if c.answer != nil && c.state < broken {
		nothing := NewBuffer()
		c.transmitLocked(nothing)
		nothing.Release()
	}
	if c.state != open {
		c.postLocked() // Close came before Start
	}
	return nil
}

// Send writes the frames in b, as much as the socket takes, and queues the rest. It never blocks. A connection whose queue
// would hold more than Config.SendQueueBytes is closed with SlowConsumer. After the connection's end Send does nothing.
// The caller keeps its reference on b.
func (c *Conn) Send(b *Buffer) {
	c.mu.Lock()
	c.sendLocked(b)
	c.mu.Unlock()
}

// Close sends what is queued, then a close frame, waits a moment for the client's, and lets go of the connection.
// Only the first call counts.
func (c *Conn) Close(code uint16, text string, reason Reason) {
	c.mu.Lock()
	c.closeLocked(code, text, reason)
	c.mu.Unlock()
}

// Abort ends the connection without a closing handshake.
func (c *Conn) Abort(reason Reason) {
	c.mu.Lock()
	if c.state < closing {
		c.reason = reason
	}
	c.breakLocked()
	c.mu.Unlock()
}

func (c *Conn) closeLocked(code uint16, text string, reason Reason) {
	if c.state != open {
		return
	}
	c.reason, c.state = reason, closing
	c.ended.Store(true)
	if reason == SlowConsumer {
		c.dropQueueLocked()
	}
	b := NewBuffer()
	b.B = appendClose(b.B, code, text)
	c.transmitLocked(b)
	b.Release()
	c.postLocked()
}

// dropQueueLocked forgets what is queued but for the rest of a frame that the client has already got a part of. Ciphertext
// cannot be left out.
func (c *Conn) dropQueueLocked() {
	if c.tls != nil {
		return
	}
	keep := 0
	if len(c.queue) > 0 && c.queue[0].from > 0 {
		keep = 1
	}
	for _, q := range c.queue[keep:] {
		c.countQueued(-(len(q.buffer.B) - q.from))
		q.buffer.Release()
	}
	clear(c.queue[keep:])
	c.queue = c.queue[:keep]
}

// breakLocked gives the connection up; the poller closes the descriptor.
func (c *Conn) breakLocked() {
	if c.state >= broken {
		return
	}
	if c.state == open && c.reason == ClientClosed {
		c.reason = ClientGone
	}
	c.state = broken
	c.ended.Store(true)
	for _, q := range c.queue {
		c.countQueued(-(len(q.buffer.B) - q.from))
		q.buffer.Release()
	}
	c.queue = nil
	c.postLocked()
}

func (c *Conn) postLocked() {
	if c.started && !c.posted {
		c.posted = true
		c.poller.post(c)
	}
}

// countQueued keeps the queue's size here and in the sum of all connections.
func (c *Conn) countQueued(n int) {
	c.queuedBytes += n
	c.poller.reactor.queuedBytes.Add(int64(n))
}

// closeDescriptor gives the descriptor back. Only the poller's goroutine calls it.
func (c *Conn) closeDescriptor() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == closed {
		return
	}
	if c.tls != nil && c.state < broken {
		_ = c.tls.CloseWrite() // tells the client that this end is no cut; who is gone need not be told
	}
	c.breakLocked()
	c.state = closed
	_ = unix.Close(int(c.fd)) // the only error that matters, EBADF, would be a bug of ours that tests see as a lost connection
}
