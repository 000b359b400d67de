package socket

import (
	"math/rand/v2"
	"time"
)

// A heartbeat is divided into turns, and each connection has one of them for its life. So a tick looks at the connections
// whose turn it is, not at all: eighteen thousand scattered over memory are a cache miss each, every second. Those that may have to be
// cut are few, and are looked at with every tick: a connection gets onto that list in good time by its own turns.

// longestTurn is what a ping may be late by when a poller was busy: a second, or an eighth of a short heartbeat.
const longestTurn = time.Second

// turnsIn returns into how many turns a heartbeat is divided, and how long one is.
func turnsIn(heartbeat time.Duration) (count int, turn time.Duration) {
	const shortest = 10 * time.Millisecond
	longest := max(shortest, min(longestTurn, heartbeat/8))
	count = max(1, int((heartbeat+longest-1)/longest))
	return count, max(shortest, heartbeat/time.Duration(count))
}

// place gives a new connection its turn. The first ping comes early by a random part, so that clients that connect together
// are not pinged together. The caller holds p.mu.
func (p *poller) place(c *Conn, now time.Duration) {
	first := now + time.Duration((0.5+rand.Float64()/2)*float64(p.reactor.config.Heartbeat))
	c.turn = int32(int(first/p.turnLength) % len(p.turns))
	c.index = int32(len(p.turns[c.turn]))
	p.turns[c.turn] = append(p.turns[c.turn], c)
	p.count++
}

// displace takes a connection out of its turn. The caller holds p.mu.
func (p *poller) displace(c *Conn) {
	turn := p.turns[c.turn]
	last := len(turn) - 1
	turn[c.index] = turn[last]
	turn[c.index].index = c.index
	turn[last] = nil
	p.turns[c.turn] = turn[:last]
	p.count--
}

// tick sends the pings that are due and ends what is silent or lingers for too long.
func (p *poller) tick() {
	ping := NewBuffer()
	defer ping.Release()
	ping.B = appendHeader(ping.B, finBit|opPing, 0)
	due := int64(p.now / p.turnLength)
	p.turn = max(p.turn, due-int64(len(p.turns))) // a poller that was held up for long pings everybody once
	for p.turn < due {
		p.turn++
		p.ping(int(p.turn%int64(len(p.turns))), ping)
	}
	p.watch()
}

// ping sends a ping to everybody whose turn it is.
func (p *poller) ping(turn int, ping *Buffer) {
	p.mu.Lock()
	p.scan = append(p.scan[:0], p.turns[turn]...)
	p.mu.Unlock()
	for _, c := range p.scan {
		// Who has answered the last ping was heard one heartbeat ago at most. Who has not is looked at before 2.5 are over.
		if c.lingerEnd == 0 && p.now-c.lastRead > p.reactor.config.Heartbeat*5/4 {
			p.watchOver(c)
		}
		c.Send(ping)
	}
	clear(p.scan)
}

// watchOver has every tick look at a connection until it is heard again or gone.
func (p *poller) watchOver(c *Conn) {
	if !c.watched {
		c.watched = true
		p.watched = append(p.watched, c)
	}
}

// watch ends those of the watched that are silent or linger for too long.
func (p *poller) watch() {
	heartbeat := p.reactor.config.Heartbeat
	kept := p.watched[:0]
	for _, c := range p.watched {
		silent := p.now - c.lastRead
		switch {
		case c.gone:
		case c.lingerEnd != 0 && p.now >= c.lingerEnd:
			c.Abort(ClientGone)
		case c.lingerEnd == 0 && silent > heartbeat*5/2:
			c.Abort(HeartbeatTimeout)
		case c.lingerEnd == 0 && silent < heartbeat:
			c.watched = false
		default:
			kept = append(kept, c)
		}
	}
	clear(p.watched[len(kept):])
	p.watched = kept
}
