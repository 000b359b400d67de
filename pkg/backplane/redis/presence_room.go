package redis

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// usersInCall bounds the users that one script call takes: Redis is busy with them for less than a millisecond.
	usersInCall = 200
	// retryPause is the time after a failed call; one that found no link has waited for it already.
	retryPause = 200 * time.Millisecond
	// pacePerUser is how long a room's changes are collected before the next call, for each user in it, up to maxPace: in a room of
	// 100,000 each message about changes is written to as many clients.
	pacePerUser = 5 * time.Microsecond
	maxPace     = 500 * time.Millisecond
)

// refreshEvery is when a lease is renewed, and firstRefresh when that is done first, at the latest. With leases of 20 s, two attempts
// may fail, and a node is missed at the latest 27 s after it was last heard of. The first time is earlier, for a room in which all
// nodes have died, and yet leaves them 2 s to come back when it was Redis that was away.
func refreshEvery(lease time.Duration) time.Duration { return lease * 7 / 20 }
func firstRefresh(lease time.Duration) time.Duration { return lease * 3 / 20 }

// presenceRoom is one room as far as clients of this process are in it. The lock of presence guards it.
type presenceRoom struct {
	presence *presence
	target   backplane.Target
	tag      string
	slot     uint16
	// life is that of the room's shard when it was looked at last.
	life life
	// node is this process's name in the room; a new one after each loss, so that what Redis may still have under the old one can be
	// told from what is said anew. former is the old one until Redis has nothing of it any more.
	node, former string
	members      map[string]*presenceMember
	// came and left are members to tell Redis of, as they were when they were put there.
	came, left []*presenceMember
	// sequence is the newest one that Redis has confirmed; 0: Redis has nothing of node.
	sequence int64
	// generation is the one in which Redis was told of the members, seen the newest; they differ while all is told anew.
	generation, seen string
	// lapsed are other nodes whose lease has ended.
	lapsed []string
	// version counts changes; told is up to which Redis knows all.
	version, told uint64
	waiters       []waiter

	refreshAt time.Time
	notBefore time.Time // nothing but a refresh is done before
	returning bool      // the link was away: others may be about to come back too
	turn      bool      // the last call told of members: lapsed nodes are next
	busy      bool      // a call is on its way
	at        time.Time
	index     int // in the agenda, or -1
}

// presenceMember is a user with connections here.
type presenceMember struct {
	user string
	// wanted connections are what is true, told what Redis has confirmed.
	wanted, told int
	dirty        bool // in came or left
	sent         bool // Redis may know of the user
}

// nodeNames numbers the names that this process gives itself in rooms.
var nodeNames atomic.Uint64

func (p *presence) nodeName() string {
	return fmt.Sprintf("%s.%d", p.backplane.writer.id, nodeNames.Add(1))
}

func (p *presence) newRoom(target backplane.Target) *presenceRoom {
	tag := p.backplane.names.appendTag(nil, target)
	slot := p.backplane.names.slot(tag)
	return &presenceRoom{
		presence: p, target: target, tag: string(tag), slot: slot, life: p.backplane.router.life(slot), node: p.nodeName(),
		members: make(map[string]*presenceMember), index: -1,
	}
}

// count adds connections of a user. It returns false if nothing has changed.
func (r *presenceRoom) count(user string, by int) bool {
	m := r.members[user]
	if m == nil {
		if by <= 0 {
			return false
		}
		m = &presenceMember{user: user}
		r.members[user] = m
	}
	before := m.wanted
	m.wanted = max(0, m.wanted+by)
	if m.wanted == before {
		return false
	}
	switch {
	case before == 0:
		r.presence.members++
	case m.wanted == 0:
		r.presence.members--
	}
	r.mark(m)
	return true
}

// mark puts a member among those to tell Redis of.
func (r *presenceRoom) mark(m *presenceMember) {
	r.version++
	if m.dirty {
		return
	}
	m.dirty = true
	r.presence.untold++
	r.put(m)
}

func (r *presenceRoom) put(m *presenceMember) {
	if m.wanted == 0 {
		r.left = append(r.left, m)
	} else {
		r.came = append(r.came, m)
	}
}

// idle says that there is nothing left to do for the room, ever.
func (r *presenceRoom) idle() bool {
	return len(r.members) == 0 && r.former == "" && !r.busy
}

// due says when the room has something to do next.
func (r *presenceRoom) due() time.Time {
	at := never
	if r.sequence != 0 {
		at = r.refreshAt
	}
	if len(r.came)+len(r.left)+len(r.lapsed) > 0 || r.former != "" {
		at = earlier(at, r.notBefore)
	}
	return at
}

var never = time.Unix(1<<40, 0)

