package contract

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// rawConn is a WebSocket that answers nothing by itself and can say what no library would.
type rawConn struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// dialRaw makes the handshake of a trusted user by hand.
func dialRaw(t *testing.T, g *gateway, user string) *rawConn {
	t.Helper()
	conn, err := net.Dial("tcp", g.public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /ws?user_id=%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", user, g.public)
	c := &rawConn{t: t, Conn: conn, r: bufio.NewReader(conn)}
	response, err := http.ReadResponse(c.r, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the handshake got %v, %v", response, err)
	}
	return c
}

// write sends a masked frame with these first two bits of RFC 6455: fin and opcode.
func (c *rawConn) write(fin bool, opcode byte, data []byte) {
	c.t.Helper()
	head := []byte{opcode, 0x80}
	if fin {
		head[0] |= 0x80
	}
	switch {
	case len(data) < 126:
		head[1] |= byte(len(data))
	case len(data) < 1<<16:
		head[1] |= 126
		head = binary.BigEndian.AppendUint16(head, uint16(len(data)))
	default:
		head[1] |= 127
		head = binary.BigEndian.AppendUint64(head, uint64(len(data)))
	}
	head = append(head, 0, 0, 0, 0) // a mask of zeros
	if _, err := c.Write(append(head, data...)); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads a frame.
func (c *rawConn) frame() (opcode byte, data []byte, err error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(head[1])
	switch size {
	case 126:
		var length [2]byte
		if _, err := io.ReadFull(c.r, length[:]); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(length[:]))
	case 127:
		var length [8]byte
		if _, err := io.ReadFull(c.r, length[:]); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint64(length[:]))
	}
	data = make([]byte, size)
	_, err = io.ReadFull(c.r, data)
	return head[0] & 0x0f, data, err
}

// closeCode reads to the close frame, answers it, and returns its code; 0: the connection ended without one.
func (c *rawConn) closeCode() int {
	c.t.Helper()
	for {
		opcode, data, err := c.frame()
		if err != nil {
			return 0
		}
		if opcode == closeFrame && len(data) >= 2 {
			c.write(true, closeFrame, data[:2])
			return int(binary.BigEndian.Uint16(data))
		}
	}
}

const (
	textFrame, binaryFrame, closeFrame, pingFrame, pongFrame = 1, 2, 8, 9, 10
)

