package bench

import (
	"net/http"
	"time"
)

// Dialect is what a server speaks inside WebSocket messages. Its methods are called with the generator's lock held: they must
// not block, nor call anything of the generator but the methods of the Conn that they are given.
type Dialect interface {
	// Handshake returns the query to append to the address, without "?", and headers for a client's handshake.
	Handshake(client int) (query string, header http.Header)
	// Opcode is the kind of message that the server wants: OpText or OpBinary.
	Opcode() byte
	// Opened is called once a connection has its handshake: it sends the joins of c.Rooms().
	Opened(c *Conn)
	// Received is called for every message. p is borrowed. It calls c.Delivered, c.Joined, c.Acked and so on.
	Received(c *Conn, p []byte)
	// AppendPublish appends the message that publishes data, a JSON string, to the room. id may be used to match the answer.
	AppendPublish(dst []byte, room string, id, data []byte) []byte
	// Acks tells whether publishes are answered.
	Acks() bool
}

// Member is a room that a connection is to be in.
type Member struct {
	// Place is the room's number among the connection's rooms: 0, 1, …
	Place int
	Name  string
	// Epoch and Offset are where the client was in the room's log; 0: nowhere.
	Epoch  string
	Offset int64
}

// Rooms calls yield with each room that the connection has to join.
func (c *Conn) Rooms(yield func(Member) bool) {
	g := c.generator
	g.rooms = g.topology.appendRooms(g.rooms[:0], c.client.number)
	for place, room := range g.rooms {
		m := Member{Place: place, Name: g.topology.roomName(room)}
		if c.client.positions != nil {
			m.Epoch, m.Offset = c.client.positions[place].epoch, c.client.positions[place].offset
		}
		if !yield(m) {
			return
		}
	}
}

// Send sends one message.
func (c *Conn) Send(payload []byte) {
	c.sendFrame(c.generator.options.Dialect.Opcode(), payload)
}

// Joined says that the server has confirmed n of the rooms.
func (c *Conn) Joined(n int) {
	c.joined += n
	if c.joined >= c.wanted && !c.ready && c.state == connOpen {
		c.generator.connReady(c)
	}
}

// JoinedAll says that all rooms are confirmed.
func (c *Conn) JoinedAll() { c.Joined(c.wanted - c.joined) }

// Delivered says that the message with this stamp came.
func (c *Conn) Delivered(s Stamp) { c.generator.delivered(c, s) }

// DeliveredAll counts every message whose stamp is in p.
func (c *Conn) DeliveredAll(p []byte) {
	for {
		s, rest, ok := NextStamp(p)
		if !ok {
			return
		}
		c.generator.delivered(c, s)
		p = rest
	}
}

// Acked says that the publish with this id was taken.
func (c *Conn) Acked(id []byte) {
	if s, ok := parseID(id); ok {
		c.acked(s)
	}
}

// Failed says that the command with this id, or an unknown one, got an error.
func (c *Conn) Failed(id []byte, code string) {
	s, ok := parseID(id)
	c.generator.failed(c, s, ok, code)
}

// Moving says that the server asks the client to connect anew after delay, and then to leave this connection.
func (c *Conn) Moving(delay time.Duration) { c.generator.connMoving(c, delay) }
