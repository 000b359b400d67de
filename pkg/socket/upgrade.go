package socket

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"syscall"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// Upgrade makes the handshake and takes the connection away from net/http: the handler that called it should return soon,
// since its goroutine and buffers are freed only then. On an error the response has been written, by refuse where the request
// was no proper handshake. The caller has checked the origin. The subprotocol is the one that is answered; empty: none.
func (r *Reactor) Upgrade(w http.ResponseWriter, req *http.Request, subprotocol string, refuse func(w http.ResponseWriter, status int, reason string)) (*Conn, error) {
	upgrader := websocket.Upgrader{
		CheckOrigin:       func(*http.Request) bool { return true },
		EnableCompression: r.config.Compression,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			w.Header().Set("Sec-WebSocket-Version", "13") // RFC 6455, section 4.4: what is spoken here
			refuse(w, status, reason.Error())
		},
	}
	var header http.Header
	if subprotocol != "" {
		header = http.Header{"Sec-Websocket-Protocol": {subprotocol}}
	}
	ws, err := upgrader.Upgrade(w, req, header)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	// gorilla's connection, its buffers and the net.Conn below it are garbage from here on.
	accepted := ws.NetConn()
	secure, _ := accepted.(*tls.Conn)
	var below *transport
	if secure != nil {
		below = secure.NetConn().(*transport) // ListenTLS makes no others
		accepted = below.Conn
	}
	defer func() { _ = accepted.Close() }()
	fd, err := duplicate(accepted)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	r.open.Add(1)
	c := &Conn{fd: int32(fd), poller: r.pollers[r.next.Add(1)%uint32(len(r.pollers))], tls: secure,
		deflate: r.config.Compression && offersDeflate(req.Header)}
	if below != nil {
		*below = transport{upgraded: c}
	}
	return c, nil
}

// duplicate returns a second descriptor of the same socket, still non-blocking. Closing the net.Conn afterwards takes the
// socket out of the runtime's poller and frees about a kilobyte.
func duplicate(netConn any) (fd int, err error) {
	source, ok := netConn.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("a connection of type %T has no descriptor", netConn)
	}
	raw, err := source.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(original uintptr) {
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return 0, cerr
	}
	return fd, err
}
