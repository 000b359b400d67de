package redis

import (
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// maxChannelsPerCommand and maxBytesPerCommand bound a SUBSCRIBE or UNSUBSCRIBE: Redis serves nobody else while it works
	// one off.
	maxChannelsPerCommand = 1000
	maxBytesPerCommand    = 256 << 10
)

// state is how a channel stands with Redis on the current link.
type state uint8

const (
	absent state = iota
	subscribing
	present
	unsubscribing
)

// subscription is one channel that is wanted, or on its way out. target, channel and slot are fixed, the rest is guarded by the
// subscriptions' mutex.
type subscription struct {
	target  backplane.Target
	channel string
	slot    uint16
	// next and previous are those of the same slot.
	next, previous *subscription

	wanted bool
	state  state
	// renew asks for a SUBSCRIBE though the channel is present: the hub has unsubscribed and subscribed anew before Redis
	// heard of it, and is owed a confirmation, which only the goroutine that receives may give.
	renew bool
	// telling is true while the sink is told Subscribed; no UNSUBSCRIBE is sent meanwhile, so what it is told stays true.
	telling bool
	// queued is true while the subscription is in changed.
	queued bool
	since  time.Time

	// epoch is that of the last message. It belongs to the goroutine that delivers, and saves each message a copy.
	epoch string
}

// subscriptions holds what one subscriber connection is to be subscribed to and how far Redis is with it. It does no I/O.
// For one channel there is at most one command without confirmation, so that no confirmation is taken for another's.
// All methods are safe for concurrent use.
type subscriptions struct {
	mu        sync.Mutex
	byChannel map[string]*subscription
	// bySlot holds the first subscription of each slot that there is one of.
	bySlot map[uint16]*subscription
	// changed holds those that may need a command.
	changed []*subscription
	wanted  int
}

func newSubscriptions() *subscriptions {
	return &subscriptions{byChannel: make(map[string]*subscription), bySlot: make(map[uint16]*subscription)}
}

// add puts sub in. The caller holds mu.
func (s *subscriptions) add(sub *subscription) {
	s.byChannel[sub.channel] = sub
	sub.next = s.bySlot[sub.slot]
	if sub.next != nil {
		sub.next.previous = sub
	}
	s.bySlot[sub.slot] = sub
}

// remove takes sub out. The caller holds mu.
func (s *subscriptions) remove(sub *subscription) {
	delete(s.byChannel, sub.channel)
	switch {
	case sub.previous != nil:
		sub.previous.next = sub.next
	case sub.next != nil:
		s.bySlot[sub.slot] = sub.next
	default:
		delete(s.bySlot, sub.slot)
	}
	if sub.next != nil {
		sub.next.previous = sub.previous
	}
	sub.next, sub.previous = nil, nil
}

// want notes that target is to be subscribed to and says whether that is news.
func (s *subscriptions) want(target backplane.Target, channel []byte, slot uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.byChannel[string(channel)]
	if sub == nil {
		sub = &subscription{target: target, channel: string(channel), slot: slot}
		s.add(sub)
	}
	if sub.wanted {
		return false
	}
	sub.wanted = true
	sub.since = time.Now()
	sub.renew = sub.state == present
	s.wanted++
	s.change(sub)
	return true
}

// drop notes that the channel is not wanted any more and says whether that is news.
func (s *subscriptions) drop(channel []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.byChannel[string(channel)]
	if sub == nil || !sub.wanted {
		return false
	}
	sub.wanted, sub.renew = false, false
	s.wanted--
	s.change(sub)
	return true
}

// change puts sub among those that may need a command. The caller holds mu.
func (s *subscriptions) change(sub *subscription) {
	if !sub.queued {
		sub.queued = true
		s.changed = append(s.changed, sub)
	}
}

// commands returns the channels of the next commands, at most as many as one command may have, and notes them as sent. Both are
// empty when there is nothing to send.
func (s *subscriptions) commands() (subscribe, unsubscribe []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes := 0
	taken := 0
	for _, c := range s.changed {
		if len(subscribe) == maxChannelsPerCommand || len(unsubscribe) == maxChannelsPerCommand || bytes >= maxBytesPerCommand {
			break
		}
		taken++
		c.queued = false
		switch {
		case c.wanted && (c.state == absent || c.state == present && c.renew):
			c.state, c.renew = subscribing, false
			subscribe = append(subscribe, c.channel)
			bytes += len(c.channel)
		case !c.wanted && c.state == present && !c.telling:
			c.state = unsubscribing
			unsubscribe = append(unsubscribe, c.channel)
			bytes += len(c.channel)
		case !c.wanted && c.state == absent && !c.telling:
			s.remove(c)
		}
		// Otherwise a command is on its way, or the sink is being told: what ends that looks at the subscription again.
	}
	n := copy(s.changed, s.changed[taken:])
	clear(s.changed[n:])
	s.changed = s.changed[:n]
	if n == 0 && cap(s.changed) > 4*maxChannelsPerCommand {
		s.changed = nil // do not keep the memory of a whole resubscription
	}
	return subscribe, unsubscribe
}

// subscribed takes a confirmation of Redis. It returns the subscription to tell the sink of, or nil, and since when it was
// waited for; the caller calls told when the sink knows. changed says whether there may be commands to send.
func (s *subscriptions) subscribed(channel []byte) (tell *subscription, since time.Time, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.byChannel[string(channel)]
	if sub == nil || sub.state != subscribing {
		return nil, since, false
	}
	sub.state = present
	if !sub.wanted {
		s.change(sub)
		return nil, since, true
	}
	sub.telling = true
	return sub, sub.since, false
}

// told ends what subscribed began, and says whether there may be commands to send.
func (s *subscriptions) told(sub *subscription) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.telling = false
	if sub.wanted {
		return false
	}
	s.change(sub)
	return true
}

// unsubscribed takes a confirmation of Redis, or the news that Redis has ended a subscription by itself. changed says whether
// there may be commands to send, taken that it was one that is wanted: Redis does that when a slot moves.
func (s *subscriptions) unsubscribed(channel []byte) (changed, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.byChannel[string(channel)]
	if sub == nil || sub.state == absent || sub.state == subscribing {
		return false, false
	}
	taken = sub.wanted && sub.state == present
	sub.state = absent
	s.change(sub)
	return true, taken
}

// isLive says whether a channel is wanted and confirmed.
func (s *subscriptions) isLive(channel []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.byChannel[string(channel)]
	return sub != nil && sub.wanted && sub.state == present && !sub.renew
}

// deliverable returns the subscription of a channel that messages are wanted of, or nil.
func (s *subscriptions) deliverable(channel []byte) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.byChannel[string(channel)]
	if sub == nil || !sub.wanted {
		return nil
	}
	return sub
}

// lost notes that the link is gone and with it everything that Redis knew. Nothing may be being told.
func (s *subscriptions) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	clear(s.changed)
	s.changed = s.changed[:0]
	for _, sub := range s.byChannel {
		if !sub.wanted {
			s.remove(sub)
			continue
		}
		sub.state, sub.renew, sub.since = absent, false, now
		sub.queued = true
		s.changed = append(s.changed, sub)
	}
}

// count returns how many channels are wanted.
func (s *subscriptions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted
}
