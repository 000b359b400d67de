package bench

import (
	"context"
	"time"
)

// stream is the sequence of one publisher's messages to one room.
type stream struct {
	seq uint32
	// pending are messages that not all members have yet, from number first on; only with a number of messages outstanding.
	pending []pendingMessage
	first   uint32
}

type pendingMessage struct {
	left int32 // deliveries to come; 0 or less: done
	sent time.Duration
}

// load is the publishing of one phase. It is guarded by the generator's lock.
type load struct {
	Load
	end         time.Duration // 0: not begun
	published   int
	due         time.Duration // when the next message is due, at a rate
	turn        int           // the next stream
	outstanding int
	done        bool // nothing more is published
	retryAt     time.Duration
	nextSweep   time.Duration
}

const (
	// maxLate is how far behind its rate a generator may fall before it leaves messages out instead of bunching them.
	maxLate = time.Second
	// stallTime is when a message that not everybody got no longer counts as outstanding.
	stallTime = 2 * time.Second
	// retryPublish is the wait when no publisher is connected.
	retryPublish = 50 * time.Millisecond
)

// ValidateLoad returns one sentence about what is wrong with a load, before anybody connects for it.
func (g *Generator) ValidateLoad(l Load) error {
	_, err := l.validate(&g.options)
	return err
}

// Publish publishes as load says, waits for the last deliveries, and returns what came of it. When ctx ends it publishes no more,
// but still waits, and then returns ctx's cause beside the phase. The phase is nil only if the load is out of range.
func (g *Generator) Publish(ctx context.Context, l Load) (*Phase, error) {
	l, err := l.validate(&g.options)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.now = g.elapsed()
	phase := newPhase()
	phase.begin = g.now
	g.phase = phase
	g.load = &load{Load: l}
	g.mu.Unlock()
	g.poller.wake()

	err = g.wait(ctx, func() bool { return g.load.done })
	g.mu.Lock()
	g.load.done = true
	phase.published = g.elapsed()
	g.mu.Unlock()
	g.drain(phase, l.Grace)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.load = nil
	phase.end = g.elapsed()
	phase.finish()
	g.phase = newPhase() // what still comes belongs to no phase
	return phase, err
}

// EndLoad ends the publishing that is under way, as if its time were over. Unlike other methods it is for any goroutine.
func (g *Generator) EndLoad() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.load != nil {
		g.load.done = true
		g.notify()
	}
}

// Delivered returns how many messages came since the load under way began. It is for any goroutine.
func (g *Generator) Delivered() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.phase.Delivered
}

// drain waits until every delivery that was expected has come, or nothing came for the grace.
func (g *Generator) drain(phase *Phase, grace time.Duration) {
	for ; ; time.Sleep(5 * time.Millisecond) {
		g.mu.Lock()
		last := max(phase.lastDelivery, phase.published)
		over := phase.Delivered >= phase.Expected && phase.Answered() >= phase.Published || g.elapsed()-last > grace
		g.mu.Unlock()
		if over {
			return
		}
	}
}

// tick publishes what is due.
func (l *load) tick(g *Generator) {
	if l.done {
		return
	}
	if l.end == 0 { // the time counts from here: on a busy machine the loop may wake up late
		l.end, l.due, l.nextSweep = g.now+l.Duration, g.now, g.now+stallTime/4
	}
	if g.now >= l.end || l.Messages > 0 && l.published >= l.Messages {
		l.done = true
		g.notify()
		return
	}
	if l.Outstanding > 0 {
		if g.now >= l.nextSweep {
			l.sweep(g)
		}
		l.fill(g)
		return
	}
	interval := time.Duration(float64(time.Second) / l.Rate)
	for l.due <= g.now && (l.Messages == 0 || l.published < l.Messages) {
		if late := g.now - l.due; late > maxLate {
			left := int64(late / interval)
			g.phase.LeftOut += uint64(left)
			l.due += time.Duration(left) * interval
		}
		g.phase.MaxSendLag = max(g.phase.MaxSendLag, milliseconds(g.now-l.due))
		l.due += interval
		l.publish(g)
	}
}

// next is when tick has something to do.
func (l *load) next() time.Duration {
	if l.done {
		return 1 << 62
	}
	if l.end == 0 {
		return 0
	}
	if l.Outstanding > 0 {
		next := min(l.end, l.nextSweep)
		if l.retryAt > 0 {
			next = min(next, l.retryAt)
		}
		return next
	}
	return min(l.end, l.due)
}

// fill publishes until the allowed number of messages is outstanding.
func (l *load) fill(g *Generator) {
	l.retryAt = 0
	for skipped := 0; l.outstanding < l.Outstanding && !l.done && (l.Messages == 0 || l.published < l.Messages); {
		if l.publish(g) {
			skipped = 0
		} else if skipped++; skipped >= len(g.streams) {
			l.retryAt = g.now + retryPublish
			return
		}
	}
}