func TestFrames(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "Offer permessage-deflate to clients. … One WebSocket text frame holds one JSON object. Messages may be fragmented and, with --compression, compressed.", func(t *testing.T) {
		c := dialRaw(t, f.a, "x")
		if opcode, data, err := c.frame(); opcode != textFrame || !strings.HasPrefix(string(data), `{"type":"welcome",`) || err != nil {
			t.Fatalf("the first frame is %d %q, %v", opcode, data, err)
		}
		c.write(false, textFrame, []byte(`{"type":"pi`))
		c.write(true, pingFrame, []byte("between"))
		c.write(false, 0, []byte(`ng","i`))
		c.write(true, 0, []byte(`d":"1"}`))
		var got []string
		for len(got) < 2 {
			opcode, data, err := c.frame()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d %s", opcode, data))
		}
		if want := `10 between, 1 {"type":"ack","id":"1"}`; strings.Join(got, ", ") != want {
			t.Errorf("the answers are %v, want %s", got, want)
		}
		for _, compression := range []bool{true, false} {
			g := startGateway(t, "", "--auth=trusted", fmt.Sprintf("--compression=%v", compression))
			dialer := websocket.Dialer{EnableCompression: true}
			ws, response, err := dialer.DialContext(t.Context(), "ws://"+g.public+"/ws?user_id=x", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.HasPrefix(response.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate"); got != compression {
				t.Errorf("with --compression=%v the answer to permessage-deflate is %v", compression, got)
			}
			c := newClient(t, ws)
			c.join("r")
			long := quoted(strings.Repeat("again and ", 1000))
			c.send(`{"type":"publish","room_id":"r","data":` + long + `}`)
			c.message(long)
		}
	})

	holds(t, "Over it the connection is closed with 1009. … A binary frame closes the connection with 1003, invalid UTF-8 with 1007, a message over max_message_bytes with 1009, and any other breach of RFC 6455 with 1002.", func(t *testing.T) {
		small := startGateway(t, "", "--auth=trusted", "--max-message-bytes=1000")
		for what, test := range map[string]struct {
			code int
			say  func(c *rawConn)
		}{
			"a binary frame":             {1003, func(c *rawConn) { c.write(true, binaryFrame, []byte(`{"type":"ping"}`)) }},
			"invalid UTF-8":              {1007, func(c *rawConn) { c.write(true, textFrame, []byte("{\"type\":\"\xff\"}")) }},
			"invalid UTF-8 in fragments": {1007, func(c *rawConn) { c.write(false, textFrame, []byte("\xe2\x82")); c.write(true, 0, []byte("\"")) }},
			"a frame that is too large":  {1009, func(c *rawConn) { c.write(true, textFrame, bytes.Repeat([]byte(" "), 1001)) }},
			"fragments that are too large together": {1009, func(c *rawConn) {
				c.write(false, textFrame, bytes.Repeat([]byte(" "), 999))
				c.write(true, 0, []byte("  "))
			}},
			"an unknown opcode":       {1002, func(c *rawConn) { c.write(true, 3, nil) }},
			"a reserved bit":          {1002, func(c *rawConn) { c.write(true, 0x40|textFrame, []byte(`{"type":"ping"}`)) }},
			"a fragmented ping":       {1002, func(c *rawConn) { c.write(false, pingFrame, nil) }},
			"a continuation of none":  {1002, func(c *rawConn) { c.write(true, 0, nil) }},
			"a frame without a mask":  {1002, func(c *rawConn) { _, _ = c.Write([]byte{0x81, 2, '{', '}'}) }},
			"a ping of 126 bytes":     {1002, func(c *rawConn) { c.write(true, pingFrame, make([]byte, 126)) }},
			"a close code that is no": {1002, func(c *rawConn) { c.write(true, closeFrame, []byte{0, 1}) }},
		} {
			c := dialRaw(t, small, "x")
			test.say(c)
			if got := c.closeCode(); got != test.code {
				t.Errorf("%s is answered with close code %d, want %d", what, got, test.code)
			}
		}
		c := dial(t, small, "x")
		c.send(`{"type":"ping","id":"1"}` + strings.Repeat(" ", 1000-24)) // the largest that is allowed
		isFields(t, c.next(), `{"type":"ack","id":"1"}`)
	})

	holds(t, "JSON that does not parse, an unknown type, or a field that is missing or out of range gets an error, and the connection stays open.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for _, bad := range []string{``, ` `, `{`, `{}`, `[]`, `1`, `"type"`, `null`, `{"type":"ping"`, `{"type":"ping"}}`, `{"type":"ping"} {}`, `{'type':'ping'}`,
			`{"type":"ping",}`, `{type:"ping"}`, `{"type":"ping","n":01}`, `{"type":"ping","s":"` + "\t" + `"}`, `{"type":""}`, `{"type":null}`, `{"type":"join"}`} {
			c.send(bad)
			wantError(t, c.next(), "bad_request")
			c.nothing()
		}
		for _, kind := range []string{"subscribe", "JOIN", "welcome", "message", "ack", "error"} {
			c.send(`{"type":"` + kind + `"}`)
			wantError(t, c.next(), "unknown_type")
			c.nothing()
		}
	})

	holds(t, "The error for JSON that does not parse carries the id if it came before the fault.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for broken, id := range map[string]any{`{"id":"1","type":"ping"`: "1", `{"type":"ping","id":"1",`: "1", `{"type":,"id":"1"}`: nil} {
			c.send(broken)
			got := c.next()
			wantError(t, got, "bad_request")
			if got["id"] != id {
				t.Errorf("the error of %s has id %v, want %v", broken, got["id"], id)
			}
		}
	})

	holds(t, "Ten such frames in a row close it with 1008.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for range 5 { // a good one begins the count anew
			for range 9 {
				c.send(`{"type":"unknown"}`)
				wantError(t, c.next(), "unknown_type")
			}
			c.nothing()
		}
		for _, bad := range []string{`{`, `{}`, `{"type":"x"}`, `{"type":"join"}`, `{"type":"ping","id":1}`, `[]`, ``, `{"type":"join","room_id":""}`, `x`, `{"type":"publish"}`} {
			c.send(bad)
			if got := c.next(); got["type"] != "error" {
				t.Errorf("%s got %v, want an error", bad, got)
			}
		}
		c.closed(1008)
		refused := dial(t, f.a, name("user")) // a command that is refused is no bad frame
		for range 20 {
			refused.refused("not_joined", `{"type":"publish","room_id":"r","data":1}`)
		}
	})

	holds(t, "The time between two pings. A client that is silent for 2.5 times as long is closed. … The gateway sends a WebSocket ping every heartbeat_ms. A client from which nothing at all comes for 2.5 times as long is cut. Browsers and all usual libraries answer pings by themselves.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--heartbeat=400ms")
		lively := dial(t, g, "lively")
		if got := lively.welcome.number("heartbeat_ms"); got != 400 {
			t.Errorf("heartbeat_ms is %d, want 400", got)
		}
		begin := time.Now()
		silent := dialRaw(t, g, "silent")
		pings := 0
		for {
			opcode, _, err := silent.frame()
			if err != nil {
				break
			}
			if opcode == pingFrame {
				pings++
			}
		}
		if took := time.Since(begin); took < 900*time.Millisecond || pings < 1 {
			t.Errorf("after %v and %d pings the silent client was cut, want 1 s and at least one", took, pings)
		}
		eventually(t, "the metric says why", func() bool {
			return g.metric(t, `wscluster_disconnects_total{reason="heartbeat_timeout"}`) == 1
		})
		eventually(t, "pings come", func() bool { return lively.pings.Load() >= 4 })
		lively.nothing() // it answers pings, so it stays
	})

	holds(t, "1000 | closed as you asked (you get your own code back)", func(t *testing.T) {
		for _, code := range []uint16{1000, 1001, 3000, 4999} {
			c := dialRaw(t, f.a, "x")
			c.write(true, closeFrame, binary.BigEndian.AppendUint16(nil, code))
			if got := c.closeCode(); got != int(code) {
				t.Errorf("a close with %d is answered with %d", code, got)
			}
			if _, _, err := c.frame(); err == nil {
				t.Error("something came after the close frame")
			}
		}
	})
}
