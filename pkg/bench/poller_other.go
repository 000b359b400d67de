//go:build !linux

package bench

import (
	"net"
	"time"
)

// clock is the poller of systems without epoll: it waits for time only, each connection has a goroutine to read from it.
type clock struct {
	timer *time.Timer
	woken chan struct{}
}

func newPoller() (poller, error) {
	return &clock{timer: time.NewTimer(0), woken: make(chan struct{}, 1)}, nil
}

func (p *clock) adopt(conn net.Conn) (link, error) { return &streamLink{conn: conn}, nil }

func (p *clock) arm(d time.Duration) { p.timer.Reset(max(d, 0)) }

func (p *clock) wait() {
	select {
	case <-p.timer.C:
	case <-p.woken:
	}
}

func (p *clock) dispatch(*Generator) {}

func (p *clock) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (p *clock) close() { p.timer.Stop() }

func openFileLimit() int { return 0 }
