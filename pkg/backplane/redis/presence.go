package redis

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// callsAtOnce bounds the calls of presence on their way to Redis, a room having one at a time: enough to fill a pipeline, and
	// not enough to be in the way of messages.
	callsAtOnce = 64
	// lookPause is how soon presence finds out that Redis is back.
	lookPause = 250 * time.Millisecond
	// listPatience is how long a listing waits for what this process has not told Redis yet.
	listPatience = time.Second
	// maxMembers bounds a page of a listing.
	maxMembers = 1000
)

var _ backplane.Presence = (*Backplane)(nil)

// presence keeps who is in rooms by connections to this process, and brings it to Redis. It tells the state, not the events: a call
// that failed is followed by one with what is true by then. Its goroutine, run, starts all calls but those of listings.
// All methods are safe for concurrent use.
type presence struct {
	// Fixed at start.
	backplane *Backplane
	lease     time.Duration
	// wake has room for one: there may be something to do, or presence is closed.
	wake chan struct{}

	reasserted atomic.Uint64

	mu     sync.Mutex
	rooms  map[string]*presenceRoom
	agenda agenda // the rooms that are not busy, by when they are due
	flying int    // calls on their way
	// members are as in backplane.PresenceStatus; untold are those to tell Redis of, and telling those on their way.
	members, untold, telling int
	lives                    uint64 // of the backplane's shards, when they were looked at last
	closed                   bool
	failed                   bool // a call has failed since closed
	empty                    chan struct{}
}

func newPresence(b *Backplane, lease time.Duration) *presence {
	return &presence{
		backplane: b, lease: lease, wake: make(chan struct{}, 1),
		rooms: make(map[string]*presenceRoom), empty: make(chan struct{}),
	}
}

// Enter implements backplane.Presence.
func (b *Backplane) Enter(room backplane.Target, user string) { b.presence.count(room, user, 1) }

// Leave implements backplane.Presence. Leaving more often than entering changes nothing.
func (b *Backplane) Leave(room backplane.Target, user string) { b.presence.count(room, user, -1) }

func (p *presence) count(target backplane.Target, user string, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	r := p.rooms[target.ID]
	if r == nil {
		if by < 0 {
			return
		}
		r = p.newRoom(target)
		p.rooms[target.ID] = r
	}
	if !r.count(user, by) {
		return
	}
	p.schedule(r)
}

// schedule puts the room into the agenda, or gives it another place there.
func (p *presence) schedule(r *presenceRoom) {
	switch {
	case r.busy:
		return // its reply schedules it
	case r.idle():
		p.forget(r)
		return
	case r.index < 0:
		r.at = r.due()
		heap.Push(&p.agenda, r)
	default:
		r.at = r.due()
		heap.Fix(&p.agenda, r.index)
	}
	if r.index == 0 {
		p.poke()
	}
}

// forget lets go of a room that nobody here is in and of which Redis has nothing from here.
func (p *presence) forget(r *presenceRoom) {
	if r.index >= 0 {
		heap.Remove(&p.agenda, r.index)
	}
	r.wakeWaiters()
	delete(p.rooms, r.target.ID)
	if p.closed && len(p.rooms) == 0 {
		p.finish()
	}
}

func (p *presence) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run starts what is due until ctx ends.
func (p *presence) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		var calls []*call
		now := time.Now()
		p.mu.Lock()
		p.lookForLoss(now)
		for len(p.agenda) > 0 && p.flying < callsAtOnce && !p.agenda[0].at.After(now) {
			r := p.agenda[0]
			heap.Pop(&p.agenda)
			if c := r.next(now); c != nil {
				r.busy = true
				p.flying++
				calls = append(calls, c)
			} else {
				p.schedule(r)
			}
		}
		rest := time.Hour
		if len(p.agenda) > 0 && p.flying < callsAtOnce {
			rest = min(lookPause, p.agenda[0].at.Sub(now))
		}
		p.mu.Unlock()
		for _, c := range calls {
			p.backplane.call(p.backplane.publisherOf(c.tag), c)
		}
		timer.Reset(rest)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-ctx.Done():
		}
	}
}

