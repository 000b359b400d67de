package bench

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// client is one client over all of its connections.
type client struct {
	number int
	// url is the address of the next connection.
	url int
	// current is the connection in use; nil while there is none.
	current *Conn
	// former is the connection before current, as long as it may owe answers.
	former *Conn
	// pending is true while another connection is to be opened or being opened, up to its last join.
	pending bool
	// moving is true while a new connection is opened before the old one is left.
	moving   bool
	attempts int
	lostAt   time.Duration // when current was lost; 0: it was not, or never was
	closed   bool          // does not come back
	// positions are by place; nil without history.
	positions []position
}

type position struct {
	epoch  string
	offset int64
}

// Conn is one connection of a client, from its handshake on. Dialects use it.
type Conn struct {
	generator *Generator
	client    *client
	link      link
	parser    parser
	number    uint32 // tells the check which connection it was
	opened    time.Duration
	joined    int // rooms confirmed
	wanted    int
	ready     bool
	told      bool // the server said that it is to be left
	state     connState
	code      int // of the server's close frame; 0: none
	node      string
	heard     time.Duration // when something came
	// unanswered are publishes that got neither an ack nor an error.
	unanswered int
	patience   time.Duration // how long it may be silent; 0: for ever
}

type connState uint8

const (
	connOpen    connState = iota
	connLeaving           // we sent a close frame
	connGone
)

const (
	// leaveAfter is how long an old connection is kept beside the new one, for what is still on its way to it.
	// Shorter than a gateway's patience with clients that it has asked to go, longer than a busy machine takes.
	leaveAfter = 3 * time.Second
	// closeWait is how long a server may take to answer a close frame.
	closeWait = 5 * time.Second
	// lastWait is that at the generator's own end.
	lastWait = time.Second
	// noCloseFrame is RFC 6455's code for a connection that ended without a close frame; it never travels.
	noCloseFrame = 1006
)

type dialJob struct {
	client  *client
	address string
}

// dial opens a connection for the client. The caller holds the lock.
func (g *Generator) dial(c *client) {
	if g.closing || c.closed {
		return
	}
	c.pending = true
	g.dials <- dialJob{c, g.options.URLs[c.url%len(g.options.URLs)]}
}

// dialLoop makes handshakes, no faster than the rate.
func (g *Generator) dialLoop() {
	pause := time.Duration(float64(time.Second) / g.options.ConnectRate * dialers)
	for job := range g.dials {
		begin := time.Now()
		if g.ctx.Err() != nil {
			continue
		}
		conn, rest, err := g.openLink(job)
		g.mu.Lock()
		g.now = g.elapsed()
		if err == nil {
			err = g.connOpened(job.client, conn, rest, begin)
		}
		if err != nil {
			g.dialFailed(job.client, err)
		}
		g.mu.Unlock()
		if left := pause - time.Since(begin); left > 0 {
			select {
			case <-time.After(left):
			case <-g.ctx.Done():
			}
		}
	}
}

func (g *Generator) openLink(job dialJob) (link, []byte, error) {
	conn, rest, err := g.handshakeWith(g.ctx, job.client.number, job.address)
	if err != nil {
		return nil, nil, err
	}
	l, err := g.poller.adopt(conn)
	return l, rest, err
}

// connOpened takes a connection over after its handshake.
func (g *Generator) connOpened(owner *client, l link, rest []byte, begin time.Time) error {
	if g.closing {
		l.close()
		return nil
	}
	g.nextConn++
	g.rooms = g.topology.appendRooms(g.rooms[:0], owner.number)
	c := &Conn{generator: g, client: owner, link: l, number: g.nextConn, wanted: len(g.rooms), opened: begin.Sub(g.start)}
	g.conns[c] = struct{}{}
	if err := l.start(c); err != nil {
		delete(g.conns, c)
		l.close()
		return err
	}
	g.connects++
	g.options.Dialect.Opened(c)
	if c.wanted == 0 && c.state == connOpen {
		g.connReady(c)
	}
	if len(rest) > 0 && c.state != connGone {
		g.received(c, rest)
	}
	return nil
}

// dialFailed tries again later.
func (g *Generator) dialFailed(c *client, err error) {
	var refused *refusedError
	var errno syscall.Errno
	var least time.Duration
	switch {
	case errors.As(err, &refused):
		g.connectFails[refused.Error()]++
		least = refused.retryAfter
	case errors.As(err, &errno):
		g.connectFails[errno.Error()]++ // the whole text has addresses in it
	default:
		g.connectFails[err.Error()]++
	}
	if len(g.connectFails) > maxKinds {
		clear(g.connectFails) // addresses and times in error texts must not fill memory
		g.connectFails["various"]++
	}
	g.fault()
	if refused != nil && refused.status < 500 && refused.status != 429 {
		g.giveUp(c)
		return
	}
	g.retry(c, least)
}

const maxKinds = 100

// retry opens a connection after a random part of a bound that doubles (full jitter), at the next address.
func (g *Generator) retry(c *client, least time.Duration) {
	if g.options.StayClosed {
		g.giveUp(c)
		return
	}
	bound := min(g.options.MaxBackoff, g.options.Backoff<<min(c.attempts, 16))
	c.attempts++
	c.url++
	c.pending = true
	g.after(least+rand.N(bound+1), func() { g.dial(c) })
}

