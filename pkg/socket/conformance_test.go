package socket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestConformance holds the reader to the list of cases of the Autobahn test suite for servers (their numbers come first in
// the names), but for 13.x, window sizes, which are not negotiated. Where the suite allows several outcomes the strict one is
// wanted. Binary messages, of which the suite wants an echo, are refused here by contract.
func TestConformance(t *testing.T) {
	s := newServer(t, false, func(c *Config) { c.MaxMessageBytes = func() int { return conformanceLimit } })
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Run("fed whole", func(t *testing.T) { c.check(t, feedInPieces(t, c.sent, len(c.sent))) })
			if len(c.sent) <= 4096 {
				t.Run("fed byte by byte", func(t *testing.T) { c.check(t, feedInPieces(t, c.sent, 1)) })
			}
			t.Run("fed in pieces of 997 bytes", func(t *testing.T) { c.check(t, feedInPieces(t, c.sent, 997)) })
			t.Run("over a real socket", func(t *testing.T) { c.check(t, exchange(t, s, c.sent)) })
		})
	}
}

// conformanceLimit is the largest message of the suite.
const conformanceLimit = 16 << 20

// conformanceCase is what a client sends and what it must get: "text:…" (echoed), "pong:…", "close:CODE".
type conformanceCase struct {
	name string
	sent []byte
	want []string
}

func (c conformanceCase) check(t *testing.T, got []string) {
	t.Helper()
	shorten := func(events []string) []string {
		short := make([]string, len(events))
		for i, e := range events {
			if short[i] = e; len(e) > 300 {
				short[i] = fmt.Sprintf("%s… %d bytes …%s", e[:40], len(e), e[len(e)-40:])
			}
		}
		return short
	}
	if !slices.Equal(c.want, got) {
		t.Errorf("what the client gets differs (-want +got):\n%s", cmp.Diff(shorten(c.want), shorten(got)))
	}
}

// frame is one masked frame as a client sends it.
func frame(fin bool, op byte, payload string) []byte {
	first := op
	if fin {
		first |= finBit
	}
	header := appendHeader(nil, first, len(payload))
	header[1] |= maskBit
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d} // that of RFC 6455's example
	header = append(header, key[:]...)
	masked := []byte(payload)
	unmask(masked, key)
	return append(header, masked...)
}

func frames(all ...[]byte) []byte { return bytes.Join(all, nil) }

// with sets further bits of a frame's first byte.
func with(bits byte, frame []byte) []byte {
	frame[0] |= bits
	return frame
}

func text(s string) []byte { return frame(true, opText, s) }

