package socket

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// Upgrade makes the handshake and takes the connection away from net/http: the handler that called it should return soon,
// since its goroutine and buffers are freed only then. On an error the response has been written, by refuse where the request
// was no proper handshake. The caller has checked the origin. The subprotocol is the one that is answered; empty: none.
// The answer to a proper handshake leaves together with the first frame, or at the latest with Start.
func (r *Reactor) Upgrade(w http.ResponseWriter, req *http.Request, subprotocol string, refuse func(w http.ResponseWriter, status int, reason string)) (*Conn, error) {
	upgrader := websocket.Upgrader{
		CheckOrigin:       func(*http.Request) bool { return true },
		EnableCompression: r.config.Compression,
		WriteBufferPool:   neverUsed, // or gorilla would make a buffer of its own
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			w.Header().Set("Sec-WebSocket-Version", "13") // RFC 6455, section 4.4: what is spoken here
			refuse(w, status, reason.Error())
		},
	}
	var header http.Header
	if subprotocol != "" {
		header = http.Header{"Sec-Websocket-Protocol": {subprotocol}}
	}
	taken := &taker{ResponseWriter: w}
	if _, err := upgrader.Upgrade(taken, req, header); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	// gorilla's connection, net/http's buffers and the net.Conn below them are garbage from here on.
	fd, secure, err := descriptorOf(taken.conn.Conn)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	r.open.Add(1)
	c := &Conn{fd: fd, poller: r.pollers[r.next.Add(1)%uint32(len(r.pollers))], tls: secure, answer: taken.conn.bytes,
		deflate: r.config.Compression && offersDeflate(req.Header)}
	if secure != nil {
		*secure.NetConn().(*transport) = transport{upgraded: c}
	}
	return c, nil
}

// descriptorOf takes the descriptor out of an accepted connection, which is of no use afterwards but for what TLS keeps.
func descriptorOf(accepted net.Conn) (fd int32, secure *tls.Conn, err error) {
	if arrival, ok := accepted.(*Arrival); ok {
		fd, err = arrival.take()
		return fd, nil, err
	}
	if secure, _ = accepted.(*tls.Conn); secure != nil {
		accepted = secure.NetConn().(*transport).Conn // ListenTLS makes no others
	} else if wrapper, ok := accepted.(interface{ NetConn() net.Conn }); ok {
		accepted = wrapper.NetConn()
	}
	defer func() { _ = accepted.Close() }()
	fd, err = duplicate(accepted)
	return fd, secure, err
}

// taker takes the connection from net/http for gorilla, and keeps what gorilla answers: a write costs as much for it as for the
// first frame, which follows in less than a millisecond mostly, and they can share one.
type taker struct {
	http.ResponseWriter
	conn keptAnswer
}

// Hijack implements http.Hijacker.
func (t *taker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(t.ResponseWriter).Hijack()
	t.conn.Conn = conn
	return &t.conn, buffers, err
}

type keptAnswer struct {
	net.Conn
	bytes []byte
}

// Write implements net.Conn.
func (a *keptAnswer) Write(p []byte) (int, error) {
	a.bytes = append(a.bytes, p...)
	return len(p), nil
}

// SetDeadline implements net.Conn. The descriptor that we go on with has no deadlines.
func (a *keptAnswer) SetDeadline(time.Time) error { return nil }

// neverUsed is where gorilla would take a buffer from to write a message.
var neverUsed websocket.BufferPool = new(sync.Pool)

// duplicate returns a second descriptor of the same socket, still non-blocking. Closing the net.Conn afterwards takes the
// socket out of the runtime's poller and frees about a kilobyte.
func duplicate(netConn any) (fd int32, err error) {
	source, ok := netConn.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("a connection of type %T has no descriptor", netConn)
	}
	raw, err := source.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(original uintptr) {
		var n int
		n, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
		fd = int32(n)
	}); cerr != nil {
		return 0, cerr
	}
	return fd, err
}
