// Package faultproxy is a TCP proxy for tests that breaks links on demand: it cuts them, delays them, leads them elsewhere, or
// swallows every byte while both ends stay connected, as a half-open link does. It knows nothing of what passes through, but for a
// word that it can tell some links from others by.
package faultproxy

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy passes connections on to one address. All methods are safe for concurrent use.
type Proxy struct {
	// Addr is where to connect to.
	Addr string

	t  testing.TB
	wg sync.WaitGroup

	mu        sync.Mutex
	target    string
	listener  net.Listener // nil while refusing
	conns     map[net.Conn]struct{}
	delay     time.Duration
	blackhole bool
	word      []byte // marks connections whose client sends it
	only      bool   // blackhole is for marked connections
	accepted  int
	closed    bool
}

// Start listens on a free port of loopback and passes on to target (host:port) until the test ends.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatalf("fault proxy: %v", err)
	}
	release, err := reserve(l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatalf("fault proxy: reserve the port: %v", err)
	}
	t.Cleanup(release)
	p := &Proxy{Addr: l.Addr().String(), t: t, target: target, conns: make(map[net.Conn]struct{})}
	p.serve(l)
	t.Cleanup(p.close)
	return p
}

func listen(addr string) (net.Listener, error) {
	config := net.ListenConfig{Control: shared}
	return config.Listen(context.Background(), "tcp", addr)
}

// Cut closes all connections at once; new ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

// Refuse closes all connections and the port until Restore.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.cutLocked()
}

// Blackhole swallows every byte of all connections, old and new, from now on: nothing arrives, nothing is closed. Connections
// that were open then never carry a byte again.
func (p *Proxy) Blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blackhole, p.only = true, false
}

// Mark marks the connections on which the client sends a word from now on.
func (p *Proxy) Mark(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word = []byte(word)
}

// BlackholeMarked is Blackhole for marked connections only, from the moment on in which they are marked.
func (p *Proxy) BlackholeMarked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blackhole, p.only = true, true
}

// Delay holds back everything that passes by d, in both directions.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Retarget closes all connections and passes new ones on to another address (host:port).
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	p.cutLocked()
}

// RetargetNew passes new connections on to another address (host:port); those that are open stay.
func (p *Proxy) RetargetNew(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Restore ends Refuse, Blackhole and Delay for new connections; those that were black holes stay so.
func (p *Proxy) Restore() {
	p.t.Helper()
	p.mu.Lock()
	p.blackhole, p.only, p.delay = false, false, 0
	refusing := p.listener == nil && !p.closed
	p.mu.Unlock()
	if !refusing {
		return
	}
	l, err := listen(p.Addr)
	if err != nil {
		p.t.Fatalf("fault proxy: listen again: %v", err)
	}
	p.serve(l)
}

// Accepted counts the connections taken so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Open counts the connections that are passed on now.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2 // both ends of each are in it
}

func (p *Proxy) serve(l net.Listener) {
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(client) })
		}
	})
}

func (p *Proxy) pass(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	if !p.add(client, server) {
		return
	}
	var both sync.WaitGroup
	var marked atomic.Bool
	both.Go(func() { p.copy(server, client, &marked, true) })
	both.Go(func() { p.copy(client, server, &marked, false) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted++
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

// copy passes on until either end closes, and then closes both. A black hole outlives Blackhole: bytes that were lost in the
// middle of a stream cannot be made good by passing on later ones. What the client sends is searched for the word.
func (p *Proxy) copy(to, from net.Conn, marked *atomic.Bool, fromClient bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	swallow := false
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		if fromClient && len(p.word) > 0 && bytes.Contains(buf[:n], p.word) {
			marked.Store(true)
		}
		swallow = swallow || p.blackhole && (!p.only || marked.Load())
		delay := p.delay
		p.mu.Unlock()
		if swallow {
			if err != nil && !p.stillSwallowing() {
				return
			}
			if err != nil {
				p.waitUntilCut(to)
				return
			}
			continue
		}
		if delay > 0 {
			time.Sleep(delay)
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// stillSwallowing says whether the end of a stream is to be swallowed like its bytes.
func (p *Proxy) stillSwallowing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blackhole && !p.closed
}

// waitUntilCut holds the other end open until it goes away by itself or is cut.
func (p *Proxy) waitUntilCut(conn net.Conn) {
	for p.stillSwallowing() {
		time.Sleep(5 * time.Millisecond)
		p.mu.Lock()
		_, open := p.conns[conn]
		p.mu.Unlock()
		if !open {
			return
		}
	}
}

func (p *Proxy) cutLocked() {
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.cutLocked()
	p.mu.Unlock()
	p.wg.Wait()
}
