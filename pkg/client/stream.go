package client

import (
	"errors"
	"slices"
	"sync"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// maxRecent is how many message ids a stream remembers, to know a message that comes by two connections or in two epochs.
const maxRecent = 1024

// maxPast is how many epochs a stream remembers to be over.
const maxPast = 8

// stream is what the application gets of a room, or of its inbox: one sequence made of what several connections, acks and
// pages of the log bring. With a log, offsets say what comes next; without one, message ids say what has come.
type stream struct {
	// Fixed at start.
	client  *Client
	room    string // "": the inbox
	history int
	handler func(Event)
	queue   *queue
	events  chan Event // used without a handler
	stop    chan struct{}
	stopped sync.Once
	// first has a place for the result of the first join.
	first chan error

	// Guarded by Client.mu.

	// members are the connections on which the room is joined.
	members []*conn
	retry   backoff // of joins
	joins   int     // that have succeeded
	user    string  // the inbox's: whose it is
	err     error   // why it ended

	logged bool              // there is a log, and at is the last message taken
	at     protocol.Position // where recovery would begin
	newest int64             // the greatest offset of at.Epoch that is known to exist
	past   []string          // epochs that are over
	behind bool              // what comes next has to wait, or to be read from the log
	// quiet: what the log no longer has before the next page is no gap, since nobody has missed it.
	quiet bool
	pages pages
	held  held

	watch watch

	recent  recent
	dropped int64 // messages without a log that found the queue full
}

func newStream(c *Client, room string, o RoomOptions) *stream {
	s := &stream{
		client: c, room: room, history: o.History, handler: o.Handler, queue: newQueue(o.Buffer, o.BufferBytes),
		events: make(chan Event), stop: make(chan struct{}), first: make(chan error, 1),
		retry: newBackoff(c.options.BackoffMin, c.options.BackoffMax), pages: pages{retry: newBackoff(c.options.BackoffMin, c.options.BackoffMax)},
	}
	s.watch.on = o.Presence
	if o.Recover != nil {
		s.logged, s.at, s.newest = true, *o.Recover, o.Recover.Offset
	}
	return s
}

// openOn begins on a new connection, whose ready waits for it.
func (s *stream) openOn(n *conn) {
	if s.room != "" {
		s.joinLocked(n, true)
		return
	}
	s.welcomed(n)
	n.enteredLocked()
}

// joined takes the ack of a join.
func (s *stream) joined(n *conn, f *serverFrame) {
	before := len(s.members) > 0 // on another connection, so that nothing was missed
	s.members = append(s.members, n)
	s.joins++
	if s.joins > 1 && !before {
		s.membersUnseen()
	}
	if f.Epoch == "" {
		if s.logged {
			s.lose(GapRefused, protocol.Position{}) // the room's policy keeps no history any more
			s.logged = false
		} else if s.joins > 1 && !before {
			s.gap(Gap{Reason: GapNoHistory})
		}
		return
	}
	recovered := f.Recovered != nil && *f.Recovered
	switch {
	case !s.logged:
		if s.joins > 1 && !before {
			s.gap(Gap{Reason: GapNoHistory})
		}
		s.logged, s.at, s.newest = true, beginning(f), f.Offset
	case recovered, f.Epoch == s.at.Epoch:
		// What the log still has is read below, and that shows what it no longer has.
	case slices.Contains(s.past, f.Epoch):
		return // this gateway has not heard of the new epoch yet
	default:
		s.lose(GapEpochChanged, beginning(f))
		s.newest = f.Offset
	}
	s.takeAll(f.Messages)
	if s.newest = max(s.newest, s.at.Offset); !recovered {
		s.newest = max(s.newest, f.Offset)
	}
	s.advance()
}

// beginning returns the place before an ack's first message.
func beginning(f *serverFrame) protocol.Position {
	if len(f.Messages) > 0 {
		return protocol.Position{Epoch: f.Epoch, Offset: f.Messages[0].Offset - 1}
	}
	return f.at()
}

func (s *stream) takeAll(messages []serverFrame) {
	for i := range messages {
		m := messages[i].asMessage()
		if s.room == "" && m.Room != "" || s.room != m.Room {
			continue
		}
		s.takeLogged(&m)
	}
}

// take takes a message frame.
func (s *stream) take(n *conn, m Message) {
	switch {
	case s.err != nil:
	case m.At.Offset == 0:
		s.takeUnlogged(n, m)
	case s.room == "" || slices.Contains(s.members, n):
		s.takeLogged(&m)
	}
}

// takeLogged passes on the next message, drops what has come before, and keeps what is too early.
func (s *stream) takeLogged(m *Message) {
	if !s.logged {
		s.logged, s.at = true, protocol.Position{Epoch: m.At.Epoch, Offset: m.At.Offset - 1}
	}
	if m.At.Epoch != s.at.Epoch {
		if slices.Contains(s.past, m.At.Epoch) {
			return
		}
		s.lose(GapEpochChanged, protocol.Position{Epoch: m.At.Epoch, Offset: m.At.Offset - 1})
	}
	s.newest = max(s.newest, m.At.Offset)
	switch {
	case m.At.Offset <= s.at.Offset:
	case m.At.Offset == s.at.Offset+1 && !s.behind && s.pass(m):
	default:
		s.held.add(m)
		s.behind = true
		s.readPage()
	}
}

// pass gives the next message to the application; false: the queue is full.
func (s *stream) pass(m *Message) bool {
	if s.recent.has(m.ID) {
		s.at.Offset = m.At.Offset // it has come in the epoch before
		return true
	}
	if !s.queue.push(*m) {
		return false
	}
	s.recent.add(m.ID)
	s.at.Offset = m.At.Offset
	s.quiet = false
	return true
}

// takeUnlogged passes on what has not come before. While a move is under way, what comes by the new connection waits: the old
// one may still bring what was published before it.
func (s *stream) takeUnlogged(n *conn, m Message) {
	if s.recent.has(m.ID) || s.overtaking(n) && s.held.add(&m) {
		return
	}
	s.held.remove(m.ID)
	s.passUnlogged(&m)
}

// overtaking tells whether n is newer than the current connection.
func (s *stream) overtaking(n *conn) bool {
	current := s.client.current
	return current != nil && n.began.After(current.began)
}

func (s *stream) passUnlogged(m *Message) {
	if s.recent.has(m.ID) {
		return
	}
	s.recent.add(m.ID)
	if s.dropped > 0 && !s.tellDropped() || !s.queue.push(*m) {
		s.dropped++
	}
}

// tellDropped puts a gap in the place of what found the queue full, if there is room for what follows.
func (s *stream) tellDropped() bool {
	if s.queue.room() == 0 {
		return false
	}
	s.queue.pushGap(Gap{Reason: GapOverflow, Missed: s.dropped})
	s.dropped = 0
	return true
}

// switched passes on what waited for the end of a move, or for a connection to read the log by.
func (s *stream) switched() {
	s.switchedMembers()
	if s.logged {
		s.advance()
		return
	}
	for _, m := range s.held.takeAll() {
		s.passUnlogged(m)
	}
}

// lostConn takes the end of a connection.
func (s *stream) lostConn(n *conn) {
	s.members = slices.DeleteFunc(s.members, func(other *conn) bool { return other == n })
	s.lostMembers(n)
	if s.client.current == nil {
		s.switched()
	}
}

// epochChanged takes the gateway's word that the log goes on elsewhere.
func (s *stream) epochChanged(to protocol.Position) {
	switch {
	case s.err != nil || !s.logged || slices.Contains(s.past, to.Epoch):
	case to.Epoch != s.at.Epoch:
		s.lose(GapEpochChanged, to)
	case to.Offset > s.at.Offset && !s.behind:
		s.lose(GapTrimmed, to)
	}
}

// lose goes to another place than the next one, and tells the application.
func (s *stream) lose(reason GapReason, to protocol.Position) {
	if to.Epoch != s.at.Epoch {
		if s.past = append(s.past, s.at.Epoch); len(s.past) > maxPast {
			s.past = s.past[1:]
		}
		s.held.clear()
		s.behind, s.newest = false, to.Offset
	}
	s.gap(Gap{Reason: reason, From: s.at, To: to})
	s.at = to
	s.newest = max(s.newest, to.Offset)
}

func (s *stream) gap(g Gap) {
	if g.From.Epoch != "" && g.From.Epoch == g.To.Epoch {
		g.Missed = g.To.Offset - g.From.Offset
	}
	s.queue.pushGap(g)
}

// endLocked ends the stream; the application is told unless it ended it itself.
func (s *stream) endLocked(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.tellFirst(err)
	if s.room != "" {
		delete(s.client.streams, s.room)
	}
	s.pages.cancel()
	if errors.Is(err, ErrClosed) {
		s.halt()
		return
	}
	s.queue.end(Ended{err})
}

// halt ends the handing over, whatever still waits.
func (s *stream) halt() { s.stopped.Do(func() { close(s.stop) }) }

// tellFirst gives the first join's result to who waits for it.
func (s *stream) tellFirst(err error) {
	select {
	case s.first <- err:
	default:
	}
}

// handOver gives the events to the application until the stream ends.
func (s *stream) handOver() {
	defer close(s.events)
	for {
		e, ok, drained := s.queue.pop()
		if drained {
			s.drained()
		}
		if !ok {
			select {
			case <-s.stop:
				return
			case <-s.client.closed:
				return
			case <-s.queue.wake:
				continue
			}
		}
		if !s.give(e) {
			return
		}
	}
}

// give returns false if e was the last event.
func (s *stream) give(e Event) bool {
	if s.handler != nil {
		select {
		case <-s.stop:
			return false
		case <-s.client.closed:
			return false
		default:
		}
		s.handler(e)
	} else {
		select {
		case <-s.stop:
			return false
		case <-s.client.closed:
			return false
		case s.events <- e:
		}
	}
	_, last := e.(Ended)
	return !last
}

// drained goes on after the queue was full.
func (s *stream) drained() {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	if s.err != nil {
		return
	}
	if s.dropped > 0 {
		s.tellDropped()
	}
	s.tellMissed()
	s.advance()
}
