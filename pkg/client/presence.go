package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// MemberJoined tells that another user, whose first connection it is, has come into a room that is watched. Nobody is told of
// themselves.
type MemberJoined struct {
	Room, UserID string
	// Connections is how many the user has in the room, on all gateways.
	Connections int
}

// MemberLeft tells that a user has left a room that is watched, with the last connection.
type MemberLeft struct {
	Room, UserID string
	Connections  int
}

// PresenceGap stands where users may have come and gone unseen: the connection was lost for a while, or the application was too
// slow. Room.Members tells who is there now.
type PresenceGap struct{ Room string }

func (MemberJoined) event() {}
func (MemberLeft) event()   {}
func (PresenceGap) event()  {}

// Member is a user in a room.
type Member struct {
	UserID string `json:"user_id"`
	// Connections is how many the user has in the room, on all gateways.
	Connections int `json:"connections"`
}

// MemberPage is a part of the users in a room.
type MemberPage struct {
	Members []Member
	// Count is how many users are in the whole room.
	Count int
	// Next is for the call that reads on; empty: this was the last page.
	Next string
}

// errNoConnection: there is nobody to ask now.
var errNoConnection = errors.New("there is no connection")

// Members asks who is in the room, whether or not it is watched: a page of up to limit users (0: the gateway's default of 100;
// 1000 at most), from the beginning or from an earlier page's Next. It blocks until a gateway has answered, however many
// connections that takes, or until ctx ends or the room does. A *protocol.Error is the gateway's refusal.
func (r *Room) Members(ctx context.Context, next string, limit int) (MemberPage, error) {
	if limit < 0 || limit > protocol.MaxLimit {
		return MemberPage{}, fmt.Errorf("members: the limit %d is out of range; ask for 1 to %d users, or 0 for the default", limit, protocol.MaxLimit)
	}
	retry := newBackoff(shortestRetry, longestRetry)
	for {
		page, err := r.stream.askMembers(ctx, next, limit)
		refusal, refused := errors.AsType[*protocol.Error](err)
		if err == nil || refused && !mendable(refusal.Code) || !refused && !errors.Is(err, errNoConnection) {
			return page, err
		}
		if !sleep(ctx, retry.after(err)) {
			return page, errors.Join(ctx.Err(), err)
		}
	}
}

// askMembers asks once.
func (s *stream) askMembers(ctx context.Context, next string, limit int) (MemberPage, error) {
	q := &question{make(chan *serverFrame, 1)}
	c := s.client
	c.mu.Lock()
	n := c.current
	if err := s.err; err != nil || n == nil {
		c.mu.Unlock()
		if err == nil {
			err = errNoConnection
		}
		return MemberPage{}, err
	}
	id := c.nextIDLocked()
	n.sendLocked(id, encodePresence(id, s.room, next, limit), q, false)
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return MemberPage{}, ctx.Err()
	case f := <-q.answered:
		if f == nil {
			return MemberPage{}, errNoConnection
		}
		if failure := f.failure(); failure != nil {
			return MemberPage{}, failure
		}
		return MemberPage{Members: f.Members, Count: f.Count, Next: f.Next}, nil
	}
}

// question is a command on its way whose answer somebody waits for.
type question struct {
	// answered has a place for the one answer; nil: the connection ended before it.
	answered chan *serverFrame
}

func (q *question) answer(_ *conn, f *serverFrame) { q.answered <- f }

func (q *question) lost(*conn) { q.answered <- nil }

// watch is what a stream knows of the users in its room, if it wants to be told.
type watch struct {
	on bool
	// early came by a connection that the client is about to move to; the one in use may still bring what was before it.
	early []Event
	from  *conn
	// missed: users came or went and the application was not told.
	missed bool
}

// takeMember takes a member_joined or member_left frame.
func (s *stream) takeMember(n *conn, f *serverFrame) {
	if s.err != nil || !s.watch.on || !slices.Contains(s.members, n) {
		return
	}
	var e Event = MemberJoined{f.RoomID, f.UserID, f.Connections}
	if f.Type == "member_left" {
		e = MemberLeft{f.RoomID, f.UserID, f.Connections}
	}
	switch {
	case n == s.client.current || s.client.current == nil:
		s.passMember(e)
	case !s.overtaking(n): // it was moved away from, and the new one tells
	case len(s.watch.early) < maxHeld:
		s.watch.early, s.watch.from = append(s.watch.early, e), n
	default:
		s.watch.missed = true
	}
}

func (s *stream) passMember(e Event) {
	if !s.tellMissed() || !s.queue.push(e) {
		s.watch.missed = true
	}
}

// membersUnseen is called when users may have come and gone while nobody told.
func (s *stream) membersUnseen() {
	s.watch.early = nil
	s.watch.missed = s.watch.on
	s.tellMissed()
}

// tellMissed puts a gap in the place of what was missed; false: the queue is full, and drained does it later.
func (s *stream) tellMissed() bool {
	if s.watch.missed && !s.queue.push(PresenceGap{s.room}) {
		return false
	}
	s.watch.missed = false
	return true
}

// switchedMembers passes on what waited for the end of a move.
func (s *stream) switchedMembers() {
	early := s.watch.early
	s.watch.early, s.watch.from = nil, nil
	for _, e := range early {
		s.passMember(e)
	}
}

// lostMembers forgets what came early by a connection that has ended: what follows it would be missing.
func (s *stream) lostMembers(n *conn) {
	if s.watch.from == n {
		s.watch.early, s.watch.from = nil, nil
	}
}
