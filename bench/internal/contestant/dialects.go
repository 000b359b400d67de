package contestant

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/wscluster/wscluster/pkg/bench"
)

// bare knows the room from the address and has no answers. Whoever connects with publish=1 may publish.
type bare struct{}

func (bare) Handshake(client int) (string, http.Header) {
	if client == 0 { // there is one publisher, the first client
		return "room=all&publish=1", nil
	}
	return "room=all", nil
}

func (bare) Opcode() byte                                              { return bench.OpText }
func (bare) Acks() bool                                                { return false }
func (bare) Opened(c *bench.Conn)                                      { c.JoinedAll() }
func (bare) Received(c *bench.Conn, p []byte)                          { c.DeliveredAll(p) }
func (bare) AppendPublish(dst []byte, _ string, _, data []byte) []byte { return append(dst, data...) }

// textbook is JSON with type, room_id and data. Joins are answered, publishes are not.
type textbook struct{}

var joinedFrame = []byte(`{"type":"joined"}`)

func (textbook) Handshake(int) (string, http.Header) { return "", nil }
func (textbook) Opcode() byte                        { return bench.OpText }
func (textbook) Acks() bool                          { return false }

func (textbook) Opened(c *bench.Conn) {
	for m := range c.Rooms {
		c.Send([]byte(`{"type":"join","room_id":` + strconv.Quote(m.Name) + `}`))
	}
}

func (textbook) Received(c *bench.Conn, p []byte) {
	if bytes.Equal(p, joinedFrame) {
		c.Joined(1)
		return
	}
	c.DeliveredAll(p)
}

func (textbook) AppendPublish(dst []byte, room string, _, data []byte) []byte {
	dst = append(dst, `{"type":"publish","room_id":"`...)
	dst = append(dst, room...)
	dst = append(dst, `","data":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}

// centrifuge is its JSON protocol: a frame holds replies, one a line; {} is a ping and its answer.
type centrifuge struct{}

func (centrifuge) Handshake(int) (string, http.Header) { return "", nil }
func (centrifuge) Opcode() byte                        { return bench.OpText }
func (centrifuge) Acks() bool                          { return false }

// Opened sends command 1, which connects, then one for each room. Publishes are number 2: the server answers each, but the
// answers carry no stamp, so nobody waits for them.
func (centrifuge) Opened(c *bench.Conn) {
	c.Send([]byte(`{"id":1,"connect":{}}`))
	for m := range c.Rooms {
		c.Send([]byte(`{"id":` + strconv.Itoa(subscribeID+m.Place) + `,"subscribe":{"channel":` + strconv.Quote(m.Name) + `}}`))
	}
}

const subscribeID = 1_000_000_000

func (centrifuge) Received(c *bench.Conn, p []byte) {
	for line := range bytes.Lines(p) {
		line = bytes.TrimSpace(line)
		switch {
		case bytes.Equal(line, []byte("{}")):
			c.Send([]byte("{}"))
		case bytes.HasPrefix(line, []byte(`{"id":1`)):
			if bytes.Contains(line, []byte(`"subscribe":{`)) {
				c.Joined(1)
			} else if bytes.Contains(line, []byte(`"error":{`)) {
				c.Failed(nil, "error")
			}
		default:
			c.DeliveredAll(line)
		}
	}
}

func (centrifuge) AppendPublish(dst []byte, room string, _, data []byte) []byte {
	dst = append(dst, `{"id":2,"publish":{"channel":"`...)
	dst = append(dst, room...)
	dst = append(dst, `","data":`...)
	dst = append(dst, data...)
	return append(dst, `}}`...)
}

// nats is the NATS client protocol in binary frames. A frame holds whatever the server had to send, whole messages.
type nats struct{}

func (nats) Handshake(int) (string, http.Header) { return "", nil }
func (nats) Opcode() byte                        { return bench.OpBinary }
func (nats) Acks() bool                          { return false }

func (nats) Opened(c *bench.Conn) {
	c.Send([]byte("CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"go\",\"version\":\"1\",\"protocol\":1}\r\n"))
	for m := range c.Rooms {
		c.Send([]byte("SUB " + m.Name + " " + strconv.Itoa(m.Place+1) + "\r\n"))
	}
	c.Send([]byte("PING\r\n"))
}

func (nats) Received(c *bench.Conn, p []byte) {
	switch {
	case bytes.HasPrefix(p, []byte("PONG")):
		c.JoinedAll()
	case bytes.HasSuffix(p, []byte("PING\r\n")):
		c.Send([]byte("PONG\r\n"))
	}
	c.DeliveredAll(p)
}

func (nats) AppendPublish(dst []byte, room string, _, data []byte) []byte {
	dst = append(dst, "PUB "...)
	dst = append(dst, room...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(data)), 10)
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}