// next returns what is to be done now, or nil.
func (r *presenceRoom) next(now time.Time) *call {
	dirty := len(r.came)+len(r.left) > 0
	switch {
	case r.sequence != 0 && !now.Before(r.refreshAt):
		return r.refresh()
	case now.Before(r.notBefore):
		return nil
	case len(r.lapsed) > 0 && (r.turn || !dirty):
		r.turn = false
		return r.depart(r.lapsed[0], false)
	case dirty:
		r.turn = true
		if batch := r.collect(); len(batch) > 0 {
			return r.assert(batch)
		}
		return nil
	case r.former != "":
		return r.depart(r.former, true)
	}
	return nil
}

// telling is what a call says of a member.
type telling struct {
	member *presenceMember
	wanted int
}

// collect takes members to tell Redis of: of those who left, or else of those who came, since a full Redis takes the first only.
func (r *presenceRoom) collect() (batch []telling) {
	batch = r.take(&r.left, func(m *presenceMember) bool { return m.wanted == 0 })
	if len(batch) == 0 {
		batch = r.take(&r.came, func(m *presenceMember) bool { return m.wanted > 0 })
	}
	if len(batch) == 0 && len(r.left) > 0 {
		batch = r.take(&r.left, func(m *presenceMember) bool { return m.wanted == 0 }) // came, and left before it was told
	}
	if len(batch) == 0 {
		r.confirmed(r.version)
	}
	return batch
}

// take takes up to usersInCall members that still belong into the queue, and moves the others to where they do.
func (r *presenceRoom) take(queue *[]*presenceMember, belongs func(*presenceMember) bool) (batch []telling) {
	n := 0
	for ; n < len(*queue) && len(batch) < usersInCall; n++ {
		m := (*queue)[n]
		switch {
		case !belongs(m):
			r.put(m)
		case m.wanted == 0 && !m.sent:
			r.clean(m)
			delete(r.members, m.user) // came and left before anybody heard of it
		default:
			r.clean(m)
			m.sent = true
			r.presence.telling++
			batch = append(batch, telling{m, m.wanted})
		}
	}
	clear((*queue)[:n])
	if *queue = (*queue)[n:]; len(*queue) == 0 {
		*queue = nil
	}
	return batch
}

func (r *presenceRoom) clean(m *presenceMember) {
	m.dirty = false
	r.presence.untold--
}

// failed has the room try again later.
func (r *presenceRoom) failed(now time.Time) {
	r.notBefore = now.Add(retryPause + rand.N(retryPause))
	r.refreshAt = later(r.refreshAt, r.notBefore)
}

// asserted takes the reply to a call that told of members. covers is the version that Redis knows by it, 0: not all of any.
func (r *presenceRoom) asserted(batch []telling, a assertion, covers uint64, now time.Time) {
	if r.seen = a.generation; r.former == "" {
		r.generation = r.seen
	}
	if r.sequence == 0 {
		r.refreshAt = now.Add(firstRefresh(r.presence.lease) - rand.N(firstRefresh(r.presence.lease)/4))
	}
	r.sequence = a.sequence
	if a.ours == 0 {
		r.sequence = 0 // Redis has forgotten the node, as it should
	}
	for _, t := range batch {
		t.member.told = t.wanted
		if t.member.wanted == 0 && !t.member.dirty {
			delete(r.members, t.member.user)
		}
	}
	r.notBefore = now
	if covers > 0 { // else there was more than fits into one call: go on with the rest
		r.notBefore = now.Add(min(maxPace, time.Duration(a.users)*pacePerUser))
		r.confirmed(covers)
	}
}

// confirmed notes that Redis knows everything up to a version.
func (r *presenceRoom) confirmed(version uint64) {
	r.told = max(r.told, version)
	r.wakeWaiters()
}

// refreshed takes the reply to a refresh.
func (r *presenceRoom) refreshed(lapsed []string, now time.Time) {
	r.refreshAt = now.Add(refreshEvery(r.presence.lease) - rand.N(refreshEvery(r.presence.lease)/16))
	if !r.returning {
		r.lapsed = lapsed
	}
	r.returning = false
}

// lost has everything told anew under another name, since Redis, or another node on its behalf, has forgotten some of it.
func (r *presenceRoom) lost(batch []telling) {
	r.presence.reasserted.Add(1)
	r.node, r.former, r.sequence = r.presence.nodeName(), r.node, 0
	r.restore(batch)
	for _, m := range r.members {
		r.mark(m)
	}
}

// restore puts members of a call that has failed back.
func (r *presenceRoom) restore(batch []telling) {
	for _, t := range batch {
		r.mark(t.member)
	}
}

// departed takes the reply to a call that took users of another node out of the room.
func (r *presenceRoom) departed(node string, more bool) {
	switch {
	case more:
	case node == r.former:
		r.former, r.generation = "", r.seen
	case len(r.lapsed) > 0 && r.lapsed[0] == node:
		r.lapsed = r.lapsed[1:]
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
