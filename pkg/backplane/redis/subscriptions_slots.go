package redis

import (
	"slices"
	"time"
)

// refused notes that the shard does not serve a slot: what was on its way for it was not carried out. It says nothing of what the
// shard confirmed before; it takes that back by itself. Nothing is sent again until retry.
func (s *subscriptions) refused(slot uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := s.bySlot[slot]; sub != nil; sub = sub.next {
		if sub.state == subscribing || sub.state == unsubscribing {
			sub.state = absent
			if !sub.wanted {
				s.change(sub)
			}
		}
	}
}

// retry has commands made for what is absent in a slot.
func (s *subscriptions) retry(slot uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := s.bySlot[slot]; sub != nil; sub = sub.next {
		if sub.state == absent {
			s.change(sub)
		}
	}
}

// takeMoved removes the subscriptions of the given slots. carried counts those that messages came on. Nothing may be being told.
func (s *subscriptions) takeMoved(slots []uint16) (moved []*subscription, carried int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := make(map[*subscription]bool)
	for _, slot := range slots {
		for sub := s.bySlot[slot]; sub != nil; sub = s.bySlot[slot] {
			s.remove(sub)
			gone[sub] = true
			if !sub.wanted {
				continue
			}
			s.wanted--
			if sub.state == present {
				carried++
			}
			moved = append(moved, sub)
		}
	}
	s.changed = slices.DeleteFunc(s.changed, func(sub *subscription) bool { return gone[sub] })
	return moved, carried
}

// adopt puts in what another shard's subscriptions have given up.
func (s *subscriptions) adopt(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.state, sub.renew, sub.queued, sub.since = absent, false, false, time.Now()
	s.wanted++
	s.add(sub)
	s.change(sub)
}
