package hub

import (
	"context"
	"sync"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// Client is one connection as the hub sees it. ID, UserID and Sender are set by its maker and never change.
// Join, Leave, Joined and Disconnect are for one goroutine at a time, the one that reads from the connection.
type Client struct {
	// ID is the connection id of the welcome frame.
	ID     string
	UserID string
	Sender Sender

	user  *Membership
	rooms []*Membership
}

// Connect makes the client reachable under its user id. It blocks until messages to the user are certain to be delivered
// here, or until ctx ends: then the client is connected all the same, and the subscription follows when it can. The greeting
// is sent in between: after the subscription, and before any message. With inbox it is told where the user's inbox stands,
// or nil if that is not known in time.
func (h *Hub) Connect(ctx context.Context, c *Client, inbox bool, greet func(*protocol.Position)) {
	ch := h.acquire(backplane.Target{Kind: backplane.User, ID: c.UserID})
	h.stats.connections.Add(1)
	c.user = newMembership(ch, c)
	if !ch.isLive() {
		live := make(chan struct{})
		ch.whenLive(c.user, func() { close(live) })
		select {
		case <-live:
		case <-ctx.Done():
		}
	}
	if !inbox || h.log == nil {
		ch.greet(c.user, func() { greet(nil) })
		return
	}
	var once sync.Once
	entered := make(chan struct{})
	// A client reads what it missed up to where the inbox is said to stand, and must not get a part of that again.
	ch.whenLive(c.user, func() { //nolint:contextcheck // the join outlives the caller's patience
		h.startJoining(&joining{hub: h, membership: c.user, newest: true, done: func(r protocol.Recovery) {
			once.Do(func() { greet(&r.At) })
			close(entered)
		}})
	})
	select {
	case <-entered:
	case <-ctx.Done():
		once.Do(func() { greet(nil) })
	}
}

// Disconnect takes the client out of all its rooms and from under its user id. It is called once.
func (h *Hub) Disconnect(c *Client) {
	for _, m := range c.rooms {
		h.end(m)
	}
	c.rooms = nil
	c.user.channel.remove(c.user)
	h.stats.connections.Add(-1)
}

// Join makes the client a member of the room and calls done when messages published from then on are certain to be
// delivered: at once if this process is subscribed already, else on another goroutine when the backplane has confirmed,
// however long that takes, or when the client leaves before. Joining again changes nothing and calls done on the same terms.
// It returns false, and never calls done, if too many joins of this client and room wait already. Joining again with more presence
// than before adds it.
func (h *Hub) Join(c *Client, room string, as Presence, done func()) bool {
	m := membership(c, room)
	if m == nil {
		m = newMembership(h.acquire(backplane.Target{Kind: backplane.Room, ID: room}), c)
		m.channel.addMember(m)
		c.rooms = append(c.rooms, m)
	}
	h.appear(m, as)
	return m.channel.whenLive(m, done)
}

// Leave ends the client's membership; leaving a room that it is not in does nothing.
func (h *Hub) Leave(c *Client, room []byte) {
	m := membership(c, room)
	if m == nil {
		return
	}
	last := len(c.rooms) - 1
	for i := range c.rooms {
		if c.rooms[i] == m {
			c.rooms[i] = c.rooms[last]
			break
		}
	}
	c.rooms[last] = nil
	c.rooms = c.rooms[:last]
	h.end(m)
}

// Rooms returns the number of rooms that the client is in.
func (c *Client) Rooms() int { return len(c.rooms) }

// RoomTarget returns the target of a room for publishing, and whether the client is a member. For members it costs nothing.
func (c *Client) RoomTarget(room []byte) (backplane.Target, bool) {
	if m := membership(c, room); m != nil {
		return m.channel.target, true
	}
	return backplane.Target{Kind: backplane.Room, ID: string(room)}, false
}

// membership returns the client's membership of the room, or nil. A client is in few rooms, and a slice is a tenth of a map.
func membership[S string | []byte](c *Client, room S) *Membership {
	for _, m := range c.rooms {
		if m.channel.target.ID == string(room) {
			return m
		}
	}
	return nil
}