func (g *Generator) giveUp(c *client) {
	c.pending = false
	if !c.closed {
		c.closed = true
		g.givenUp++
		g.notify()
	}
}

// connReady makes a connection that has joined its rooms the client's current one.
func (g *Generator) connReady(c *Conn) {
	c.ready = true
	owner := c.client
	owner.pending, owner.attempts = false, 0
	if old := owner.current; old != nil {
		owner.former = old
		g.after(leaveAfter, func() { g.connLeave(old) })
	} else {
		g.ready++
		g.countMembers(owner, 1)
	}
	if owner.lostAt != 0 {
		g.recovery.add(g.now - owner.lostAt)
	} else if !owner.moving {
		g.connectTime.add(g.now - c.opened)
	}
	if owner.moving {
		g.moved++
	}
	owner.current, owner.lostAt, owner.moving = c, 0, false
	if g.check != nil {
		g.check.joined(owner.number, g.now)
	}
	g.notify()
}

// publisher returns the connection to publish on; nil if there is none now. A client that has moved first waits for the answers
// on its old connection: two gateways do not keep the order of what one client sends through both.
func (c *client) publisher() *Conn {
	if former := c.former; former != nil && former.state == connOpen && former.unanswered > 0 {
		return nil
	}
	c.former = nil
	if c.current == nil || c.current.state != connOpen {
		return nil
	}
	return c.current
}

func (g *Generator) countMembers(c *client, n int32) {
	g.rooms = g.topology.appendRooms(g.rooms[:0], c.number)
	for _, room := range g.rooms {
		g.members[room] += n
	}
}

// connMoving opens a new connection while the old one stays in use.
func (g *Generator) connMoving(c *Conn, delay time.Duration) {
	owner := c.client
	c.told = true
	if owner.current != c || owner.pending {
		return
	}
	owner.moving, owner.pending = true, true
	owner.url++
	g.after(delay, func() { g.dial(owner) })
}

// connLeave sends a close frame and cuts the connection if the answer does not come.
func (g *Generator) connLeave(c *Conn) {
	if c.state != connOpen {
		return
	}
	c.state = connLeaving
	g.frame = appendClose(g.frame[:0], uint16(protocol.CloseNormal))
	c.link.send(g.frame)
	wait := closeWait
	if g.closing {
		wait = lastWait
	}
	g.after(wait, func() { g.connEnded(c, nil) })
}

// received handles bytes that came.
func (g *Generator) received(c *Conn, p []byte) {
	c.heard = g.now
	err := c.parser.feed(p, func(op byte, payload []byte) bool {
		switch op {
		case OpText, OpBinary:
			g.options.Dialect.Received(c, payload)
		case opPing:
			c.sendFrame(opPong, payload)
		case opClose:
			c.code = noCloseFrame
			if len(payload) >= 2 {
				c.code = int(binary.BigEndian.Uint16(payload))
			}
			if c.state == connOpen {
				g.frame = appendFrame(g.frame[:0], opClose, payload[:min(2, len(payload))])
				c.link.send(g.frame)
			}
			g.connEnded(c, nil)
			return false
		}
		return c.state != connGone
	})
	if err != nil {
		g.connEnded(c, err)
	}
}

// connEnded counts the end of a connection and has its client come back. It may be called more than once.
func (g *Generator) connEnded(c *Conn, err error) {
	if c.state == connGone {
		return
	}
	ours := c.state == connLeaving
	c.state = connGone
	c.link.close()
	delete(g.conns, c)
	defer g.notify()
	if ours || g.closing {
		return
	}
	code := c.code
	if code == 0 {
		code = noCloseFrame
	}
	g.closes[code]++
	// Being told to go and closed with "restart" is how a gateway leaves; everything else is nobody's wish.
	if !c.told || code != int(protocol.CloseRestart) {
		g.unexpected[code]++
		g.fault()
		g.options.Logger.Debug("a connection ended", "client", c.client.number, "code", code, "error", err)
	}
	g.clientLost(c, code)
}

// clientLost brings a client back whose connection is gone.
func (g *Generator) clientLost(c *Conn, code int) {
	owner := c.client
	if owner.current == c {
		owner.current, owner.lostAt = nil, g.now
		g.ready--
		g.countMembers(owner, -1)
		if g.check != nil {
			g.check.left(owner.number, g.now)
		}
		if owner.pending {
			return // the next one is on its way
		}
	} else if c.ready {
		return // the old one of two
	}
	if !protocol.CloseCode(code).Reconnect() {
		g.giveUp(owner)
		return
	}
	g.retry(owner, 0)
}

// fault remembers that something was wrong just now.
func (g *Generator) fault() {
	if g.check != nil {
		g.check.fault(g.now)
	}
}

// sendFrame sends one message or control frame.
func (c *Conn) sendFrame(op byte, payload []byte) {
	if c.state != connOpen {
		return
	}
	g := c.generator
	g.frame = appendFrame(g.frame[:0], op, payload)
	c.link.send(g.frame)
}
