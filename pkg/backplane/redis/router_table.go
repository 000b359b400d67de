package redis

import (
	"slices"
	"time"
)

// apply makes the table what the topology says. An error says that it leaves slots out.
func (r *router) apply(t *topology) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, changed, covered := time.Now(), false, true
	for slot, addr := range &t.slots {
		owner := r.shardLocked(addr)
		covered = covered && addr != ""
		if r.wanted[slot] == owner {
			continue
		}
		if at, ok := r.learned[uint16(slot)]; ok && now.Sub(at) < 10*settledAfter {
			continue // the node that served it knows better
		}
		r.wanted[slot], changed = owner, true
	}
	clear(r.learned)
	if changed {
		r.changedLocked()
	}
	r.retireLocked(now)
	if !covered {
		return errUncovered
	}
	return nil
}

// learn takes it from a node that a slot is elsewhere. It says no when something else was heard just now: then it is to be tried again
// a little later.
func (r *router) learn(slot uint16, addr string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.shardLocked(addr)
	if r.wanted[slot] == to {
		return true
	}
	now := time.Now()
	if at, ok := r.learned[slot]; ok && now.Sub(at) < settledAfter {
		return false
	}
	r.learned[slot] = now
	r.wanted[slot] = to
	r.changedLocked()
	return true
}

// shardLocked returns the shard at an address, and makes it if there is none.
func (r *router) shardLocked(addr string) *shard {
	b := r.backplane
	if s := r.shards[addr]; s != nil {
		return s
	}
	if addr == "" || r.closed {
		return r.nowhere
	}
	s := b.newShard(addr, b.dialer.to(addr), b.health.add(addr, b.dialer.options.links()))
	s.used = time.Now()
	s.health.count(false) // until it serves something
	r.shards[addr] = s
	s.start(b)
	return s
}

// changedLocked has everything go where it belongs, and leaves shards that serve nothing any more: a primary that was silent while its
// replica was promoted must not be spoken to when it goes on.
func (r *router) changedLocked() {
	serves := make(map[*shard]bool, len(r.shards))
	for _, s := range r.wanted {
		serves[s] = true
	}
	r.version.Add(1)
	now := time.Now()
	for _, s := range r.shards {
		s.health.count(serves[s])
		if !serves[s] && now.Sub(s.asked) > time.Second {
			s.dialer.links.keepOnly("")
		}
		s.tellMoved()
	}
	r.nowhere.tellMoved()
}

// retireLocked ends shards that have had no slots, and nothing else, for a while.
func (r *router) retireLocked(now time.Time) {
	used := make(map[*shard]bool, len(r.shards))
	for _, table := range slices.Concat([][]*shard{r.wanted}, r.publishing, r.subscribing) {
		for _, s := range table {
			used[s] = true
		}
	}
	for addr, s := range r.shards {
		if used[s] {
			s.used = now
			continue
		}
		if now.Sub(s.used) < unusedShard || now.Sub(s.asked) < unusedShard || slices.ContainsFunc(s.publishers, func(p *publisher) bool { return !p.queue.isEmpty() }) {
			continue
		}
		delete(r.shards, addr)
		s.health.remove()
		s.stop()
	}
}
