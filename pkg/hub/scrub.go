package hub

import (
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// scrubPause is the time between two looks of the scrub. A look costs Redis less than 10 µs, so a gateway takes less than a
// thousandth of its CPU, and ten gateways less than a hundredth.
const scrubPause = 10 * time.Millisecond

// scrub looks at the log of one channel after the other, all the time, for messages that were lost without any sign: the last
// message before a silence leaves no hole that a later one would show.
func (h *Hub) scrub() {
	for h.running.Err() == nil {
		for i := range h.shards {
			for _, ch := range h.shards[i].logged() {
				sleep(h.running, scrubPause)
				if h.running.Err() != nil {
					return
				}
				ch.scrub()
			}
		}
		sleep(h.running, time.Second)
	}
}

// logged returns the shard's channels that have members and a known place in a log.
func (s *shard) logged() (channels []*channel) {
	if !s.logs.Swap(false) {
		return nil // where nothing is kept, looking through thousands of channels each second would be for nothing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ch := range s.channels {
		ch.mu.Lock()
		if ch.log != nil {
			s.logs.Store(true)
		}
		if ch.log != nil && ch.log.known && !ch.log.repairing && len(ch.members) > 0 {
			channels = append(channels, ch)
		}
		ch.mu.Unlock()
	}
	return channels
}

// scrub begins a repair if the log is ahead of the channel. A message that is on its way is found too: it comes twice then, and
// is fanned out once.
func (ch *channel) scrub() {
	page, err := ch.hub.readLog(ch.target, backplane.Cursor{})
	if err != nil {
		return // a broken link is looked after by its own repair
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if at := ch.log.at; page.Epoch != at.Epoch || page.Newest > at.Offset {
		ch.repairLocked()
	}
}
