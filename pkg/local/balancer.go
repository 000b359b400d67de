package local

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	// patience is how long a new client waits while no gateway is ready, such as between the death of the only one and its restart.
	patience = 3 * time.Second
	// nobodyReady is what it hears then. Whatever it speaks, it starts with HTTP.
	nobodyReady = `{"code":"overloaded","message":"no gateway is ready; try again in a moment"}` + "\n"
)

// balancer is the Service of a local cluster: it accepts TCP connections and hands each to a ready gateway. With affinity a
// client address comes back to its gateway, and a new one goes to the gateway with the fewest connections; without affinity
// connections take turns, so that somebody who connects again is soon elsewhere. It looks at addresses only, never into the
// stream, so it balances TLS as well. All methods are safe for concurrent use.
type balancer struct {
	listener net.Listener
	now      func() time.Time

	mu       sync.Mutex
	affinity affinity
	backends map[string]*backend
	picks    uint64        // counts choices, so that equals take turns
	changed  chan struct{} // closed and replaced when a backend becomes ready
	open     map[net.Conn]struct{}
	closed   bool
	serving  sync.WaitGroup
}

type backend struct {
	address string
	// connections go through this balancer now; picked is when, counted in picks, the backend was last chosen.
	connections int
	picked      uint64
}

func newBalancer(listener net.Listener, now func() time.Time) *balancer {
	return &balancer{
		listener: listener, now: now, backends: map[string]*backend{}, changed: make(chan struct{}), open: map[net.Conn]struct{}{},
	}
}

// serve accepts clients until close. When ctx ends, those who wait for a ready gateway wait no longer.
func (b *balancer) serve(ctx context.Context) error {
	for {
		client, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			if _, passing := errors.AsType[net.Error](err); passing { // out of file descriptors, for one: it passes
				time.Sleep(50 * time.Millisecond)
				continue
			}
			return err
		}
		if !b.track(client) {
			_ = client.Close()
			continue
		}
		b.serving.Go(func() {
			defer b.untrack(client)
			b.handle(ctx, client)
		})
	}
}

// setAffinity sets how long a client's memory holds; 0: no affinity.
func (b *balancer) setAffinity(timeout time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.affinity.timeout = timeout
}

// ready adds a gateway that takes clients.
func (b *balancer) ready(name, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, found := b.backends[name]; found && known.address == address {
		return
	}
	b.backends[name] = &backend{address: address}
	close(b.changed)
	b.changed = make(chan struct{})
}

// unready takes a gateway away from new clients, and frees its clients to go elsewhere. Connections that are open stay.
func (b *balancer) unready(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.backends, name)
	b.affinity.forget(name)
}

// stopAccepting refuses new clients from now on.
func (b *balancer) stopAccepting() { _ = b.listener.Close() }

// close cuts every connection and returns when all are gone.
func (b *balancer) close() {
	b.stopAccepting()
	b.mu.Lock()
	b.closed = true
	for conn := range b.open {
		_ = conn.Close()
	}
	b.mu.Unlock()
	b.serving.Wait()
}

func (b *balancer) track(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.open[conn] = struct{}{}
	}
	return !b.closed
}

func (b *balancer) untrack(conn net.Conn) {
	_ = conn.Close()
	b.mu.Lock()
	delete(b.open, conn)
	b.mu.Unlock()
}

func (b *balancer) handle(ctx context.Context, client net.Conn) {
	chosen, upstream := b.connect(ctx, client)
	if upstream == nil {
		_ = client.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(client, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: "+
			strconv.Itoa(len(nobodyReady))+"\r\n\r\n"+nobodyReady)
		return
	}
	defer b.release(chosen)
	if !b.track(upstream) {
		_ = upstream.Close()
		return
	}
	defer b.untrack(upstream)
	splice(client, upstream)
}

// connect chooses a gateway and dials it; one that does not answer is unready until it is said to be ready again. It returns
// no connection when none answered within the patience.
func (b *balancer) connect(ctx context.Context, client net.Conn) (*backend, net.Conn) {
	address := clientAddress(client)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		name, chosen, changed := b.pick(address)
		if chosen == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, nil
			}
		}
		dialer := net.Dialer{Timeout: dialTimeout}
		upstream, err := dialer.DialContext(ctx, "tcp", chosen.address)
		if err == nil {
			return chosen, upstream
		}
		b.release(chosen)
		b.unready(name)
	}
}

// pick chooses a ready gateway for a new connection and counts it; nil: there is none, and the channel is closed when there is one.
func (b *balancer) pick(client netip.Addr) (string, *backend, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := b.affinity.backend(client, b.now())
	if b.backends[name] == nil {
		name = b.choose()
	}
	chosen := b.backends[name]
	if chosen == nil {
		return "", nil, b.changed
	}
	b.picks++
	chosen.picked = b.picks
	chosen.connections++
	b.affinity.remember(client, name, b.now())
	return name, chosen, nil
}

// choose names the backend for somebody who has none; empty: there is none. The caller holds mu.
func (b *balancer) choose() string {
	chosen := ""
	for name, candidate := range b.backends {
		best := b.backends[chosen]
		if best == nil {
			chosen = name
			continue
		}
		fewer := 0
		if b.affinity.timeout > 0 {
			fewer = cmp.Compare(candidate.connections, best.connections)
		}
		if cmp.Or(fewer, cmp.Compare(candidate.picked, best.picked), strings.Compare(name, chosen)) < 0 {
			chosen = name
		}
	}
	return chosen
}

func (b *balancer) release(chosen *backend) {
	b.mu.Lock()
	chosen.connections--
	b.mu.Unlock()
}

func clientAddress(conn net.Conn) netip.Addr {
	address, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap()
}

// splice copies both ways until both ended. Between TCP connections the kernel does the copying.
func splice(a, b net.Conn) {
	var both sync.WaitGroup
	copyTo := func(to, from net.Conn) {
		if _, err := io.Copy(to, from); err != nil {
			_ = to.Close() // the other side's reader must end as well
			_ = from.Close()
			return
		}
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	both.Go(func() { copyTo(a, b) })
	both.Go(func() { copyTo(b, a) })
	both.Wait()
}
