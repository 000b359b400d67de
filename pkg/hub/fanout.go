package hub

import (
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

const (
	// inlineMembers is up to how many members a message is written by the goroutine that brought it: below about this
	// number starting a goroutine costs more than it lets others wait.
	inlineMembers = 32
	// batchFrames and batchBytes bound one write to one member. A write costs about 7 µs however small it is, so frames that
	// wait are written together; beyond 64 frames little is left to gain.
	batchFrames = 64
	batchBytes  = 128 << 10
	// maxBacklogBytes bounds what waits in one channel for its fan-out; beyond it messages are dropped and counted.
	maxBacklogBytes = 8 << 20
)

// batch is some encoded frames that go to all members in one write each; or, where call is set, something that has to
// happen in order with them.
type batch struct {
	call func()

	buffer *socket.Buffer
	frames int
	oldest int64 // the earliest message's time, in milliseconds since 1970
	newest int64
	// except lists the frames that one connection must not get.
	except []exception
	// first is the offset of the first frame and ends are where the frames end in the buffer; 0 and nil without history.
	first int64
	ends  []int
}

// exception is a frame, by its bytes, that is not for the named connection.
type exception struct {
	connection string
	from, to   int
}

// deliver encodes a message once and fans it out: here, where the channel is small, or else by a goroutine that runs while
// there is something to write. What comes meanwhile joins the next batch. No timer delays a message to collect others.
func (ch *channel) deliver(m *backplane.Message) {
	ch.mu.Lock()
	switch {
	case m.Offset != 0:
		if ch.admitLocked(m) && !ch.passLocked(m) {
			ch.repairLocked() // the log still has it when the backlog has space again
		}
	case len(ch.members) > 0 && !ch.appendLocked(m):
		ch.hub.stats.dropped.Add(1)
	}
	ch.kickLocked()
}

// kick has what is pending fanned out.
func (ch *channel) kick() {
	ch.mu.Lock()
	ch.kickLocked()
}

// kickLocked is kick for a caller who has the lock, which it gives back.
func (ch *channel) kickLocked() {
	if ch.running || len(ch.pending) == 0 {
		ch.mu.Unlock()
		return
	}
	ch.running = true
	small := len(ch.members) <= inlineMembers
	ch.mu.Unlock()
	if small {
		ch.fanOut()
	} else {
		go ch.fanOut()
	}
}

// idleLocked tells whether a message would reach nobody: there are no members, and nobody is about to become one.
func (ch *channel) idleLocked() bool {
	return len(ch.members) == 0 && len(ch.pending) == 0 && !ch.running
}

// appendLocked puts the message's frame into the last batch, or a new one where that is full. It returns false when the
// channel's backlog is full.
func (ch *channel) appendLocked(m *backplane.Message) bool {
	n := len(ch.pending)
	if ch.pendingBytes >= maxBacklogBytes {
		return false
	}
	if n == 0 || !ch.pending[n-1].takes(m) {
		ch.pending = append(ch.pending, batch{buffer: socket.NewBuffer(), oldest: protocol.MessageTime(m.Body), first: m.Offset})
		n++
	}
	b := &ch.pending[n-1]
	from := len(b.buffer.B)
	b.buffer.B = appendFrame(b.buffer.B, m)
	ch.pendingBytes += len(b.buffer.B) - from
	b.frames++
	if m.Offset != 0 {
		b.ends = append(b.ends, len(b.buffer.B))
	}
	b.newest = protocol.MessageTime(m.Body)
	if m.Exclude != "" {
		b.except = append(b.except, exception{m.Exclude, from, len(b.buffer.B)})
	}
	return true
}

// takes tells whether the message can join the batch. One with a place in a log does not join one without: the first offset and
// the ends of the frames are of the whole batch.
func (b *batch) takes(m *backplane.Message) bool {
	return b.call == nil && (b.first != 0) == (m.Offset != 0) && b.frames < batchFrames && len(b.buffer.B)+len(m.Body) <= batchBytes
}

func appendFrame(dst []byte, m *backplane.Message) []byte {
	if m.Offset == 0 {
		return socket.AppendText(dst, m.Body)
	}
	body := socket.NewBuffer()
	defer body.Release()
	body.B = protocol.AppendMessageAt(body.B, m.Body, protocol.Position{Epoch: m.Epoch, Offset: m.Offset})
	return socket.AppendText(dst, body.B)
}

// fanOut writes batches until none is left. There is at most one a channel, so all members see one order.
func (ch *channel) fanOut() {
	for {
		ch.mu.Lock()
		if len(ch.pending) == 0 {
			ch.running = false
			ch.mu.Unlock()
			return
		}
		b := ch.pending[0]
		if b.buffer != nil {
			ch.pendingBytes -= len(b.buffer.B)
		}
		ch.pending = append(ch.pending[:0], ch.pending[1:]...)
		if b.call != nil {
			ch.mu.Unlock()
			b.call()
			continue
		}
		members, l := ch.membersLocked(), ch.log
		ch.mu.Unlock()
		ch.write(&b, members, l)
	}
}

// write sends one batch to every member. l is nil if the channel has no log.
func (ch *channel) write(b *batch, members []*Client, l *logState) {
	frames := len(members) * b.frames
	skipping := b.first != 0 && len(l.skipping) > 0
	if len(b.except) == 0 && !skipping {
		for _, c := range members {
			c.Sender.Send(b.buffer)
		}
	} else {
		for _, c := range members {
			skip := 0
			if skipping {
				skip = l.skipped(b, c)
			}
			frames -= b.sendPart(c, skip)
		}
	}
	if skipping {
		l.forgetSkipping(b)
	}
	b.buffer.Release()
	ch.hub.stats.deliveries.Add(uint64(frames))
	now := time.Now().UnixMilli()
	ch.hub.stats.lag.observe(now-b.newest, now-b.oldest, uint64(frames))
}

// sendPart sends the batch without its first skip frames and without those that are not for c. It returns how many were left out.
func (b *batch) sendPart(c *Client, skip int) (left int) {
	left = skip
	from := 0
	if skip > 0 {
		from = b.ends[skip-1]
	}
	for _, e := range b.except {
		if e.connection == c.ID && e.from >= from {
			left++
		}
	}
	switch {
	case left == b.frames:
		return left
	case left == 0:
		c.Sender.Send(b.buffer)
		return 0
	}
	rest := socket.NewBuffer()
	defer rest.Release()
	for _, e := range b.except {
		if e.connection == c.ID && e.from >= from {
			rest.B = append(rest.B, b.buffer.B[from:e.from]...)
			from = e.to
		}
	}
	rest.B = append(rest.B, b.buffer.B[from:]...)
	c.Sender.Send(rest)
	return left
}
