package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// door accepts the connections of the public port where there is no TLS. A WebSocket handshake that is in no way unusual, as
// nearly all are, is answered right here. Everything else net/http gets, with the bytes that have come, as if it had accepted
// the connection: other requests, large headers, whatever is malformed.
//
// net/http would do for an ordinary handshake just what is done here. But before it calls a handler it makes two buffers of
// 4 KB, which are garbage once the connection is taken away from it, some contexts, and a goroutine that watches for
// the client to go, which then has to be stopped: together a third of what a connect costs.
type door struct {
	net.Listener
	serve    http.HandlerFunc
	patience time.Duration // for a request's header
	logger   *slog.Logger

	passed chan net.Conn // to net/http
	failed chan error
	closed chan struct{}

	mu      sync.Mutex
	waiting map[net.Conn]struct{} // connections of which the request is read; nil: closed
}

// newDoor returns a listener for an http.Server; serve gets the handshakes.
func newDoor(inner net.Listener, serve http.HandlerFunc, logger *slog.Logger) *door {
	return newPatientDoor(inner, serve, headerTimeout, logger)
}

func newPatientDoor(inner net.Listener, serve http.HandlerFunc, patience time.Duration, logger *slog.Logger) *door {
	d := &door{Listener: inner, serve: serve, patience: patience, logger: logger, passed: make(chan net.Conn), failed: make(chan error),
		closed: make(chan struct{}), waiting: map[net.Conn]struct{}{}}
	go d.run()
	return d
}

// atOnce is how many connections are accepted before those who were here before get their turn. When thousands come in one moment
// they wait in the kernel: goroutines that are ready run in the order in which they became so, and the pollers, which serve
// the connected, would stand behind thousands of handshakes.
const atOnce = 16

// run accepts until the door is closed. An error waits for net/http, which knows what to do about it: after a passing one it
// asks again a little later.
func (d *door) run() {
	for accepted := 1; ; accepted++ {
		conn, err := d.Listener.Accept()
		if err == nil {
			go d.meet(conn)
			if accepted%atOnce == 0 {
				runtime.Gosched()
			}
			continue
		}
		select {
		case d.failed <- err:
		case <-d.closed:
			return
		}
	}
}

// Accept implements net.Listener with what is net/http's to serve.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.passed:
		return conn, nil
	case err := <-d.failed:
		return nil, err
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener and the connections whose request has not come yet.
func (d *door) Close() error {
	d.mu.Lock()
	waiting := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	if waiting == nil {
		return net.ErrClosed
	}
	close(d.closed)
	for conn := range waiting {
		_ = conn.Close() // nothing is lost with it
	}
	return d.Listener.Close()
}

// wait and waited keep the list of those whom Close cuts.
func (d *door) wait(conn net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		return false
	}
	d.waiting[conn] = struct{}{}
	return true
}

func (d *door) waited(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, conn)
}

// maxOrdinary is how long an ordinary request is; longer ones are net/http's, up to maxHeaderBytes.
const maxOrdinary = 4 << 10

// arrival is the reading of one request. It is reused.
type arrival struct {
	buffer [maxOrdinary]byte
	source bytes.Reader
	reader *bufio.Reader
}

var arrivals = sync.Pool{New: func() any { return &arrival{reader: bufio.NewReaderSize(nil, maxOrdinary)} }}

// meet serves one connection, or passes it on.
func (d *door) meet(conn net.Conn) {
	if !d.wait(conn) {
		_ = conn.Close()
		return
	}
	a := arrivals.Get().(*arrival)
	defer arrivals.Put(a)
	deadline := time.Now().Add(d.patience)
	n, err := a.read(conn, deadline)
	d.waited(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) || n == 0 && err != nil {
		_ = conn.Close() // as net/http does with who is silent
		return
	}
	request := a.request(n)
	if request == nil {
		select {
		case d.passed <- &begunConn{Conn: conn, begun: bytes.Clone(a.buffer[:n]), deadline: deadline}:
		case <-d.closed:
			_ = conn.Close()
		}
		return
	}
	request.RemoteAddr = conn.RemoteAddr().String()
	w := &response{conn: conn}
	defer func() {
		if p := recover(); p != nil {
			d.logger.Error("a handshake panicked", "panic", p, "stack", string(debug.Stack()))
			_ = conn.Close()
		}
	}()
	d.serve(w, request)
	w.finish()
}

// read reads until the request is whole, or is seen not to be ordinary, or ends.
func (a *arrival) read(conn net.Conn, deadline time.Time) (n int, err error) {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	for n < len(a.buffer) && err == nil && ordinarySoFar(a.buffer[:n]) && !bytes.HasSuffix(a.buffer[:n], endOfHeader) {
		var got int
		got, err = conn.Read(a.buffer[n:])
		n += got
	}
	return n, err
}

// begunConn is a connection of which something has been read already.
type begunConn struct {
	net.Conn
	begun    []byte
	deadline time.Time // for the first request's header: reading it has begun
}

// NetConn returns the connection below.
func (c *begunConn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *begunConn) Read(p []byte) (int, error) {
	if len(c.begun) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.begun)
	c.begun = c.begun[n:]
	return n, nil
}

// SetReadDeadline implements net.Conn. The first one is for the header that we have waited for.
func (c *begunConn) SetReadDeadline(t time.Time) error {
	if !c.deadline.IsZero() && t.After(c.deadline) {
		t = c.deadline
	}
	c.deadline = time.Time{}
	return c.Conn.SetReadDeadline(t)
}