// publish sends the next message of the stream whose turn it is. It returns false if its publisher is not connected.
func (l *load) publish(g *Generator) bool {
	number := l.turn
	l.turn = (l.turn + 1) % len(g.streams)
	publisher := g.clients[g.topology.streamPublisher(number)].publisher()
	if publisher == nil {
		g.phase.Unsent++
		return false
	}
	l.published++
	s := &g.streams[number]
	s.seq++
	room := g.topology.streamRoom(number)
	now := g.elapsed()
	stamp := Stamp{Stream: uint32(number), Seq: s.seq, At: now}
	expected := g.members[room]
	g.phase.Published++
	g.phase.Expected += uint64(expected)
	if l.Outstanding > 0 {
		s.await(expected, now)
		if expected > 0 {
			l.outstanding++
		}
	}
	if g.check != nil {
		g.check.published(stamp)
	}
	g.id = stamp.appendID(g.id[:0])
	g.data = stamp.appendData(g.data[:0], g.options.PayloadBytes)
	g.payload = g.options.Dialect.AppendPublish(g.payload[:0], g.topology.roomName(room), g.id, g.data)
	publisher.Send(g.payload)
	publisher.unanswered++
	if !g.options.Dialect.Acks() {
		publisher.acked(stamp)
	}
	return true
}

// await expects n deliveries of the message with the stream's last number.
func (s *stream) await(n int32, now time.Duration) {
	if len(s.pending) == 0 {
		s.first = s.seq
	}
	for s.first+uint32(len(s.pending)) < s.seq { // numbers used while nothing was awaited
		s.pending = append(s.pending, pendingMessage{})
	}
	s.pending = append(s.pending, pendingMessage{left: n, sent: now})
}

// arrived counts a delivery and returns true if it was the message's last.
func (s *stream) arrived(seq uint32) bool {
	i := seq - s.first
	if seq < s.first || int(i) >= len(s.pending) {
		return false
	}
	s.pending[i].left--
	last := s.pending[i].left == 0
	s.trim()
	return last
}

func (s *stream) trim() {
	done := 0
	for done < len(s.pending) && s.pending[done].left <= 0 {
		done++
	}
	if done == len(s.pending) {
		s.pending = s.pending[:0]
	} else if done > 0 && done >= len(s.pending)/2 {
		s.pending = append(s.pending[:0], s.pending[done:]...)
		s.first += uint32(done)
	}
}

// sweep gives up messages that not everybody got: a member may have left.
func (l *load) sweep(g *Generator) {
	l.nextSweep = g.now + stallTime/4
	for i := range g.streams {
		s := &g.streams[i]
		for j := range s.pending {
			if p := &s.pending[j]; p.left > 0 && g.now-p.sent > stallTime {
				p.left = 0
				l.outstanding--
				g.phase.Stalled++
			}
		}
		s.trim()
	}
}

// delivered counts one message that came.
func (g *Generator) delivered(c *Conn, s Stamp) {
	if int(s.Stream) >= len(g.streams) || s.Seq == 0 || s.Seq > g.streams[s.Stream].seq {
		g.strange++
		return
	}
	g.phase.deliver(g.now, g.now-s.At)
	if g.load != nil && g.load.Outstanding > 0 && g.streams[s.Stream].arrived(s.Seq) {
		g.load.outstanding--
		g.load.fill(g)
	}
	if g.check != nil {
		g.check.delivered(c.client.number, c.number, s)
	}
}

// lateAck is how long an ack takes that tells of a fault: a gateway waits up to 2 s for a Redis that is away, and a short outage shows in
// nothing else.
const lateAck = time.Second

// acked counts a publish that the server took.
func (c *Conn) acked(s Stamp) {
	g := c.generator
	if int(s.Stream) >= len(g.streams) || s.Seq == 0 || s.Seq > g.streams[s.Stream].seq {
		g.strange++
		return
	}
	c.unanswered--
	g.phase.Acked++
	took := g.elapsed() - s.At
	g.phase.ackLatency.add(took)
	if took >= lateAck {
		g.fault()
	}
	if g.check != nil {
		g.check.acked(s)
	}
}

// failed counts an error; publish says whether it answers one.
func (g *Generator) failed(c *Conn, s Stamp, publish bool, code string) {
	if publish {
		c.unanswered--
	}
	g.phase.Failed[code]++
	if code == codeUnavailable {
		g.fault()
	}
	if publish && g.check != nil && int(s.Stream) < len(g.streams) && s.Seq > 0 && s.Seq <= g.streams[s.Stream].seq {
		g.check.refused(s, code == codeUnavailable)
	}
}

// sentence keeps what the server said with a code, for people.
func (g *Generator) sentence(code, text string) {
	if len(g.sentences) < maxKinds {
		g.sentences[code] = text
	}
}

func (g *Generator) joinRefused(c *Conn) {
	g.joinErrors++
	c.Joined(1) // go on without it: the report says so
}
