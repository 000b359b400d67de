package redis

import (
	"errors"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// controls keeps a connection to each node that is asked for the topology, so that asking again costs no handshake. All methods
// are safe for concurrent use.
type controls struct {
	dialer *dialer

	mu     sync.Mutex
	links  map[string]*link
	closed bool
}

func newControls(d *dialer) *controls { return &controls{dialer: d, links: make(map[string]*link)} }

// take returns the connection to a node for the caller alone; a new one dials on its first use.
func (c *controls) take(addr string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[addr]
	delete(c.links, addr)
	if l == nil {
		l = c.dialer.to(addr).open()
	}
	return l
}

// put gives a connection back that can be used again.
func (c *controls) put(addr string, l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.links[addr] != nil {
		l.close()
		return
	}
	c.links[addr] = l
}

// keep closes the connections to all nodes but those given.
func (c *controls) keep(addrs []string) {
	wanted := make(map[string]bool, len(addrs))
	for _, addr := range addrs {
		wanted[addr] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, l := range c.links {
		if !wanted[addr] {
			l.close()
			delete(c.links, addr)
		}
	}
}

// close closes all connections.
func (c *controls) close() {
	c.keep(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// isAnswer says whether an error is what Redis has answered.
func isAnswer(err error) bool {
	_, ok := errors.AsType[goredis.Error](err)
	return ok
}
