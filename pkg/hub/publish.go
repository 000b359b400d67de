package hub

import (
	"fmt"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// maxHeld bounds the publications that wait in one channel; those over it are unavailable at once.
const maxHeld = 1024

// Publish passes m on to the backplane, on the terms of backplane.Publish. If this process is still subscribing to the
// target, it waits for that: a member that publishes right after its join must get its own message, so the publication may not
// overtake the subscription. All waiting together takes the hold timeout at most.
func (h *Hub) Publish(m *backplane.Message, done backplane.Confirmation) {
	if ch := h.find(m.Target); ch != nil && ch.holdBack(m, done) {
		return
	}
	h.backplane.Publish(m, done)
}

// PublishFrom is Publish of a message of a client. If the client is on its way into the target's log, the message waits until its
// place there is known: else its own message could lie before that place, and it would not get it. PublishFrom is for the
// client's reading goroutine.
func (h *Hub) PublishFrom(c *Client, m *backplane.Message, done backplane.Confirmation) {
	if m.Target.Kind == backplane.Room {
		if member := membership(c, m.Target.ID); member != nil && member.holdBack(m, done) {
			return
		}
	}
	h.Publish(m, done)
}

// maxHeldOfMember bounds the publications of one client that wait for its join; those over it are unavailable at once.
const maxHeldOfMember = 256

var errTooManyHeld = fmt.Errorf("%w: too many messages wait for the join of their room", backplane.ErrUnavailable)

// holdBack keeps the publication while the client enters the channel's log, and tells whether it did.
func (m *Membership) holdBack(message *backplane.Message, done backplane.Confirmation) bool {
	if !m.entering.Load() { // the way of every publish but the first ones
		return false
	}
	ch := m.channel
	ch.mu.Lock()
	if !m.entering.Load() {
		ch.mu.Unlock()
		return false
	}
	held := m.held.add(message, done, maxHeldOfMember, ch.hub.holdTimeout, m.failHeld)
	ch.mu.Unlock()
	if !held {
		done.Published(backplane.Receipt{}, errTooManyHeld)
	}
	return true
}

// failHeld answers what has waited for too long; the client goes on entering.
func (m *Membership) failHeld() {
	ch := m.channel
	ch.mu.Lock()
	due := m.held.takeDue(m.failHeld)
	ch.mu.Unlock()
	for _, p := range due {
		p.done.Published(backplane.Receipt{}, fmt.Errorf("%w: the room's log cannot be read", backplane.ErrUnavailable))
	}
}

// entered publishes what waited for the client's place in the log, in order.
func (m *Membership) entered() {
	ch := m.channel
	for {
		ch.mu.Lock()
		held := m.held.take()
		if len(held) == 0 {
			m.entering.Store(false)
			m.held.stop()
			ch.mu.Unlock()
			return
		}
		ch.mu.Unlock()
		for i := range held {
			ch.hub.Publish(&held[i].message, held[i].done)
		}
	}
}

// holdBack keeps the publication if the channel is not live, and tells whether it did.
func (ch *channel) holdBack(m *backplane.Message, done backplane.Confirmation) bool {
	ch.mu.Lock()
	if ch.live {
		ch.mu.Unlock()
		return false
	}
	held := ch.held.add(m, done, maxHeld, ch.hub.holdTimeout, ch.failHeld)
	ch.mu.Unlock()
	if !held {
		done.Published(backplane.Receipt{}, fmt.Errorf("%w: too many messages wait for the subscription", backplane.ErrUnavailable))
	}
	return true
}

// failHeld answers what has waited for too long.
func (ch *channel) failHeld() {
	ch.mu.Lock()
	due := ch.held.takeDue(ch.failHeld)
	ch.mu.Unlock()
	for _, p := range due {
		p.done.Published(backplane.Receipt{}, fmt.Errorf("%w: this gateway's subscription is not confirmed", backplane.ErrUnavailable))
	}
}
