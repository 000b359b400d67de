package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// ErrAlreadyJoined is returned by Join, since there is one Room for each room.
var ErrAlreadyJoined = errors.New("this room is joined already")

// Room is a room that the client is in, on every connection, until Leave, Close or Ended. It is safe for concurrent use.
type Room struct {
	// ID is the room's name.
	ID     string
	stream *stream
}

// Join joins a room and blocks until a gateway has confirmed it, or ctx ends: then the room is left again. A *protocol.Error
// is the gateway's refusal. What History or Recover ask for comes as the first events.
func (c *Client) Join(ctx context.Context, room string, o RoomOptions) (*Room, error) {
	if err := protocol.CheckName(room); err != nil {
		return nil, fmt.Errorf("join: the room's name %w", err)
	}
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	s, err := c.addRoom(room, o)
	if err != nil {
		return nil, err
	}
	r := &Room{room, s}
	select {
	case err = <-s.first:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		r.Leave()
		return nil, err
	}
	return r, nil
}

func (c *Client) addRoom(room string, o RoomOptions) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, c.err
	case c.closing:
		return nil, ErrClosed
	case c.streams[room] != nil:
		return nil, fmt.Errorf("%w: %s", ErrAlreadyJoined, room)
	}
	s := newStream(c, room, o)
	c.streams[room] = s
	for _, n := range c.conns {
		s.joinLocked(n, false)
	}
	c.wg.Go(s.handOver)
	return s, nil
}

// Events returns the room's events, in order, if there is no Handler; the channel is closed at the end. It is not buffered:
// RoomOptions.Buffer is what waits.
func (r *Room) Events() <-chan Event { return r.stream.events }

// Leave leaves the room at once and for good; events that wait are dropped. It does not block. Leaving twice does nothing.
func (r *Room) Leave() {
	s, c := r.stream, r.stream.client
	c.mu.Lock()
	defer c.mu.Unlock()
	s.halt()
	if s.err != nil {
		return
	}
	for _, n := range c.conns {
		id := c.nextIDLocked()
		n.sendLocked(id, encodeLeave(id, s.room), nil, true)
	}
	s.endLocked(ErrClosed)
}

// Err returns why the room has ended: nil while it has not, ErrClosed if the application left it.
func (r *Room) Err() error {
	r.stream.client.mu.Lock()
	defer r.stream.client.mu.Unlock()
	return r.stream.err
}

// join is a join command on its way.
type join struct {
	stream *stream
	// entering: the connection's ready waits for it.
	entering bool
}

// joinLocked joins the room on a connection: from the last place that was seen, if there is one.
func (s *stream) joinLocked(n *conn, entering bool) {
	var from *protocol.Position
	if s.logged {
		from = &s.at
	}
	id := s.client.nextIDLocked()
	n.sendLocked(id, encodeJoin(id, s.room, from, s.history, s.watch.on), &join{s, entering}, true)
}

// answer implements command.
func (j *join) answer(n *conn, f *serverFrame) {
	s := j.stream
	failure := f.failure()
	if failure != nil && mendable(failure.Code) && s.err == nil {
		time.AfterFunc(s.retry.after(failure), func() { s.joinAgain(n, j.entering) })
		return
	}
	if j.entering {
		defer n.enteredLocked()
	}
	switch {
	case s.err != nil:
	case failure != nil:
		s.tellFirst(failure)
		s.endLocked(failure)
	default:
		s.retry.succeeded()
		s.joined(n, f)
		s.tellFirst(nil)
	}
}

// lost implements command: the next connection joins.
func (j *join) lost(*conn) {}

func (s *stream) joinAgain(n *conn, entering bool) {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	switch {
	case n.ended:
	case s.err == nil:
		s.joinLocked(n, entering)
	case entering:
		n.enteredLocked()
	}
}
