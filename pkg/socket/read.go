package socket

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A turn bounds how much one connection may read before the others get theirs.
const readsPerTurn = 8

// readable reads what has come, on the poller's goroutine, and hands complete messages to the handler.
// It returns true if the connection's turn ended before its bytes did.
func (c *Conn) readable(scratch []byte) (again bool) {
	if c.tls != nil {
		return c.readableTLS(scratch)
	}
	for range readsPerTurn {
		n, errno := read(c.fd, scratch)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return false
		case errno != 0 || n == 0:
			c.mu.Lock()
			c.breakLocked()
			c.mu.Unlock()
			return false
		}
		c.lastRead = c.poller.now
		c.feed(scratch[:n])
		if n < len(scratch) && !c.hungUp {
			return false // the socket is empty: the next bytes, or the end, raise a new edge
		}
	}
	return true
}

// readableTLS is readable for TLS, where only a read that brings nothing tells that all was read.
func (c *Conn) readableTLS(scratch []byte) (again bool) {
	for range readsPerTurn {
		n, err := c.decrypt(scratch)
		if err != nil {
			c.mu.Lock()
			c.breakLocked()
			c.mu.Unlock()
			return false
		}
		if n == 0 {
			return false
		}
		c.lastRead = c.poller.now
		c.feed(scratch[:n])
	}
	return true
}

// feed takes the bytes that came after those in c.partial.
func (c *Conn) feed(p []byte) {
	if c.partial != nil {
		c.partial = append(c.partial, p...)
		p = c.partial
	}
	consumed, want := c.parse(p)
	rest := p[consumed:]
	switch {
	case len(rest) == 0 || c.over():
		c.partial = nil
	case c.partial != nil && consumed == 0: // more of the same frame: to copy it again for every piece would be quadratic
	default:
		// What a header promises is not yet memory: a client has to send half of what it makes us keep.
		c.partial = append(make([]byte, 0, max(len(rest), min(want, 2*len(rest)+512))), rest...)
	}
}

// over tells whether what still comes from the client is thrown away: its close frame came, or it broke the protocol.
func (c *Conn) over() bool { return c.peerClose || c.deaf }

// parse handles all whole frames at the start of p and returns their length, and how long the frame after them will be (as
// far as its header is known).
func (c *Conn) parse(p []byte) (consumed, want int) {
	for !c.over() {
		b := p[consumed:]
		if len(b) < 2 {
			return consumed, 0
		}
		header, size := 2, uint64(b[1]&^maskBit)
		switch size {
		case 126:
			header = 4
		case 127:
			header = 10
		}
		if len(b) < header {
			return consumed, header
		}
		switch header {
		case 4:
			size = uint64(binary.BigEndian.Uint16(b[2:]))
		case 10:
			size = binary.BigEndian.Uint64(b[2:])
		}
		if !c.checkHeader(b[0], b[1], size) {
			return consumed, 0
		}
		total := header + 4 + int(size)
		if len(b) < total {
			return consumed, total
		}
		payload := b[header+4 : total]
		unmask(payload, [4]byte(b[header:]))
		consumed += total
		c.frame(b[0], payload)
	}
	return consumed, 0
}

// checkHeader fails the connection and returns false if a frame with these first two bytes and size may not come now.
func (c *Conn) checkHeader(first, second byte, size uint64) bool {
	op, fin := first&0x0F, first&finBit != 0
	switch {
	case first&reservedBits != 0 || first&compressedBit != 0 && !(c.deflate && op == opText):
		return c.fail(1002, "a reserved bit is set")
	case second&maskBit == 0:
		return c.fail(1002, "frames from a client must be masked")
	case op >= opClose && (!fin || second&^maskBit > maxControl):
		return c.fail(1002, "a control frame must be whole and at most 125 bytes")
	case op > opBinary && op < opClose || op > opPong:
		return c.fail(1002, "a reserved opcode is used")
	case op == opContinuation && !c.inMessage:
		return c.fail(1002, "a continuation without a beginning")
	case (op == opText || op == opBinary) && c.inMessage:
		return c.fail(1002, "a new message before the end of the last one")
	case op == opBinary:
		return c.fail(1003, "only text frames are understood")
	case op < opClose && size > uint64(max(0, c.poller.reactor.config.MaxMessageBytes()-len(c.message))):
		return c.fail(1009, "the message is too large")
	}
	return true
}

// frame handles one whole frame. Once we have closed, only the client's close frame matters.
func (c *Conn) frame(first byte, payload []byte) {
	op := first & 0x0F
	if c.ended.Load() && op != opClose {
		return
	}
	switch op {
	case opPing:
		b := NewBuffer()
		b.B = append(appendHeader(b.B, finBit|opPong, len(payload)), payload...)
		c.Send(b)
		b.Release()
	case opPong:
	case opClose:
		c.closeFrame(payload)
	default:
		c.data(first, payload)
	}
}

// data handles a text frame or a continuation.
func (c *Conn) data(first byte, payload []byte) {
	fin := first&finBit != 0
	if !c.inMessage {
		c.deflated = first&compressedBit != 0
		if fin {
			c.text(payload)
			return
		}
	}
	c.inMessage = !fin
	c.message = append(c.message, payload...)
	if fin {
		message := c.message
		c.message = nil
		c.text(message)
	}
}

func (c *Conn) text(message []byte) {
	if c.deflated {
		var err error
		switch message, err = inflate(message, c.poller.reactor.config.MaxMessageBytes()); {
		case errors.Is(err, errTooLarge):
			c.fail(1009, "the message is too large")
			return
		case err != nil:
			c.fail(1007, "the message cannot be decompressed")
			return
		}
	}
	if !utf8.Valid(message) {
		c.fail(1007, "text must be valid UTF-8")
		return
	}
	c.handler.Text(message)
}

// closeFrame answers the client's close frame with its own code and ends the connection.
func (c *Conn) closeFrame(payload []byte) {
	code := uint16(1000)
	switch {
	case len(payload) == 1:
		c.fail(1002, "a close frame of one byte")
		return
	case len(payload) >= 2:
		code = binary.BigEndian.Uint16(payload)
		if !validCloseCode(code) {
			c.fail(1002, "a close code that may not be sent")
			return
		}
		if !utf8.Valid(payload[2:]) {
			c.fail(1007, "a close reason must be valid UTF-8")
			return
		}
	}
	c.peerClose = true
	c.Close(code, "", ClientClosed)
	c.mu.Lock()
	c.postLocked() // also if we closed first, so that the poller hangs up: RFC 6455 wants the server to be the first
	c.mu.Unlock()
}

// validCloseCode follows RFC 6455, section 7.4, and the registry of codes: 1004 to 1006 and 1015 never travel.
func validCloseCode(code uint16) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// fail closes the connection for what the client did; it always returns false.
func (c *Conn) fail(code uint16, text string) bool {
	c.Close(code, text, ProtocolError)
	c.deaf = true
	return false
}

// tell calls handler.Closed once.
func (c *Conn) tell(reason Reason) {
	if !c.told {
		c.told = true
		c.message = nil
		c.handler.Closed(reason)
	}
}
