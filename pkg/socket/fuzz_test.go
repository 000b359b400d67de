package socket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

// fuzzLimit is the largest message in the fuzzer: small, so that it is met.
const fuzzLimit = 1 << 10

// FuzzReader gives the same bytes to our reader, in pieces, and to gorilla's, and compares the messages that come out, the
// pongs and the close code. Where the two differ on purpose, judge says how.
func FuzzReader(f *testing.F) {
	for _, c := range conformanceCases() {
		if len(c.sent) <= 4096 {
			f.Add(c.sent, uint16(len(c.sent)), false)
			f.Add(c.sent, uint16(1), true)
		}
	}
	compressed := NewBuffer()
	compressed.B = AppendText(nil, bytes.Repeat([]byte("lorem ipsum "), 60))
	f.Add(masked(compressed.deflated().B), uint16(7), true)
	f.Fuzz(func(t *testing.T, sent []byte, piece uint16, deflate bool) {
		if len(sent) > 64<<10 {
			return
		}
		// What follows completes a header that was cut off: gorilla judges one before it is whole, and we do not.
		sent = append(slices.Clone(sent), make([]byte, 16)...)
		ours, theirs := weRead(t, sent, int(piece), deflate), gorillaReads(t, sent, deflate)
		if err := judge(ours, theirs, deflate); err != nil {
			t.Errorf("%v\nours:\n%+v\ngorilla's:\n%+v\n(-gorilla's +ours):\n%s", err, ours, theirs, cmp.Diff(theirs, ours, cmp.AllowUnexported(outcome{}, message{}), cmp.Comparer(func(a, b error) bool { return true })))
		}
	})
}

// masked makes a client's frame of a server's.
func masked(frame []byte) []byte {
	header, _ := frameSize(frame)
	out := append([]byte(nil), frame[:header]...)
	out[1] |= maskBit
	return append(append(out, 0, 0, 0, 0), frame[header:]...)
}

// outcome is what a reader makes of some bytes.
type outcome struct {
	messages []message
	pongs    []string
	// closing is the code of the close frame that it sent; 0: none.
	closing uint16
	// err is gorilla's reason for the end.
	err error
}

type message struct {
	kind int
	text string
}

func judge(ours, theirs outcome, deflate bool) error {
	if deflate {
		// gorilla decompresses while it reads: it ends a message where its deflate stream ends, and gives up at the first wrong
		// bit, without a close; it lets RSV1 pass on any frame, and its limit is one of compressed bytes. So either may end
		// before the other. What both had must be the same.
		m, p := min(len(theirs.messages), len(ours.messages)), min(len(theirs.pongs), len(ours.pongs))
		if !slices.Equal(theirs.messages[:m], ours.messages[:m]) || !slices.Equal(theirs.pongs[:p], ours.pongs[:p]) {
			return errors.New("what came before the end differs")
		}
		return nil
	}
	n := len(ours.messages)
	if n > len(theirs.messages) || !slices.Equal(ours.messages, theirs.messages[:n]) {
		return errors.New("the messages differ")
	}
	if len(ours.pongs) > len(theirs.pongs) || !slices.Equal(ours.pongs, theirs.pongs[:len(ours.pongs)]) {
		return errors.New("the pongs differ")
	}
	var next *message
	if n < len(theirs.messages) {
		next = &theirs.messages[n]
	}
	switch {
	case ours.closing == 1003 && (next == nil || next.kind == websocket.BinaryMessage):
		return nil // we refuse binary messages at their header
	case ours.closing == 1007 && next != nil && !utf8.ValidString(next.text):
		return nil // gorilla leaves that to its caller
	case ours.closing == 1007 && next == nil && theirs.closing == 1002:
		return nil // a close reason that is no UTF-8
	case ours.closing == 1002 && websocket.IsCloseError(theirs.err, websocket.CloseNoStatusReceived):
		return nil // a close frame of one byte, in which gorilla sees no code
	case ours.closing == 1014 && theirs.closing == 1002:
		return nil // registered after gorilla's list was made
	case ours.closing == 1009 && errors.Is(theirs.err, websocket.ErrReadLimit):
		return nil // gorilla sends no close for a length beyond 2^63
	case next != nil:
		return errors.New("a message is missing")
	case len(ours.pongs) != len(theirs.pongs):
		return errors.New("a pong is missing")
	case ours.closing != theirs.closing:
		return fmt.Errorf("the close codes differ: %d, gorilla's %d", ours.closing, theirs.closing)
	}
	return nil
}

// weRead feeds our reader.
func weRead(t *testing.T, sent []byte, piece int, deflate bool) outcome {
	c := newLoose(func() int { return fuzzLimit }, deflate)
	var o outcome
	c.handler = keeper{&o}
	for rest := sent; len(rest) > 0 && !c.over(); {
		p := slices.Clone(rest[:min(max(1, piece), len(rest))])
		rest = rest[len(p):]
		c.feed(p)
		// A header may promise up to the limit, and slices grow by doubling: nothing that a client sends makes us keep more.
		if kept := cap(c.partial) + cap(c.message); kept > 8*fuzzLimit {
			t.Fatalf("of messages of at most %d bytes %d are kept", fuzzLimit, kept)
		}
	}
	return o.answered(t, c.output())
}

type keeper struct{ *outcome }

func (k keeper) Text(p []byte) {
	k.messages = append(k.messages, message{websocket.TextMessage, string(p)})
}

func (keeper) Closed(Reason) {}

// answered adds what a server has sent.
func (o outcome) answered(t *testing.T, frames []byte) outcome {
	for len(frames) > 0 {
		header, size := frameSize(frames)
		payload := string(frames[header : header+size])
		switch frames[0] & 0x0F {
		case opPong:
			o.pongs = append(o.pongs, payload)
		case opClose:
			o.closing = 1000 // that of a close without a code
			if size >= 2 {
				o.closing = binary.BigEndian.Uint16([]byte(payload))
			}
		default:
			t.Fatalf("a server sent a frame that starts with %#x", frames[0])
		}
		frames = frames[header+size:]
	}
	return o
}

// gorillaReads has gorilla/websocket read.
func gorillaReads(t *testing.T, sent []byte, deflate bool) outcome {
	conn := &script{in: bytes.NewReader(sent)}
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	if deflate {
		request.Header.Set("Sec-Websocket-Extensions", "permessage-deflate")
	}
	upgrader := websocket.Upgrader{EnableCompression: deflate}
	ws, err := upgrader.Upgrade(hijacker{httptest.NewRecorder(), conn}, request, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.out.Reset() // the handshake
	ws.SetReadLimit(fuzzLimit)
	var o outcome
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			o.err = err
			return o.answered(t, conn.out.Bytes())
		}
		o.messages = append(o.messages, message{kind, string(p)})
	}
}

// script is a connection on which everything has come already.
type script struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (*script) Close() error                       { return nil }
func (*script) LocalAddr() net.Addr                { return nil }
func (*script) RemoteAddr() net.Addr               { return nil }
func (*script) SetDeadline(time.Time) error        { return nil }
func (*script) SetReadDeadline(time.Time) error    { return nil }
func (*script) SetWriteDeadline(t time.Time) error { return nil }

type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}
