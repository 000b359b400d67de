package socket

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// The last bytes and the end of a stream often come in one event of the edge-triggered set: the end must not go unseen.
// (With TLS all is read until nothing is left, so there is no such event.)
func TestAClientThatSpeaksAndHangsUpAtOnceIsGoneAtOnce(t *testing.T) {
	// One poller, and heartbeats of 25 s, which notice nothing here.
	s := newServer(t, false, func(c *Config) { c.Pollers = 1 })
	ws, e := s.dial(t)

	// While the poller is held up in another connection's handler, bytes and end both come.
	held := hold(t, s.reactor)
	_ = ws.WriteMessage(websocket.TextMessage, []byte("last words"))
	_ = ws.NetConn().(*net.TCPConn).CloseWrite() // Close would answer the echo with a reset, which is an event of its own
	waitUntil(t, "the end is in the socket", func() bool { return peerHasClosed(t, e.conn.fd) })
	held.release()

	wantReason(t, e, ClientGone)
	if got := <-e.texts; got != "last words" {
		t.Errorf("the last words came as %q", got)
	}
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10 s and it is still not so: %s", what)
		}
	}
}

// holding is a handler that does what none may: it blocks its poller, until release.
type holding struct {
	entered chan struct{}
	release func()
	freed   context.Context
}

func (h *holding) Text([]byte) {
	close(h.entered)
	<-h.freed.Done()
}

func (h *holding) Closed(Reason) {}

// hold blocks a poller of the reactor in a handler.
func hold(t *testing.T, r *Reactor) *holding {
	t.Helper()
	h := &holding{entered: make(chan struct{})}
	h.freed, h.release = context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c, err := r.Upgrade(w, req, "", func(w http.ResponseWriter, status int, reason string) { http.Error(w, reason, status) })
		if err == nil {
			err = c.Start(h)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	_ = ws.WriteMessage(websocket.TextMessage, []byte("hold"))
	<-h.entered
	return h
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

// peerHasClosed tells whether the end of the stream has come.
func peerHasClosed(t *testing.T, fd int32) bool {
	t.Helper()
	poll := []unix.PollFd{{Fd: fd, Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(poll, 0); err != nil {
		t.Fatal(err)
	}
	return poll[0].Revents&unix.POLLRDHUP != 0
}
