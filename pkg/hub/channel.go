package hub

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// channel is one room or user as far as this process has to do with it.
type channel struct {
	hub    *Hub
	target backplane.Target

	mu      sync.Mutex
	members []*Membership
	// snapshot is members as the fan-out saw them last; it is replaced, never changed, once stale.
	snapshot []*Client
	stale    bool
	// holders counts members and those who are about to become members.
	holders   int
	idleSince time.Time
	listed    bool // in the shard's idle list
	// live is set by the first confirmation of the subscription.
	live    bool
	waiting []func() // called once live, in order
	held    []heldPublication
	holdEnd *time.Timer

	pending []batch
	running bool // somebody fans out
}

// Membership is one connection's place in one channel.
type Membership struct {
	channel *channel
	client  *Client
	index   int // in channel.members, guarded by channel.mu
}

// hold and unhold count holders. The caller of hold has the shard's lock, so that the sweeper cannot drop the channel.
func (ch *channel) hold() {
	ch.mu.Lock()
	ch.holders++
	ch.mu.Unlock()
}

// unhold returns true if the channel has to be listed as idle.
func (ch *channel) unhold() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.holders--
	if ch.holders > 0 {
		return false
	}
	ch.idleSince = time.Now()
	list := !ch.listed
	ch.listed = true
	return list
}

// idle tells the sweeper whether nobody holds the channel, and since when. A channel that is held is no longer listed.
func (ch *channel) idle() (bool, time.Time) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.holders > 0 {
		ch.listed = false
		return false, time.Time{}
	}
	return true, ch.idleSince
}

// add makes the client a member. The caller holds the channel for it.
func (ch *channel) add(c *Client) *Membership {
	m := &Membership{channel: ch, client: c}
	ch.mu.Lock()
	m.index = len(ch.members)
	ch.members = append(ch.members, m)
	ch.stale = true
	first := len(ch.members) == 1
	ch.mu.Unlock()
	if first {
		ch.gauge().Add(1)
	}
	return m
}

// remove ends a membership and gives its hold back.
func (ch *channel) remove(m *Membership) {
	ch.mu.Lock()
	last := len(ch.members) - 1
	ch.members[m.index] = ch.members[last]
	ch.members[m.index].index = m.index
	ch.members[last] = nil
	ch.members = ch.members[:last]
	ch.stale = true
	if last == 0 {
		ch.members, ch.snapshot = nil, nil
	}
	ch.mu.Unlock()
	if last == 0 {
		ch.gauge().Add(-1)
	}
	ch.hub.release(ch)
}

// membersLocked returns the clients to fan out to; the caller must not change the slice.
func (ch *channel) membersLocked() []*Client {
	if ch.stale {
		ch.stale = false
		ch.snapshot = make([]*Client, len(ch.members))
		for i, m := range ch.members {
			ch.snapshot[i] = m.client
		}
	}
	return ch.snapshot
}

// whenLive calls f once the subscription is confirmed: everything published from then on is delivered.
func (ch *channel) whenLive(f func()) {
	ch.mu.Lock()
	if !ch.live {
		ch.waiting = append(ch.waiting, f)
		ch.mu.Unlock()
		return
	}
	ch.mu.Unlock()
	f()
}

// goLive calls those who waited, then publishes what was held, in order.
func (ch *channel) goLive() {
	ch.mu.Lock()
	if ch.live {
		ch.mu.Unlock()
		return
	}
	waiting := ch.waiting
	ch.waiting = nil
	ch.live = len(ch.held) == 0
	ch.mu.Unlock()
	for _, f := range waiting {
		f()
	}
	ch.publishHeld()
}

func (ch *channel) isLive() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.live
}

// gauge counts the channels of this kind that have members.
func (ch *channel) gauge() *atomic.Int64 {
	if ch.target.Kind == backplane.User {
		return &ch.hub.stats.users
	}
	return &ch.hub.stats.rooms
}