func closeFrame(code uint16, reason string) []byte {
	return frame(true, opClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// fragments splits s into fragments of n bytes and puts between before each but the first.
func fragments(s string, n int, between []byte) []byte {
	var out []byte
	for op := byte(opText); ; op = opContinuation {
		if len(s) <= n {
			return append(out, frame(true, op, s)...)
		}
		out = append(append(out, frame(false, op, s[:n])...), between...)
		s = s[n:]
	}
}

func conformanceCases() []conformanceCase {
	bye, byeWant := closeFrame(1000, ""), "close:1000"
	var cases []conformanceCase
	add := func(name string, sent []byte, want ...string) {
		cases = append(cases, conformanceCase{name, sent, want})
	}
	// alive adds a case after which the connection must still work.
	alive := func(name string, sent []byte, want ...string) {
		add(name, frames(sent, text("still here"), bye), append(want, "text:still here", byeWant)...)
	}
	// dead adds a case that must fail the connection; what follows must not be looked at.
	dead := func(name string, sent []byte, want ...string) {
		add(name, frames(sent, text("too late"), frame(true, opPing, "too late")), want...)
	}

	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		alive(fmt.Sprintf("1.1.%d a text of %d bytes", i+1, n), text(strings.Repeat("*", n)), "text:"+strings.Repeat("*", n))
	}
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		dead(fmt.Sprintf("1.2.%d a binary message of %d bytes is refused", i+1, n), frame(true, opBinary, strings.Repeat("\xfe", n)), "close:1003")
	}

	alive("2.1 a ping without payload", frame(true, opPing, ""), "pong:")
	alive("2.2 a ping with payload", frame(true, opPing, "Hello, world!"), "pong:Hello, world!")
	alive("2.3 a ping with bytes that are no text", frame(true, opPing, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), "pong:\x00\xff\xfe\xfd\xfc\xfb\x00\xff")
	alive("2.4 a ping of 125 bytes", frame(true, opPing, strings.Repeat("\xfe", 125)), "pong:"+strings.Repeat("\xfe", 125))
	dead("2.5 a ping of 126 bytes", frame(true, opPing, strings.Repeat("\xfe", 126)), "close:1002")
	alive("2.7 a pong that nobody asked for, without payload", frame(true, opPong, ""))
	alive("2.8 a pong that nobody asked for, with payload", frame(true, opPong, "unsolicited pong payload"))
	alive("2.9 a pong that nobody asked for, then a ping", frames(frame(true, opPong, "unsolicited"), frame(true, opPing, "ping payload")), "pong:ping payload")
	var pings []byte
	var pongs []string
	for i := range 10 {
		payload := fmt.Sprintf("payload-%d", i)
		pings, pongs = append(pings, frame(true, opPing, payload)...), append(pongs, "pong:"+payload)
	}
	alive("2.10 ten pings at once are answered in order", pings, pongs...)

	dead("3.1 a text with reserved bit 3", with(0x10, text("Hello")), "close:1002")
	dead("3.2 a good text, then one with reserved bit 2", frames(text("Hello"), with(0x20, text("Hello"))), "text:Hello", "close:1002")
	dead("3.3 a good text, then one with reserved bits 2 and 3", frames(text("Hello"), with(0x30, text("Hello"))), "text:Hello", "close:1002")
	dead("3.4 a good text, then one with reserved bit 1, that is compressed, which was not agreed on", frames(text("Hello"), with(0x40, text("Hello"))), "text:Hello", "close:1002")
	dead("3.5 a binary message with reserved bits 1 and 3", with(0x50, frame(true, opBinary, "\x00\xff")), "close:1002")
	dead("3.6 a ping with reserved bits 1 and 2", with(0x60, frame(true, opPing, "Hello")), "close:1002")
	dead("3.7 a close with all reserved bits", with(0x70, closeFrame(1000, "")), "close:1002")

	for i, op := range []byte{3, 4, 5, 6, 7} {
		dead(fmt.Sprintf("4.1.%d the reserved data opcode %d", i+1, op), frame(true, op, "payload"[:7*(i%2)]), "close:1002")
	}
	for i, op := range []byte{11, 12, 13, 14, 15} {
		dead(fmt.Sprintf("4.2.%d the reserved control opcode %d", i+1, op), frame(true, op, "payload"[:7*(i%2)]), "close:1002")
	}

	dead("5.1 a ping in two fragments", frames(frame(false, opPing, "frag"), frame(true, opContinuation, "ment")), "close:1002")
	dead("5.2 a pong in two fragments", frames(frame(false, opPong, "frag"), frame(true, opContinuation, "ment")), "close:1002")
	alive("5.3 a text in two fragments", fragments("fragment1fragment2", 9, nil), "text:fragment1fragment2")
	alive("5.6 a text in two fragments with a ping between", fragments("fragment1fragment2", 9, frame(true, opPing, "ping payload")), "pong:ping payload", "text:fragment1fragment2")
	alive("5.6b a text in two fragments with a pong between", fragments("fragment1fragment2", 9, frame(true, opPong, "pong payload")), "text:fragment1fragment2")
	dead("5.9 a last continuation without a beginning, before a text", frame(true, opContinuation, "non-continuation payload"), "close:1002")
	dead("5.12 a continuation without a beginning that is not the last, before a text", frame(false, opContinuation, "non-continuation payload"), "close:1002")
	dead("5.15 a whole message in fragments, then a continuation", frames(fragments("fragment1fragment2", 9, nil), frame(false, opContinuation, "fragment3")), "text:fragment1fragment2", "close:1002")
	dead("5.16 continuations without a beginning, then texts with them, twice", frames(frame(false, opContinuation, "fragment1"), fragments("fragment2fragment3", 9, nil)), "close:1002")
	dead("5.18 a second beginning before the end of the first", frames(frame(false, opText, "fragment1"), frame(true, opText, "fragment2")), "close:1002")
	dead("5.18b a binary beginning before the end of a text", frames(frame(false, opText, "fragment1"), frame(true, opBinary, "fragment2")), "close:1002")
	alive("5.19 a text in five fragments with pings between", frames(
		frame(false, opText, "fragment1"), frame(false, opContinuation, "fragment2"), frame(true, opPing, "pongme 1!"),
		frame(false, opContinuation, "fragment3"), frame(false, opContinuation, "fragment4"), frame(true, opPing, "pongme 2!"),
		frame(true, opContinuation, "fragment5")),
		"pong:pongme 1!", "pong:pongme 2!", "text:fragment1fragment2fragment3fragment4fragment5")

	alive("6.1.1 an empty text", text(""), "text:")
	alive("6.1.2 three empty fragments", frames(frame(false, opText, ""), frame(false, opContinuation, ""), frame(true, opContinuation, "")), "text:")
	alive("6.1.3 an empty fragment on either side", frames(frame(false, opText, ""), frame(false, opContinuation, "middle frame payload"), frame(true, opContinuation, "")), "text:middle frame payload")
	const greeting = "Hello-µ@ßöäüàá-UTF-8!!"
	alive("6.2.1 valid UTF-8", text(greeting), "text:"+greeting)
	alive("6.2.2 valid UTF-8, fragmented on a code point's border", fragments(greeting, len("Hello-µ@ßöä"), nil), "text:"+greeting)
	alive("6.2.3 valid UTF-8 in fragments of one byte", fragments(greeting, 1, nil), "text:"+greeting)
	alive("6.2.4 the Greek word kosme in fragments of one byte", fragments("κόσμε", 1, nil), "text:κόσμε")
	const surrogate = "κόσμε\xed\xa0\x80edited"
	dead("6.3.1 invalid UTF-8", text(surrogate), "close:1007")
	dead("6.3.2 invalid UTF-8 in fragments of one byte", fragments(surrogate, 1, nil), "close:1007")
	dead("6.4.1 invalid UTF-8 in the second of three fragments", frames(frame(false, opText, "κόσμε"), frame(false, opContinuation, "\xf4\x90\x80\x80"), frame(true, opContinuation, "edited")), "close:1007")
	dead("6.4.3 a code point that is invalid only as a whole, split over fragments", frames(frame(false, opText, "κόσμε\xf4"), frame(false, opContinuation, "\x90"), frame(true, opContinuation, "\x80\x80edited")), "close:1007")
	for i, s := range []string{"κ", "κό", "κόσ", "κόσμ", "κόσμε", // 6.5, 6.6: whole code points
		"\x00", "\u0080", "\u0800", "\U00010000", // the first of each length
		"\x7f", "\u07ff", "\uffff", "\U0010ffff", // the last of each length
		"\ud7ff", "\ue000", "\ufffd", // next to the surrogates
		"\ufffe", "\U0001fffe", "\U0001ffff", "\U0002fffe", "\U0010fffe", // non-characters are valid
	} {
		alive(fmt.Sprintf("6.5-6.9, 6.22-6.23 (%d) the valid text %+q", i+1, s), text(s), "text:"+s)
	}
	for i, s := range []string{"\xce", "κ\xcf", "\xce\xba\xe1", "κ\xe1\xbd", // 6.6 cut code points
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf", "\xf4\x90\x80\x80", // 6.8, 6.10, 6.11 beyond Unicode
		"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", // 6.12 lone continuation bytes
		"\xc0 \xc1 \xc2 \xc3 ", "\xe0 \xe1 \xe2 ", "\xf0 \xf1 \xf2 ", "\xf8 \xf9 ", "\xfc ", // 6.13 lone starts
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", // 6.14 missing last byte
		"\xc0\xe0\x80\xf0\x80\x80", "\xfe", "\xff", "\xfe\xfe\xff\xff", // 6.15, 6.16
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", // 6.17-6.19 overlong
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf", // 6.20, 6.21 surrogates
	} {
		dead(fmt.Sprintf("6.6-6.21 (%d) the invalid text %+q", i+1, s), text(s), "close:1007")
	}

	add("7.1.1 a message, then a close", frames(text("Hello World!"), bye), "text:Hello World!", byeWant)
	add("7.1.2 two closes: the second is not looked at", frames(closeFrame(1000, ""), closeFrame(1001, "")), byeWant)
	dead("7.1.3 a ping after a close is not answered", closeFrame(1000, ""), byeWant)
	add("7.1.5 the rest of a fragmented text after a close", frames(frame(false, opText, "fragment1"), closeFrame(1000, ""), frame(true, opContinuation, "fragment2")), byeWant)
	big := strings.Repeat("BAsd7&jh23", 26214)
	add("7.1.6 a large message, a close, a ping", frames(text(big), bye, frame(true, opPing, "")), "text:"+big, byeWant)
	add("7.3.1 a close without a code", frame(true, opClose, ""), byeWant)
	dead("7.3.2 a close of one byte", frame(true, opClose, "a"), "close:1002")
	add("7.3.3 a close with a code", closeFrame(1000, ""), byeWant)
	add("7.3.4 a close with a code and a reason", closeFrame(1000, "Hello World!"), byeWant)
	add("7.3.5 a close with the longest reason", closeFrame(1000, strings.Repeat("*", 123)), byeWant)
	dead("7.3.6 a close with a reason too long", closeFrame(1000, strings.Repeat("*", 124)), "close:1002")
	dead("7.5.1 a close with a reason of invalid UTF-8", closeFrame(1000, surrogate), "close:1007")
	for i, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.7.%d a close with the valid code %d gets it back", i+1, code), closeFrame(code, ""), fmt.Sprintf("close:%d", code))
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		dead(fmt.Sprintf("7.9.%d, 7.13 a close with the code %d, which may not be sent", i+1, code), closeFrame(code, ""), "close:1002")
	}

	for i, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20} {
		s := strings.Repeat("BAsd7&jh", n/8)
		add(fmt.Sprintf("9.1.%d a text of %d KiB", i+1, n>>10), frames(text(s), bye), "text:"+s, byeWant)
	}
	for i, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		s := strings.Repeat("BAsd7&jh", 1<<20/8)
		add(fmt.Sprintf("9.3.%d a text of 1 MiB in fragments of %d bytes", i+1, n), frames(fragments(s, n, nil), bye), "text:"+s, byeWant)
	}
	s := strings.Repeat("*", 65536)
	alive("10.1.1 a text of 64 KiB in fragments of 1300 bytes", fragments(s, 1300, nil), "text:"+s)

	dead("a ping that needs no more than 7 bits for its length, and uses 16", []byte{finBit | opPing, maskBit | 126, 0, 0, 0, 0, 0, 0}, "close:1002")
	unmasked := text("Hello")
	unmasked[1] &^= maskBit
	dead("a frame without a mask", unmasked, "close:1002")
	dead("a message over the limit", appendLong(opText, conformanceLimit+1), "close:1009")
	dead("a message whose length has its highest bit set", appendLong(opText, 1<<63), "close:1009")
	dead("fragments that are over the limit together", frames(frame(false, opText, "x"), appendLong(opContinuation, conformanceLimit)), "close:1009")
	return cases
}

