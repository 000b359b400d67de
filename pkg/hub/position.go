package hub

import (
	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// logState is what a channel with history knows of its log. All members see one sequence of offsets without holes: what comes
// twice is dropped, and at a hole the channel stops, reads the log once for all members, and goes on in order.
type logState struct {
	// Guarded by channel.mu.

	// at is the last message given to the fan-out; it means nothing until known.
	at    protocol.Position
	known bool
	// repairing is true while a goroutine reads what is missing; again says that something came meanwhile which its page may
	// not have.
	repairing, again bool
	attaching        []*attachment

	// The fan-out's.

	// skipping holds members that have got messages from the log beyond what the channel has fanned out.
	skipping map[*Client]int64
}

// skipped returns how many of the batch's first frames the client has had from the log already.
func (l *logState) skipped(b *batch, c *Client) int {
	return int(min(max(0, l.skipping[c]-b.first+1), int64(b.frames)))
}

// forgetSkipping forgets what ends with the batch, also for clients that have left since.
func (l *logState) forgetSkipping(b *batch) {
	for c, had := range l.skipping {
		if had < b.first+int64(b.frames) {
			delete(l.skipping, c)
		}
	}
}

// logLocked returns the channel's log state, made at the first call.
func (ch *channel) logLocked() *logState {
	if ch.log == nil {
		ch.log = &logState{}
		ch.hub.shard(ch.target).logs.Store(true)
	}
	return ch.log
}

// admitLocked tells whether a message with an offset is the next one. If it is not, either it was fanned out before or
// something before it is missing, and a repair begins, which finds this message too.
func (ch *channel) admitLocked(m *backplane.Message) bool {
	l := ch.logLocked()
	if !l.known {
		// Everything published since the subscription is delivered, so what comes first is where this channel begins.
		l.known, l.at = true, protocol.Position{Epoch: m.Epoch, Offset: m.Offset - 1}
	}
	if m.Epoch != l.at.Epoch || m.Offset > l.at.Offset+1 {
		ch.repairLocked()
		return false
	}
	return m.Offset == l.at.Offset+1
}

// passLocked fans a message out that admitLocked let in, or that a repair found. It returns false when the channel's backlog
// is full: then nothing has happened.
func (ch *channel) passLocked(m *backplane.Message) bool {
	if !ch.idleLocked() && !ch.appendLocked(m) {
		return false
	}
	ch.log.at.Offset = m.Offset
	for _, a := range ch.log.attaching {
		a.capture(m)
	}
	return true
}

// applyLocked gives the page's messages that are still missing to the fan-out. asked is where the page begins. progress is
// false if it should be tried again a little later, done is true when the channel has caught up.
func (ch *channel) applyLocked(asked protocol.Position, page *backplane.Page) (progress, done bool) {
	l := ch.log
	if l.at.Epoch == asked.Epoch && page.Epoch != l.at.Epoch {
		// Of the old epoch's messages those up to Previous survived; the new one goes on behind them. Where another epoch lies in
		// between, nobody knows which of its messages have the offsets that the members have had in theirs: they are given all.
		start := int64(0)
		if page.Previous.Epoch == l.at.Epoch {
			start = min(l.at.Offset, page.Previous.Offset)
		}
		ch.moveLocked(protocol.Position{Epoch: page.Epoch, Offset: min(max(start, page.Oldest-1), page.Newest)})
		return true, false
	}
	if page.Epoch != l.at.Epoch {
		return true, false // the channel moved on while we read
	}
	if page.Oldest > l.at.Offset+1 && page.Newest > l.at.Offset {
		// The log was trimmed beyond what this process has seen: say so rather than leave a silent hole.
		ch.hub.stats.lost.Add(uint64(page.Oldest - 1 - l.at.Offset))
		ch.moveLocked(protocol.Position{Epoch: page.Epoch, Offset: page.Oldest - 1})
	}
	for i := range page.Messages {
		logged := &page.Messages[i]
		if logged.Offset != l.at.Offset+1 {
			continue
		}
		m := backplane.Message{Target: ch.target, Exclude: logged.Exclude, Body: logged.Body, Epoch: page.Epoch, Offset: logged.Offset}
		if !ch.passLocked(&m) {
			return false, false // the backlog is full: what was taken is fanned out, then we go on
		}
	}
	return true, page.Newest <= l.at.Offset
}

// moveLocked goes to another place in the log than the next one, and tells the members.
func (ch *channel) moveLocked(to protocol.Position) {
	from := ch.log.at
	ch.log.at = to
	ch.restartLocked()
	ch.pending = append(ch.pending, batch{call: func() { ch.tellMove(from, to) }})
}

// tellMove is the fan-out's part of a move. A member that has had more of the log than was fanned out stands elsewhere: within the
// same epoch it may have had all that the others are passed over.
func (ch *channel) tellMove(from, to protocol.Position) {
	ch.mu.Lock()
	members, l := ch.membersLocked(), ch.log
	ch.mu.Unlock()
	if from.Epoch != to.Epoch {
		clear(l.skipping) // its offsets are the old epoch's
	}
	all := ch.epochChanged(from, to)
	defer all.Release()
	for _, c := range members {
		switch had := l.skipping[c]; {
		case had == 0:
			c.Sender.Send(all)
		case had < to.Offset:
			delete(l.skipping, c)
			one := ch.epochChanged(protocol.Position{Epoch: from.Epoch, Offset: had}, to)
			c.Sender.Send(one)
			one.Release()
		}
	}
}

// epochChanged encodes the frame that tells of a move. The caller releases it.
func (ch *channel) epochChanged(from, to protocol.Position) *socket.Buffer {
	room := ch.target.ID
	if ch.target.Kind == backplane.User {
		room = ""
	}
	b := socket.NewBuffer()
	b.B = socket.AppendTextFrom(b.B, func(dst []byte) []byte { return protocol.AppendEpochChanged(dst, room, to, from) })
	return b
}

// restartLocked has the joins that are under way begin anew.
func (ch *channel) restartLocked() {
	for _, a := range ch.log.attaching {
		a.overflow = true
	}
}
