package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// roster is who is in a room. Its shard's mutex guards it.
type roster struct {
	connections map[string]int
	// users are the keys of connections in order. Moving half of 100,000 strings to make room for one takes 50 µs.
	users []string
}

// maxMembers bounds a page.
const maxMembers = 1000

// Enter implements backplane.Presence. The change is delivered before it returns, or soon by the goroutine that is delivering to
// the room at this moment.
func (b *Backplane) Enter(room backplane.Target, user string) {
	if !b.enter() {
		return
	}
	defer b.leave()
	s := b.shard(room)
	s.mu.Lock()
	r := s.rosters[room]
	if r == nil {
		if s.rosters == nil {
			s.rosters = make(map[backplane.Target]*roster)
		}
		r = &roster{connections: make(map[string]int)}
		s.rosters[room] = r
	}
	r.connections[user]++
	if r.connections[user] > 1 {
		s.mu.Unlock()
		return
	}
	i, _ := slices.BinarySearch(r.users, user)
	r.users = slices.Insert(r.users, i, user)
	b.members.Add(1)
	b.announce(s, room, backplane.Member{User: user, Connections: 1})
}

// Leave implements backplane.Presence, on the terms of Enter. Leaving more often than entering changes nothing.
func (b *Backplane) Leave(room backplane.Target, user string) {
	if !b.enter() {
		return
	}
	defer b.leave()
	s := b.shard(room)
	s.mu.Lock()
	r := s.rosters[room]
	if r == nil || r.connections[user] == 0 {
		s.mu.Unlock()
		return
	}
	r.connections[user]--
	if r.connections[user] > 0 {
		s.mu.Unlock()
		return
	}
	delete(r.connections, user)
	if i, ok := slices.BinarySearch(r.users, user); ok {
		r.users = slices.Delete(r.users, i, i+1)
	}
	if len(r.users) == 0 {
		delete(s.rosters, room)
	}
	b.members.Add(-1)
	b.announce(s, room, backplane.Member{User: user})
}

// announce delivers a change to the room, in its turn. The caller has the lock of s, which announce gives back.
func (b *Backplane) announce(s *shard, room backplane.Target, change backplane.Member) {
	t := s.topics[room]
	if t == nil || !t.subscribed {
		s.mu.Unlock()
		return
	}
	t.waiting = append(t.waiting, event{message: backplane.Message{Target: room, Changes: []backplane.Member{change}}, done: nobody{}})
	if t.delivering {
		s.mu.Unlock()
		return
	}
	t.delivering = true
	s.mu.Unlock()
	b.deliverWaiting(s, t, room)
}

// nobody waits for the confirmation of what no client published.
type nobody struct{}

// Published does nothing.
func (nobody) Published(backplane.Receipt, error) {}

// Members implements backplane.Presence. It takes no round trip.
func (b *Backplane) Members(ctx context.Context, room backplane.Target, after string, limit int) (backplane.Roster, error) {
	if !b.enter() {
		return backplane.Roster{}, errClosed
	}
	defer b.leave()
	if ctx.Err() != nil {
		return backplane.Roster{}, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	s := b.shard(room)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rosters[room]
	if r == nil {
		return backplane.Roster{}, nil
	}
	first, found := slices.BinarySearch(r.users, after)
	if found {
		first++
	}
	last := min(len(r.users), first+max(0, min(limit, maxMembers)))
	page := backplane.Roster{Users: len(r.users), More: last < len(r.users)}
	for _, user := range r.users[first:last] {
		page.Members = append(page.Members, backplane.Member{User: user, Connections: r.connections[user]})
	}
	return page, nil
}

// PresenceStatus implements backplane.Presence. Nothing is ever untold.
func (b *Backplane) PresenceStatus() backplane.PresenceStatus {
	return backplane.PresenceStatus{Members: int(b.members.Load())}
}
