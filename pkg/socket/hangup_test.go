package socket

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The last bytes and the end of a stream often come in one event of the edge-triggered set: the end must not go unseen.
func TestAClientThatSpeaksAndHangsUpAtOnceIsGoneAtOnce(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, nil) // heartbeats of 25 s notice nothing here
		var all []*echo
		for range 50 {
			ws, e := s.dial(t)
			all = append(all, e)
			_ = ws.WriteMessage(websocket.TextMessage, []byte("last words"))
			_ = ws.NetConn().Close()
		}
		for _, e := range all {
			wantReason(t, e, ClientGone)
			if got := <-e.texts; got != "last words" {
				t.Errorf("the last words came as %q", got)
			}
		}
	})
}

// RFC 6455, section 7.1.1: the server is the first to hang up. Browsers wait for it.
func TestTheServerHangsUpOnceTheClientHasAnsweredItsClose(t *testing.T) {
	plainAndTLS(t, func(t *testing.T, secure bool) {
		s := newServer(t, secure, nil)
		ws, e := s.dial(t)
		e.conn.Close(1012, "restart", Draining)
		start := time.Now()
		wantClose(t, ws, 1012) // gorilla answers the close frame and does not hang up by itself
		for s.reactor.Open() > 0 {
			if time.Since(start) > lingerTime/2 {
				t.Fatal("the connection still lingers after the client's close frame")
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// A header alone must not make the server keep memory: what a client makes us hold is in proportion to what it has sent.
func TestAPromisedLengthTakesNoMemory(t *testing.T) {
	c := newLoose(func() int { return 64 << 20 }, false)
	c.feed(appendLong(opText, 64<<20))
	if kept := cap(c.partial); kept > 4096 {
		t.Errorf("a header of 14 bytes makes the server keep %d bytes", kept)
	}
	c.feed(make([]byte, 100_000))
	if kept := cap(c.partial); kept > 400_000 {
		t.Errorf("100,000 bytes make the server keep %d bytes", kept)
	}
}

func TestAHandshakeOfAnotherVersionIsToldWhichOneIsSpoken(t *testing.T) {
	s := newServer(t, false, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !strings.Contains(strings.ToLower(string(answer[:n])), "\r\nsec-websocket-version: 13\r\n") {
		t.Errorf("the refusal is %q, %v; want Sec-WebSocket-Version: 13 in it", answer[:n], err)
	}
}
