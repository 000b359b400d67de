package hub

import (
	"errors"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// Wanted is what a client wants of the log when it joins a channel with history.
type Wanted struct {
	// Recover asks for everything after From.
	Recover bool
	From    protocol.Position
	// History asks for the newest messages, if nothing is recovered; 0: none.
	History int
	// Presence is on the terms of Join.
	Presence Presence
}

const (
	// recoverAttempts bounds how often a join begins anew because the channel moved on.
	recoverAttempts = 200
	recoverPause    = 10 * time.Millisecond
	// recoveriesAtOnce bounds the joins that read a log at the same time; a page each is in memory.
	recoveriesAtOnce = 64
)

// joining is one client on its way into a channel with history.
type joining struct {
	hub        *Hub
	membership *Membership
	wanted     Wanted
	// done is called once, in order with the channel's messages.
	done func(protocol.Recovery)
	told bool
	// newest says that the client has to be told where the log stands, and not where the channel does, which may be behind it.
	newest bool
	// again says that the client is a member already, or on its way: it is only told where the channel stands.
	again bool
	last  int64 // the newest message sent to the client from the log
	// result is filled by the first page.
	result protocol.Recovery
}

// JoinLog makes the client a member of a room with history. done is called once, when the client's place in the log is known:
// what it is given there, then what is left of a recovery, and then live messages reach the client in order, each offset once.
// While the log cannot be read, the join waits. JoinLog does not block. Joining again only calls done. It returns false, and
// never calls done, if too many joins of this client and room wait already.
func (h *Hub) JoinLog(c *Client, room string, wanted Wanted, done func(protocol.Recovery)) bool {
	m, again := membership(c, room), true
	if m == nil {
		m, again = newMembership(h.acquire(backplane.Target{Kind: backplane.Room, ID: room}), c), false
		m.entering.Store(true)
		c.rooms = append(c.rooms, m)
		told := done
		done = func(r protocol.Recovery) {
			told(r)
			h.background.Go(m.entered) // the caller fans out, and may not publish
		}
	} else {
		wanted = Wanted{Presence: wanted.Presence}
	}
	h.appear(m, wanted.Presence)
	return m.channel.whenLive(m, func() { h.startJoining(&joining{hub: h, membership: m, wanted: wanted, done: done, again: again}) })
}

// startJoining runs the join on a goroutine, unless the channel's place is known and nothing of the log is wanted.
func (h *Hub) startJoining(j *joining) {
	ch := j.membership.channel
	if !j.wanted.Recover && j.wanted.History == 0 && !j.newest {
		ch.mu.Lock()
		if l := ch.logLocked(); l.known && !l.repairing {
			j.enterLocked(l.at.Offset, nil)
			ch.mu.Unlock()
			ch.kick()
			return
		}
		ch.mu.Unlock()
	}
	h.background.Go(func() {
		h.recoveries <- struct{}{}
		defer func() { <-h.recoveries }()
		j.run()
	})
}

// run reads pages of the log, paced by the socket, until the rest can be joined with what the channel fans out.
func (j *joining) run() {
	ch := j.membership.channel
	for attempts := 0; attempts < recoverAttempts && j.hub.running.Err() == nil; attempts++ {
		if ch.gone(j.membership) {
			j.dismiss()
			return
		}
		a := ch.attach(j.membership.client)
		page, since, err := j.read()
		switch {
		case errors.Is(err, errMoved):
			ch.detach(a)
			continue
		case err != nil:
			ch.detach(a)
			sleep(j.hub.running, recoverPause)
			attempts = 0 // Redis is away: the join is kept until it is back
			continue
		case j.told && page.Epoch == j.result.At.Epoch && page.Oldest > since+1:
			// Trimmed while the client read: it is too slow for this log, and must not miss anything silently.
			ch.detach(a)
			j.membership.client.Sender.Close(uint16(protocol.CloseSlowConsumer), "too slow for the room's history", socket.SlowConsumer)
			return
		case j.told && page.Epoch != j.result.At.Epoch:
			ch.detach(a)
			j.giveUp()
			return
		}
		last := since
		if n := len(page.Messages); n > 0 {
			last = page.Messages[n-1].Offset
		}
		if last >= page.Newest || len(page.Messages) == 0 {
			if ch.enter(j, a, &page) {
				return
			}
			sleep(j.hub.running, recoverPause)
			continue
		}
		ch.detach(a)
		j.sendPage(&page)
		j.last = last
		j.pace()
	}
	j.giveUp()
}

// read returns the next page and the offset after which it begins.
func (j *joining) read() (page backplane.Page, since int64, err error) {
	target := j.membership.channel.target
	from := backplane.Cursor{Since: j.last, Limit: protocol.MaxAckMessages}
	if !j.told {
		// The first page: where the client begins is found out anew at each attempt.
		from.Since = j.wanted.From.Offset
		if !j.wanted.Recover {
			from = backplane.Cursor{}
		}
	}
	if page, err = j.hub.readLog(target, from); err != nil {
		return page, from.Since, err
	}
	if since = from.Since; !j.told {
		since = j.begin(&page)
	}
	if since != from.Since || from.Limit == 0 {
		// The client begins elsewhere than it hoped to.
		page.Messages = nil
		if since >= page.Newest {
			return page, since, nil
		}
		if page, err = j.hub.readLog(target, backplane.Cursor{Since: since, Limit: protocol.MaxAckMessages}); err != nil {
			return page, since, err
		}
		if page.Epoch != j.result.At.Epoch {
			return page, since, errMoved
		}
	}
	j.cut(&page)
	return page, since, nil
}

// errMoved means that the log changed between two reads that belong together.
var errMoved = errors.New("the log moved on between two reads")

// begin says after which offset the client's part of the log begins.
func (j *joining) begin(page *backplane.Page) int64 {
	j.result = protocol.Recovery{Asked: j.wanted.Recover, At: protocol.Position{Epoch: page.Epoch, Offset: page.Newest}}
	from := j.wanted.From
	if j.wanted.Recover && from.Epoch == page.Epoch && from.Offset <= page.Newest && from.Offset+1 >= page.Oldest {
		j.result.Recovered = true
		return from.Offset
	}
	if j.wanted.History > 0 {
		j.result.Messages = []byte{}
		return max(page.Oldest-1, page.Newest-int64(j.wanted.History))
	}
	return page.Newest
}

// cut leaves as many messages in the page as a quarter of the client's send queue holds, at least one.
func (j *joining) cut(page *backplane.Page) {
	left := j.hub.sendQueueBytes() / 4
	for i := range page.Messages {
		if left -= len(page.Messages[i].Body); left < 0 && i > 0 {
			page.Messages = page.Messages[:i]
			return
		}
	}
}

// sendPage gives the client a page: the first one in its ack, later ones as message frames.
func (j *joining) sendPage(page *backplane.Page) {
	if !j.told {
		j.result.At.Offset = page.Newest
		j.result.Messages = j.listed(page)
		j.tell()
		return
	}
	var frames []byte
	for i := range page.Messages {
		m := &page.Messages[i]
		if m.Exclude != j.membership.client.ID {
			frames = appendFrame(frames, &backplane.Message{Body: m.Body, Epoch: page.Epoch, Offset: m.Offset})
		}
	}
	j.send(frames)
}

// send sends frames to the client, if there are any.
func (j *joining) send(frames []byte) {
	if len(frames) == 0 {
		return
	}
	b := socket.NewBuffer()
	defer b.Release()
	b.B = append(b.B, frames...)
	j.membership.client.Sender.Send(b)
}

// listed joins the page's messages for an ack.
func (j *joining) listed(page *backplane.Page) []byte {
	list := j.result.Messages
	for i := range page.Messages {
		m := &page.Messages[i]
		if m.Exclude == j.membership.client.ID {
			continue
		}
		list = protocol.AppendListed(list, m.Body, protocol.Position{Epoch: page.Epoch, Offset: m.Offset})
	}
	return list
}

// pace waits until the client has taken most of what it was sent. It gives its place among those who read logs away meanwhile:
// nobody waits for a client that does not read.
func (j *joining) pace() {
	<-j.hub.recoveries
	defer func() { j.hub.recoveries <- struct{}{} }()
	for pause := recoverPause; j.membership.client.Sender.Queued() > j.hub.sendQueueBytes()/4; pause = min(2*pause, 16*recoverPause) {
		if j.hub.running.Err() != nil || j.membership.channel.gone(j.membership) {
			return
		}
		sleep(j.hub.running, pause)
	}
}

// tell calls done if it was not called yet.
func (j *joining) tell() {
	if !j.told {
		j.told = true
		j.done(j.result)
	}
}

// dismiss answers a join that was followed by a leave: every join is answered, but nothing is given any more.
func (j *joining) dismiss() {
	if j.told {
		return
	}
	ch := j.membership.channel
	ch.mu.Lock()
	at := ch.logLocked().at
	ch.mu.Unlock()
	j.result = protocol.Recovery{Asked: j.wanted.Recover, At: at}
	j.tell()
}

// giveUp has the client come back and recover from where it stands, since the channel moves on faster than it can be joined,
// or has gone to a new epoch before the client had all of the old one.
func (j *joining) giveUp() {
	j.membership.client.Sender.Close(uint16(protocol.CloseTryLater), "the room's history changes too fast: connect again", socket.Overloaded)
}

// enter joins the last page with what was collected since before it was read, and makes the client a member. It returns false
// if the join has to begin anew, since the channel is in another epoch than the page, too much was collected, or what was
// collected does not follow on the page.
func (ch *channel) enter(j *joining, a *attachment, page *backplane.Page) bool {
	ch.mu.Lock()
	ch.detachLocked(a)
	l := ch.log
	if !l.known {
		l.known, l.at = true, protocol.Position{Epoch: page.Epoch, Offset: page.Newest}
	}
	if l.at.Epoch != page.Epoch {
		ch.repairLocked()
	}
	if a.overflow || l.at.Epoch != page.Epoch || a.first > page.Newest+1 {
		ch.mu.Unlock()
		return false
	}
	if j.again {
		// A member is given what comes with all others, and would have it twice.
		j.enterLocked(page.Newest, nil)
		ch.mu.Unlock()
		ch.kick()
		return true
	}
	var rest []byte
	for _, f := range a.frames {
		if f.offset > page.Newest {
			rest = append(rest, f.frame...)
		}
	}
	j.enterLocked(page.Newest, func() {
		if len(page.Messages) > 0 || !j.told {
			j.sendPage(page)
		}
		j.send(rest)
	})
	ch.mu.Unlock()
	ch.kick()
	return true
}

// enterLocked puts the client's entry into the queue of what is fanned out: it gets nothing that is queued before, and
// everything after. The client has had, or gets by give, all up to offset; what the channel fans out later but not beyond
// offset is skipped for it.
func (j *joining) enterLocked(offset int64, give func()) {
	ch, m := j.membership.channel, j.membership
	at := ch.log.at
	ch.pending = append(ch.pending, batch{call: func() {
		// A member gets nothing before this call returns.
		if !j.again && !ch.addMember(m) || ch.gone(m) {
			j.dismiss()
			return
		}
		if give != nil {
			give()
		} else {
			j.result.At = at
			j.tell()
		}
		if j.again {
			return
		}
		delete(ch.log.skipping, m.client) // of an earlier membership
		if offset > at.Offset {
			if ch.log.skipping == nil {
				ch.log.skipping = map[*Client]int64{}
			}
			ch.log.skipping[m.client] = offset
		}
	}})
}
