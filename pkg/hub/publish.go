package hub

import (
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// heldPublication waits for the subscription of its own target. A member that publishes right after its join must get its
// own message, so the publication may not overtake the subscription.
type heldPublication struct {
	message backplane.Message
	done    backplane.Confirmation
}

// maxHeld bounds the publications that wait in one channel; those over it are unavailable at once.
const maxHeld = 1024

// Publish passes m on to the backplane, on the terms of backplane.Publish. If this process is still subscribing to the
// target, it waits for that, at most for the hold timeout.
func (h *Hub) Publish(m *backplane.Message, done backplane.Confirmation) {
	if ch := h.find(m.Target); ch != nil && ch.holdBack(m, done) {
		return
	}
	h.backplane.Publish(m, done)
}

// holdBack keeps the publication if the channel is not live, and tells whether it did.
func (ch *channel) holdBack(m *backplane.Message, done backplane.Confirmation) bool {
	ch.mu.Lock()
	if ch.live {
		ch.mu.Unlock()
		return false
	}
	if len(ch.held) == maxHeld {
		ch.mu.Unlock()
		done.Published(backplane.Receipt{}, fmt.Errorf("%w: too many messages wait for the subscription", backplane.ErrUnavailable))
		return true
	}
	ch.held = append(ch.held, heldPublication{*m, done})
	if ch.holdEnd == nil {
		ch.holdEnd = time.AfterFunc(ch.hub.holdTimeout, ch.failHeld)
	}
	ch.mu.Unlock()
	return true
}

// failHeld answers what has waited for too long.
func (ch *channel) failHeld() {
	ch.mu.Lock()
	held := ch.held
	ch.held, ch.holdEnd = nil, nil
	ch.mu.Unlock()
	for _, p := range held {
		p.done.Published(backplane.Receipt{}, fmt.Errorf("%w: this gateway's subscription is not confirmed", backplane.ErrUnavailable))
	}
}