// appendLong is the header of a last frame that says it has n bytes.
func appendLong(op byte, n uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{finBit | op, maskBit | 127}, n), 0, 0, 0, 0)
}

// feedInPieces gives sent to the reader, n bytes at a time, without a poller: so the borders of reads are exactly where the
// test wants them. It returns what the client would get.
func feedInPieces(t *testing.T, sent []byte, n int) []string {
	t.Helper()
	c := newLoose(func() int { return conformanceLimit }, false)
	e := &recorder{conn: c.Conn}
	c.handler = e
	for rest := sent; len(rest) > 0 && !c.over(); {
		piece := append([]byte(nil), rest[:min(n, len(rest))]...)
		rest = rest[len(piece):]
		c.feed(piece)
	}
	return readEvents(t, bytes.NewReader(c.output()))
}

// recorder echoes every text.
type recorder struct{ conn *Conn }

func (e *recorder) Text(p []byte) {
	b := NewBuffer()
	defer b.Release()
	b.B = AppendText(b.B, p)
	e.conn.Send(b)
}

func (*recorder) Closed(Reason) {}

// loose is a connection without a socket: what it sends is kept in its queue.
type loose struct{ *Conn }

func newLoose(limit func() int, deflate bool) loose {
	r := &Reactor{config: Config{SendQueueBytes: func() int { return 1 << 30 }, MaxMessageBytes: limit}}
	// A buffer in the queue keeps Send from writing to the descriptor, which does not exist.
	c := &Conn{fd: -1, poller: &poller{reactor: r}, deflate: deflate}
	b := NewBuffer()
	c.queueLocked(b, 0)
	return loose{c}
}

