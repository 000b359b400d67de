package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/socket"
)

// door accepts the connections of the public port where there is no TLS. A WebSocket handshake that is in no way unusual, as
// nearly all are, is answered right here. Everything else net/http gets, with the bytes that have come, as if it had accepted
// the connection: other requests, large headers, whatever is malformed.
//
// net/http would do for an ordinary handshake just what is done here. But before it calls a handler it makes two buffers of
// 4 KB, which are garbage once the connection is taken away from it, some contexts, and a goroutine that watches for
// the client to go, which then has to be stopped: together a third of what a connect costs.
type door struct {
	*socket.Acceptor
	address net.Addr
	serve   http.HandlerFunc
	logger  *slog.Logger

	passed chan net.Conn // to net/http
	closed chan struct{}
}

// newDoor returns a listener for an http.Server, which takes inner over; serve gets the handshakes.
func newDoor(inner net.Listener, serve http.HandlerFunc, logger *slog.Logger) (*door, error) {
	return newPatientDoor(inner, serve, headerTimeout, logger)
}

func newPatientDoor(inner net.Listener, serve http.HandlerFunc, patience time.Duration, logger *slog.Logger) (*door, error) {
	listener, ok := inner.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("connections of a %T cannot be accepted: only those of TCP", inner)
	}
	d := &door{address: listener.Addr(), serve: serve, logger: logger, passed: make(chan net.Conn), closed: make(chan struct{})}
	var err error
	d.Acceptor, err = socket.NewAcceptor(listener, socket.AcceptorConfig{Enough: enough, Serve: d.meet, Patience: patience, Logger: logger})
	return d, err
}

// Accept implements net.Listener with what is net/http's to serve.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.passed:
		return conn, nil
	case err := <-d.Failed():
		return nil, err
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.address }

// Close ends the listener and the connections whose request has not come yet.
func (d *door) Close() error {
	err := d.Acceptor.Close()
	if !errors.Is(err, net.ErrClosed) {
		close(d.closed)
	}
	return err
}

// reading is what a request is read with. It is reused.
type reading struct {
	source bytes.Reader
	reader *bufio.Reader
}

var readings = sync.Pool{New: func() any { return &reading{reader: bufio.NewReader(nil)} }}

// meet serves one connection, or passes it on.
func (d *door) meet(conn *socket.Arrival) {
	defer func() {
		if p := recover(); p != nil {
			d.logger.Error("a handshake panicked", "panic", p, "stack", string(debug.Stack()))
			_ = conn.Close()
		}
	}()
	r := readings.Get().(*reading)
	defer readings.Put(r)
	request := r.request(conn.Bytes())
	if request == nil {
		d.pass(conn)
		return
	}
	request.RemoteAddr = conn.Remote().String()
	w := &response{conn: conn}
	d.serve(w, request)
	w.finish()
}

// pass gives a connection to net/http.
func (d *door) pass(arrival *socket.Arrival) {
	begun := bytes.Clone(arrival.Bytes())
	conn, err := arrival.NetConn()
	if err != nil {
		d.logger.Warn("a connection is lost", "error", err)
		return
	}
	select {
	case d.passed <- &begunConn{Conn: conn, begun: begun, deadline: arrival.Deadline()}:
	case <-d.closed:
		_ = conn.Close()
	}
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
