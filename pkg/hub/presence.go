package hub

import (
	"context"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// Presence says what a join has to do with who is in the room.
type Presence uint8

const (
	// Unseen means that nobody is told of the client.
	Unseen Presence = iota
	// Seen means that the client's user is in the room.
	Seen
	// Watching means that so it is, and the client is told of other users who come and go.
	Watching
)

// HasPresence tells whether the backplane knows who is in a room.
func (h *Hub) HasPresence() bool { return h.presence != nil }

// appear makes the membership take part in the room's presence, as far as it does not yet. It is called before the join is
// acked, so that whoever is told that it watches misses nothing from then on.
func (h *Hub) appear(m *Membership, as Presence) {
	if as == Unseen || h.presence == nil {
		return
	}
	if as == Watching {
		m.channel.watch(m)
	}
	if !m.seen {
		m.seen = true
		h.presence.Enter(m.channel.target, m.client.UserID)
	}
}

// end ends a membership.
func (h *Hub) end(m *Membership) {
	m.channel.remove(m)
	if m.seen {
		h.presence.Leave(m.channel.target, m.client.UserID)
	}
}

func (ch *channel) watch(m *Membership) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if m.watching {
		return
	}
	m.watching = true
	if m.index != notMember {
		ch.watchers++
	}
}

// change tells those who watch of the users who came and went. It has its turn among the room's messages.
func (ch *channel) change(changes []backplane.Member) {
	ch.mu.Lock()
	switch {
	case ch.watchers == 0:
		ch.mu.Unlock()
		return
	case ch.pendingBytes >= maxBacklogBytes:
		ch.hub.stats.dropped.Add(uint64(len(changes)))
		ch.mu.Unlock()
		return
	}
	n := news{buffer: socket.NewBuffer(), of: make(map[string]exception, len(changes))}
	for _, c := range changes {
		from := len(n.buffer.B)
		n.buffer.B = socket.AppendTextFrom(n.buffer.B, func(dst []byte) []byte {
			return protocol.AppendMemberChange(dst, ch.target.ID, c.User, c.Connections)
		})
		n.of[c.User] = exception{from: from, to: len(n.buffer.B)}
	}
	ch.pendingBytes += len(n.buffer.B)
	ch.pending = append(ch.pending, batch{call: func() { ch.tell(&n) }})
	ch.kickLocked()
}

// news is some encoded frames, each about one user.
type news struct {
	buffer *socket.Buffer
	of     map[string]exception
}

// tell sends news to those who watch. Nobody is told of themselves: a client's own first frame would come or not come, depending
// on which of two links to the store was faster.
func (ch *channel) tell(n *news) {
	ch.mu.Lock()
	ch.pendingBytes -= len(n.buffer.B)
	watchers := ch.membersLocked()
	if ch.watchers < len(ch.members) {
		watchers = make([]*Client, 0, ch.watchers)
		for _, m := range ch.members {
			if m.watching {
				watchers = append(watchers, m.client)
			}
		}
	}
	ch.mu.Unlock()
	for _, c := range watchers {
		own, about := n.of[c.UserID]
		if !about {
			c.Sender.Send(n.buffer)
			continue
		}
		if len(n.of) == 1 {
			continue
		}
		rest := socket.NewBuffer()
		rest.B = append(append(rest.B, n.buffer.B[:own.from]...), n.buffer.B[own.to:]...)
		c.Sender.Send(rest)
		rest.Release()
	}
	n.buffer.Release()
}

// MemberListing is a part of the users in a room as the presence command answers it.
type MemberListing struct {
	// Members are entries joined by protocol.AppendMember.
	Members []byte
	// Users counts those in the whole room.
	Users int
	// Last is the last user in Members if there are more behind it, else empty.
	Last string
}

// Members lists who is in a room and calls done on another goroutine: with an error that wraps backplane.ErrUnavailable if that
// cannot be known in time. At most a quarter of a send queue is returned, at least one user.
func (h *Hub) Members(room backplane.Target, after string, limit int, done func(MemberListing, error)) {
	h.background.Go(func() {
		h.recoveries <- struct{}{}
		defer func() { <-h.recoveries }()
		ctx, cancel := context.WithTimeout(h.running, repairTimeout)
		defer cancel()
		done(h.ReadMembers(ctx, room, after, limit))
	})
}

// ReadMembers is Members for a caller that waits.
func (h *Hub) ReadMembers(ctx context.Context, room backplane.Target, after string, limit int) (MemberListing, error) {
	roster, err := h.presence.Members(ctx, room, after, limit)
	if err != nil {
		return MemberListing{}, err
	}
	l := MemberListing{Users: roster.Users}
	most, last := h.sendQueueBytes()/4, ""
	for i, m := range roster.Members {
		before := len(l.Members)
		l.Members = protocol.AppendMember(l.Members, m.User, m.Connections)
		if len(l.Members) > most && i > 0 {
			l.Members, l.Last = l.Members[:before], last
			return l, nil
		}
		last = m.User
	}
	if roster.More {
		l.Last = last
	}
	return l, nil
}

// PresenceStatus tells how presence is going; zero where there is none.
func (h *Hub) PresenceStatus() backplane.PresenceStatus {
	if h.presence == nil {
		return backplane.PresenceStatus{}
	}
	return h.presence.PresenceStatus()
}