// lookForLoss has the rooms of a shard look at their leases when the links to it were made anew: it may have lost everything.
func (p *presence) lookForLoss(now time.Time) {
	lives := p.backplane.health.allLives()
	if lives == p.lives {
		return
	}
	p.lives = lives
	for _, r := range p.rooms {
		was := r.life
		if r.life = p.backplane.router.life(r.slot); r.life != was && r.sequence != 0 {
			r.refreshAt, r.returning = now, true
			p.schedule(r)
		}
	}
}

// replied ends a call of a room that told of batch; read reads its reply into the room.
func (p *presence) replied(r *presenceRoom, batch []telling, err error, read func(now time.Time)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.flying--
	p.telling -= len(batch)
	r.busy = false
	if err != nil {
		r.restore(batch)
		r.failed(now)
		if p.closed && !p.failed {
			p.failed = true
			p.finish()
		}
	} else {
		read(now)
	}
	p.schedule(r)
	if p.flying == callsAtOnce-1 {
		p.poke() // others may be waiting for a place
	}
}

// Members implements backplane.Presence. It waits up to a second for what this process has not told Redis yet.
func (b *Backplane) Members(ctx context.Context, room backplane.Target, after string, limit int) (backplane.Roster, error) {
	if ctx.Err() != nil {
		return backplane.Roster{}, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	if err := b.presence.awaitTold(ctx, room); err != nil {
		return backplane.Roster{}, err
	}
	limit = max(0, min(limit, maxMembers))
	tag := string(b.names.appendTag(nil, room))
	return awaitAnswer(ctx, func(ended func(backplane.Roster, error)) { b.call(b.reader, listCall(tag, after, limit, ended)) })
}

// awaitTold waits until Redis knows what this process knew of the room at the call, with some patience.
func (p *presence) awaitTold(ctx context.Context, room backplane.Target) error {
	p.mu.Lock()
	r := p.rooms[room.ID]
	if r == nil || r.told == r.version {
		p.mu.Unlock()
		return nil
	}
	told := make(chan struct{})
	r.waiters = append(r.waiters, waiter{r.version, told})
	p.mu.Unlock()
	patience := time.NewTimer(listPatience)
	defer patience.Stop()
	select {
	case <-told:
	case <-patience.C:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	return nil
}

// PresenceStatus implements backplane.Presence.
func (b *Backplane) PresenceStatus() backplane.PresenceStatus {
	p := b.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	return backplane.PresenceStatus{Members: p.members, Untold: p.untold + p.telling, Reasserted: p.reasserted.Load()}
}

// close takes everybody out of all rooms and waits until Redis knows, a call fails, or ctx ends; then leases do the rest.
func (p *presence) close(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	for _, r := range p.rooms {
		for _, m := range r.members {
			r.count(m.user, -m.wanted)
		}
		r.notBefore = time.Time{}
		p.schedule(r)
	}
	if len(p.rooms) == 0 {
		p.finish()
	}
	p.poke()
	p.mu.Unlock()
	select {
	case <-p.empty:
	case <-ctx.Done():
	}
}

// finish lets close return.
func (p *presence) finish() {
	select {
	case <-p.empty:
	default:
		close(p.empty)
	}
}

// agenda is a heap of rooms by when they are due.
type agenda []*presenceRoom

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push is for package heap.
func (a *agenda) Push(room any) {
	r := room.(*presenceRoom)
	r.index = len(*a)
	*a = append(*a, r)
}

// Pop is for package heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	r := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	r.index = -1
	return r
}

// waiter is a listing that waits until the room's version is told.
type waiter struct {
	version uint64
	told    chan struct{}
}

func (r *presenceRoom) wakeWaiters() {
	r.waiters = slices.DeleteFunc(r.waiters, func(w waiter) bool {
		if w.version <= r.told || r.idle() {
			close(w.told)
			return true
		}
		return false
	})
}
