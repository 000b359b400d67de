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

// batch is some encoded frames that go to all members in one write each.
type batch struct {
	buffer *socket.Buffer
	frames int
	oldest int64 // the earliest message's time, in milliseconds since 1970
	newest int64
	// except lists the frames that one connection must not get.
	except []exception
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
	if len(ch.members) == 0 {
		ch.mu.Unlock()
		return
	}
	if !ch.appendLocked(m) {
		ch.mu.Unlock()
		ch.hub.stats.dropped.Add(1)
		return
	}
	if ch.running {
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

// appendLocked puts the message's frame into the last batch, or a new one where that is full. It returns false when the
// channel's backlog is full.
func (ch *channel) appendLocked(m *backplane.Message) bool {
	n := len(ch.pending)
	if n == 0 || ch.pending[n-1].frames == batchFrames || len(ch.pending[n-1].buffer.B)+len(m.Body) > batchBytes {
		if n*batchBytes >= maxBacklogBytes {
			return false
		}
		ch.pending = append(ch.pending, batch{buffer: socket.NewBuffer(), oldest: protocol.MessageTime(m.Body)})
		n++
	}
	b := &ch.pending[n-1]
	from := len(b.buffer.B)
	b.buffer.B = appendFrame(b.buffer.B, m)
	b.frames++
	b.newest = protocol.MessageTime(m.Body)
	if m.Exclude != "" {
		b.except = append(b.except, exception{m.Exclude, from, len(b.buffer.B)})
	}
	return true
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
		ch.pending = append(ch.pending[:0], ch.pending[1:]...)
		members := ch.membersLocked()
		ch.mu.Unlock()
		ch.write(&b, members)
	}
}

// write sends one batch to every member.
func (ch *channel) write(b *batch, members []*Client) {
	frames := len(members) * b.frames
	if len(b.except) == 0 {
		for _, c := range members {
			c.Sender.Send(b.buffer)
		}
	} else {
		for _, c := range members {
			frames -= b.sendExcept(c)
		}
	}
	b.buffer.Release()
	ch.hub.stats.deliveries.Add(uint64(frames))
	now := time.Now().UnixMilli()
	ch.hub.stats.lag.observe(now-b.newest, now-b.oldest, uint64(frames))
}

// sendExcept sends the batch without the frames that are not for c, and returns how many those are.
func (b *batch) sendExcept(c *Client) (left int) {
	for _, e := range b.except {
		if e.connection == c.ID {
			left++
		}
	}
	if left == 0 {
		c.Sender.Send(b.buffer)
		return 0
	}
	rest := socket.NewBuffer()
	defer rest.Release()
	from := 0
	for _, e := range b.except {
		if e.connection == c.ID {
			rest.B = append(rest.B, b.buffer.B[from:e.from]...)
			from = e.to
		}
	}
	rest.B = append(rest.B, b.buffer.B[from:]...)
	c.Sender.Send(rest)
	return left
}
