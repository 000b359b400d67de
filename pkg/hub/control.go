package hub

import "github.com/wscluster/wscluster/pkg/backplane"

// controlMark begins the body of a control message: one that gateways send each other, and no client sees. A client's message
// begins with a brace.
const controlMark = 0x01

// PublishControl sends a word to every gateway that has members of the target; Options.Control gets it there.
func (h *Hub) PublishControl(t backplane.Target, word string, done backplane.Confirmation) {
	h.backplane.Publish(&backplane.Message{Target: t, Body: append([]byte{controlMark}, word...)}, done)
}

// control hands a control message to the gateway. It returns false if m is none.
func (ch *channel) control(m *backplane.Message) bool {
	if len(m.Body) == 0 || m.Body[0] != controlMark {
		return false
	}
	ch.mu.Lock()
	members := ch.membersLocked()
	ch.mu.Unlock()
	if ch.hub.onControl != nil {
		ch.hub.onControl(ch.target, string(m.Body[1:]), members)
	}
	return true
}
