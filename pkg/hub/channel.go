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
	watchers int // members that are told of users who come and go
	// holders counts members and those who are about to become members.
	holders   int
	idleSince time.Time
	listed    bool // in the shard's idle list
	// live is set by the first confirmation of the subscription.
	live    bool
	waiting []*Membership // those with something in their waiting
	held    hold

	pending      []batch
	pendingBytes int       // in the buffers of pending
	running      bool      // somebody fans out
	log          *logState // nil: no message of this channel has a place in a log
}

// Membership is one connection's place in one channel.
type Membership struct {
	channel *channel
	client  *Client

	// seen says that the client's user is in the room because of it. The client's reading goroutine's.
	seen bool

	// Guarded by channel.mu.
	index    int      // in channel.members, or notMember
	watching bool     // is told of users who come and go
	gone     bool     // ended before the client became a member
	waiting  []func() // called in order once the channel is live, or when the membership ends
	place    int      // in channel.waiting, while there is something in waiting
	held     hold

	// entering says that the client's place in the channel's log is not known yet; held waits for it. It is cleared with channel.mu held.
	entering atomic.Bool
}

func newMembership(ch *channel, c *Client) *Membership {
	return &Membership{channel: ch, client: c, index: notMember}
}

// notMember is the index of a client that is on its way into a channel with history.
const notMember = -1

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

// greet makes the client a member after calling f: no message can reach it before, and none that is published after is missed.
// f must not call the hub.
func (ch *channel) greet(m *Membership, f func()) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	f()
	ch.addLocked(m)
}

// addMember returns false if the membership has ended, or has begun already.
func (ch *channel) addMember(m *Membership) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if m.gone || m.index != notMember {
		return false
	}
	ch.addLocked(m)
	return true
}

func (ch *channel) addLocked(m *Membership) {
	m.index = len(ch.members)
	ch.members = append(ch.members, m)
	ch.stale = true
	if m.watching {
		ch.watchers++
	}
	if len(ch.members) == 1 {
		ch.gauge().Add(1)
	}
}

// gone tells whether the client left, or its connection ended, before it became a member.
func (ch *channel) gone(m *Membership) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return m.gone
}

// remove ends a membership, answers those who still wait with it, and gives its hold back.
func (ch *channel) remove(m *Membership) {
	ch.mu.Lock()
	waiting := ch.takeWaitingLocked(m)
	if m.index == notMember {
		m.gone = true
	} else {
		ch.removeLocked(m)
	}
	ch.mu.Unlock()
	for _, f := range waiting {
		f()
	}
	ch.hub.release(ch)
}

func (ch *channel) removeLocked(m *Membership) {
	last := len(ch.members) - 1
	ch.members[m.index] = ch.members[last]
	ch.members[m.index].index = m.index
	ch.members[last] = nil
	ch.members = ch.members[:last]
	ch.stale = true
	if m.watching {
		ch.watchers--
	}
	if last == 0 {
		ch.members, ch.snapshot = nil, nil
		ch.gauge().Add(-1)
	}
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

// maxWaiting bounds what one membership may wait for: more than a client that waits for its acks ever asks for.
const maxWaiting = 64

// whenLive calls f once the subscription is confirmed, on a link that is not known to be broken: everything published from then on is
// delivered. It is also called when the membership ends before. whenLive returns false if too many wait already.
func (ch *channel) whenLive(m *Membership, f func()) bool {
	ch.mu.Lock()
	// A link that breaks after this look is back before those who wait are called, since that takes the lock.
	if ch.live && (ch.hub.liveness == nil || ch.hub.liveness.IsLive(ch.target)) {
		ch.mu.Unlock()
		f()
		return true
	}
	defer ch.mu.Unlock()
	if len(m.waiting) == maxWaiting {
		return false
	}
	if len(m.waiting) == 0 {
		m.place = len(ch.waiting)
		ch.waiting = append(ch.waiting, m)
	}
	m.waiting = append(m.waiting, f)
	return true
}

// takeWaitingLocked takes what waits with one membership.
func (ch *channel) takeWaitingLocked(m *Membership) []func() {
	if len(m.waiting) == 0 {
		return nil
	}
	last := len(ch.waiting) - 1
	ch.waiting[m.place] = ch.waiting[last]
	ch.waiting[m.place].place = m.place
	ch.waiting[last] = nil
	ch.waiting = ch.waiting[:last]
	waiting := m.waiting
	m.waiting = nil
	return waiting
}

// goLive calls those who waited, then publishes what was held, in order, until nothing of either is left.
func (ch *channel) goLive() {
	for {
		ch.mu.Lock()
		var waiting []func()
		for len(ch.waiting) > 0 {
			waiting = append(waiting, ch.takeWaitingLocked(ch.waiting[len(ch.waiting)-1])...)
		}
		held := ch.held.take()
		ch.waiting = nil
		if len(waiting)+len(held) == 0 {
			ch.live = true
			ch.held.stop()
			ch.mu.Unlock()
			return
		}
		ch.mu.Unlock()
		for _, f := range waiting {
			f()
		}
		for i := range held {
			ch.hub.backplane.Publish(&held[i].message, held[i].done)
		}
	}
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
