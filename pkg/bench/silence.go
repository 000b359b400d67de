package bench

import (
	"errors"
	"time"
)

// errSilent ends a connection on which nothing came for so long that the other side must be gone: a machine that loses its
// power closes nothing.
var errSilent = errors.New("the server is silent")

// Heartbeat says how often the server sends something on an idle connection. The connection ends when nothing comes for two and
// a half times as long, as the protocol has servers do with clients.
func (c *Conn) Heartbeat(every time.Duration) {
	if every > 0 && c.patience == 0 {
		c.patience = every * 5 / 2
		c.generator.after(c.patience, c.listen)
	}
}

// listen is called with the lock held.
func (c *Conn) listen() {
	if c.state != connOpen {
		return
	}
	if left := c.heard + c.patience - c.generator.now; left > 0 {
		c.generator.after(left, c.listen)
		return
	}
	c.generator.connEnded(c, errSilent)
}
