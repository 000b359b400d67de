package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// router knows which shard serves a slot, and gives it what is to be published and subscribed to. Where Redis is no cluster there is
// one shard and nothing to know. All methods are safe for concurrent use.
type router struct {
	// Fixed at start. Either there is one shard only, or a cluster.
	backplane *Backplane
	only      *shard
	cluster   *cluster

	// version grows with each change of wanted.
	version atomic.Uint64

	mu     sync.RWMutex
	shards map[string]*shard
	// nowhere holds what belongs to slots that no node is known to serve.
	nowhere *shard
	// wanted says, by slot, where everything belongs; publishing and subscribing, by lane and slot, where it is. They follow when a
	// lane has nothing on its way, which only its own goroutine knows.
	wanted                  []*shard
	publishing, subscribing [][]*shard
	// learned is when a node has told of a slot's place, which is newer than what the others say for a moment.
	learned map[uint16]time.Time
	// refusing says that nothing new is published, closed that no shard is made any more.
	refusing, closed bool
}

// enqueue gives p to a publisher, or ends it when there is no room for it.
func (r *router) enqueue(l lane, p *publication) {
	b := r.backplane
	size, done := p.size(), p.done
	if !b.budget.take(size) {
		p.release()
		b.counters.failed[FailureQueueFull].Add(1)
		done.Published(backplane.Receipt{}, errQueueFull)
		return
	}
	if !r.push(l, p) {
		b.budget.give(size)
		p.release()
		b.counters.failed[FailureClosed].Add(1)
		done.Published(backplane.Receipt{}, errClosed)
	}
}

// push gives p to its shard's queue, and says no when that is closed.
func (r *router) push(l lane, p *publication) bool {
	if r.only != nil {
		return r.only.publishers[l].queue.push(p)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return !r.refusing && r.publishing[l][p.slot].publishers[l].queue.push(p)
}

// refresh has the topology of a cluster looked at soon. It does not block.
func (r *router) refresh() {
	if r.cluster != nil {
		r.cluster.refresh()
	}
}

// subscriber calls f with the subscriber that a slot is at; the slot stays there until f returns.
func (r *router) subscriber(l lane, slot uint16, f func(*subscriber)) {
	if r.only != nil {
		f(r.only.subscribers[l])
		return
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	f(r.subscribing[l][slot].subscribers[l])
}

// all returns every shard.
func (r *router) all() []*shard {
	if r.only != nil {
		return []*shard{r.only}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := []*shard{r.nowhere}
	for _, s := range r.shards {
		all = append(all, s)
	}
	return all
}

// life is what a shard is between two outages; another one is in another life.
type life struct {
	shard *shard
	count uint64
}

// life returns that of the shard that serves a slot.
func (r *router) life(slot uint16) life {
	s := r.only
	if s == nil {
		r.mu.RLock()
		s = r.wanted[slot]
		r.mu.RUnlock()
	}
	return life{s, s.health.life()}
}

// finish has all shards publish what waits and end, and take nothing new. It returns when nothing waits for another shard to take it any
// more, or ctx ends: while a slot moves, or before the topology is known, a shard must not have ended because nothing was left for it.
func (r *router) finish(ctx context.Context) {
	r.mu.Lock()
	r.refusing = true
	r.mu.Unlock()
	if r.cluster != nil {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for r.backplane.budget.messages.Load() > 0 && ctx.Err() == nil {
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, s := range r.all() {
		s.close()
	}
}

// handOverPublications moves what a lane of a shard holds, and has nothing on its way of, to where it belongs now. Only the lane's own
// publisher calls it. It returns what could not be moved since the process is about to end.
func (r *router) handOverPublications(p *publisher) (left []*publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.seen = r.version.Load()
	table, any := r.publishing[p.lane], false
	for slot, owner := range table {
		if owner == p.shard && r.wanted[slot] != p.shard {
			table[slot], any = r.wanted[slot], true
		}
	}
	if !any {
		return nil
	}
	return r.distribute(p.lane, p.queue.takeMoved(func(slot uint16) bool { return table[slot] != p.shard }))
}

// distribute gives publications in the order of their deadlines to where they belong. The caller holds mu.
func (r *router) distribute(l lane, moved []*publication) (left []*publication) {
	byShard := make(map[*shard][]*publication)
	for _, publication := range moved {
		to := r.publishing[l][publication.slot]
		byShard[to] = append(byShard[to], publication)
	}
	for to, batch := range byShard {
		if !to.publishers[l].queue.merge(batch) {
			left = append(left, batch...)
		}
	}
	return left
}

// giveBack gives publications that a shard was asked to take back to their owner.
func (r *router) giveBack(l lane, batch []*publication) (left []*publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range batch {
		p.asking = false
	}
	return r.distribute(l, batch)
}

// ask gives a publication to a shard that its slot is being moved to. It says no when the process is about to end.
func (r *router) ask(l lane, addr string, p *publication) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.shardLocked(addr)
	to.asked = time.Now()
	p.asking = to != r.nowhere
	return to.publishers[l].queue.merge([]*publication{p})
}

// handOverSubscriptions moves the subscriptions of a shard's link to where they belong now. Only the goroutine that receives on the
// link calls it, so that nobody is being told of one of them. carried says whether messages came on any.
func (r *router) handOverSubscriptions(s *subscriber) (carried bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.seen = r.version.Load()
	table := r.subscribing[s.lane]
	var slots []uint16
	for slot, owner := range table {
		if owner == s.shard && r.wanted[slot] != s.shard {
			table[slot] = r.wanted[slot]
			slots = append(slots, uint16(slot))
		}
	}
	if len(slots) == 0 {
		return false
	}
	moved, count := s.subscriptions.takeMoved(slots)
	for _, sub := range moved {
		to := table[sub.slot].subscribers[s.lane]
		to.subscriptions.adopt(sub)
		to.poke()
	}
	return count > 0
}
