package socket

import (
	"io"
	"testing"
	"time"
)

// beating is a poller without a goroutine or sockets: its clock is the test's, and what it sends stays in the queues.
func beating(heartbeat time.Duration) *poller {
	r := &Reactor{config: Config{Heartbeat: heartbeat, SendQueueBytes: func() int { return 1 << 30 }}}
	count, turn := turnsIn(heartbeat)
	return &poller{reactor: r, turnLength: turn, turns: make([][]*Conn, count)}
}

// come adds a connection to the poller.
func (p *poller) come(t *testing.T) *Conn {
	t.Helper()
	c := newLoose(func() int { return 1 << 16 }, false).Conn
	c.poller, c.lastRead = p, p.now
	p.place(c, p.now)
	return c
}

// pings takes the pings that were sent since the last call.
func (c *Conn) pings() int {
	if c.state != open {
		return 0
	}
	n := len(c.queue) - 1 // the first is newLoose's
	c.queue, c.queuedBytes = c.queue[:1], 0
	return n
}

var heartbeats = []time.Duration{25 * time.Second, time.Second, 10500 * time.Millisecond, 100 * time.Millisecond, time.Hour}

func TestEveryConnectionIsPingedOnceInEachHeartbeat(t *testing.T) {
	for _, heartbeat := range heartbeats {
		t.Run(heartbeat.String(), func(t *testing.T) {
			p := beating(heartbeat)
			var conns []*Conn
			var last [40]time.Duration // when each was pinged; 0: never
			for end := 6 * heartbeat; p.now < end; p.now += p.turnLength {
				if len(conns) < len(last) {
					conns = append(conns, p.come(t)) // one comes in each turn
				}
				p.tick()
				for i, c := range conns {
					pings := c.pings()
					c.lastRead = p.now
					if pings == 0 {
						continue
					}
					if gap := p.now - last[i]; pings > 1 || last[i] != 0 && (gap < heartbeat-p.turnLength || gap > heartbeat+p.turnLength) {
						t.Fatalf("connection %d gets %d pings %v after its last one, want one after %v", i, pings, gap, heartbeat)
					}
					last[i] = p.now
				}
			}
			for i := range conns {
				if silent := p.now - last[i]; silent > heartbeat+p.turnLength {
					t.Errorf("connection %d got no ping for %v", i, silent)
				}
			}
			if len(p.watched) > 0 {
				t.Errorf("%d connections that answer are watched with every tick", len(p.watched))
			}
		})
	}
}

func TestASilentClientIsCutAfterTwoAndAHalfHeartbeats(t *testing.T) {
	for _, heartbeat := range heartbeats {
		for name, answers := range map[string]struct {
			count int           // how many pings are answered
			late  time.Duration // after which time
		}{
			"one that never answers":                        {0, 0},
			"one that answers once":                         {1, 0},
			"one that answers three times, late":            {3, heartbeat * 9 / 10},
			"one that answers once, later than a heartbeat": {1, heartbeat * 5 / 4},
		} {
			t.Run(heartbeat.String()+" "+name, func(t *testing.T) {
				p := beating(heartbeat)
				p.now = 7 * heartbeat / 3
				p.tick()
				c := p.come(t)
				left, due := answers.count, time.Duration(0)
				for c.state == open {
					if p.now > 20*heartbeat {
						t.Fatal("it is not cut at all")
					}
					if due != 0 && p.now >= due {
						c.lastRead, due = p.now, 0
					}
					p.now += p.turnLength
					p.tick()
					if c.pings() > 0 && left > 0 && due == 0 {
						left, due = left-1, p.now+answers.late
					}
				}
				if silent := p.now - c.lastRead; silent <= heartbeat*5/2 || silent > heartbeat*5/2+2*p.turnLength {
					t.Errorf("it is cut after a silence of %v, want %v", silent, heartbeat*5/2)
				}
				if c.reason != HeartbeatTimeout || left > 0 || due != 0 {
					t.Errorf("it ended by %v with %d answers to come", c.reason, left)
				}
			})
		}
	}
}

func TestAClientThatIsHeardAgainIsNotWatchedAnyMore(t *testing.T) {
	p := beating(time.Minute)
	c := p.come(t)
	for p.now = 0; p.now < 2*time.Minute+5*time.Second; p.now += p.turnLength {
		p.tick()
	}
	if len(p.watched) != 1 {
		t.Fatalf("%d connections are watched, want the one that did not answer", len(p.watched))
	}
	c.lastRead = p.now
	p.tick()
	if len(p.watched) != 0 || c.watched {
		t.Error("a connection that was heard is still watched")
	}
}

func TestAPollerThatWasHeldUpPingsEverybodyOnce(t *testing.T) {
	p := beating(25 * time.Second)
	conns := make([]*Conn, 100)
	for i := range conns {
		conns[i] = p.come(t)
	}
	p.now = 10 * time.Minute
	for i := range conns {
		conns[i].lastRead = p.now
	}
	p.tick()
	for i, c := range conns {
		if n := c.pings(); n != 1 {
			t.Fatalf("connection %d gets %d pings at once", i, n)
		}
	}
}

// The room that a socket has is not waited for before there is none. What is sent before Start may be when there is none.
func TestWhatTheSocketDoesNotTakeFollowsWhenThereIsRoom(t *testing.T) {
	for name, before := range map[string]bool{"sent before Start": true, "sent after Start": false} {
		t.Run(name, func(t *testing.T) {
			const size = 32 << 20 // more than a socket's buffers ever hold
			s := newServer(t, false, func(c *Config) { c.SendQueueBytes = func() int { return 2 * size } })
			if before {
				s.greeting = size
			}
			ws, e := s.dial(t)
			if !before {
				e.greet(size)
			}
			waitUntil(t, "a part of it is queued", func() bool { return e.conn.Queued() > 0 })
			_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
			_, message, err := ws.NextReader()
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, message); err != nil || n != size {
				t.Fatalf("%d bytes came (%v), want %d", n, err, size)
			}
		})
	}
}

// greet sends one message of that size.
func (e *echo) greet(size int) {
	b := NewBuffer()
	defer b.Release()
	b.B = AppendText(b.B, make([]byte, size))
	e.conn.Send(b)
}