func (l loose) output() []byte {
	var out []byte
	for _, q := range l.queue {
		out = append(out, q.buffer.B[q.from:]...)
	}
	return out
}

// exchange sends over a real connection and returns what the client gets until the server hangs up.
func exchange(t *testing.T, s *server, sent []byte) []string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the handshake failed: %v, %v", response, err)
	}
	go func() {
		_, _ = conn.Write(sent) // fails where the server hangs up early
	}()
	got := readEvents(t, reader)
	return got
}

// readEvents decodes a server's frames until a close frame or the end.
func readEvents(t *testing.T, r io.Reader) []string {
	t.Helper()
	var events []string
	for {
		var header [2]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return append(events, "end without a close")
		}
		size := uint64(header[1])
		switch header[1] {
		case 126:
			var b [2]byte
			_, _ = io.ReadFull(r, b[:])
			size = uint64(binary.BigEndian.Uint16(b[:]))
		case 127:
			var b [8]byte
			_, _ = io.ReadFull(r, b[:])
			size = binary.BigEndian.Uint64(b[:])
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(r, payload); err != nil {
			return append(events, "end in the middle of a frame")
		}
		switch header[0] {
		case finBit | opText:
			events = append(events, "text:"+string(payload))
		case finBit | opPong:
			events = append(events, "pong:"+string(payload))
		case finBit | opClose:
			return append(events, fmt.Sprintf("close:%d", binary.BigEndian.Uint16(payload)))
		default:
			return append(events, fmt.Sprintf("a frame that starts with %#x", header[0]))
		}
	}
}
