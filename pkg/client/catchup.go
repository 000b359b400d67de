package client

import (
	"cmp"
	"slices"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// What has to come next and has not come is read from the log, a page at a time, as the application takes it.

// pages is the reading of one stream's log.
type pages struct {
	reading bool
	retry   backoff
	timer   *time.Timer // a new attempt; nil: none waits
}

func (p *pages) cancel() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// advance passes on what is held and comes next, and reads what is missing before the rest.
func (s *stream) advance() {
	if !s.logged || s.err != nil {
		return
	}
	for m := s.held.least(); m != nil && m.At.Offset <= s.at.Offset+1; m = s.held.least() {
		if m.At.Offset == s.at.Offset+1 && !s.pass(m) {
			break
		}
		s.held.dropLeast()
	}
	s.behind = s.at.Offset < s.newest
	if s.behind {
		s.readPage()
	}
}

// readPage asks for what follows on the last message, unless a page is on its way, or there is no place for it, or nobody to
// ask: then advance is called when that changes.
func (s *stream) readPage() {
	n := s.client.current
	if s.pages.reading || s.pages.timer != nil || n == nil {
		return
	}
	place := s.queue.room()
	if place == 0 {
		return
	}
	s.pages.reading = true
	id := s.client.nextIDLocked()
	n.sendLocked(id, encodeHistory(id, s.room, s.at.Offset, min(place, protocol.MaxAckMessages)), (*page)(s), false)
}

// page is a history command on its way.
type page stream

// lost implements command: the next connection reads on.
func (p *page) lost(*conn) { p.pages.reading = false }

// answer implements command.
func (p *page) answer(_ *conn, f *serverFrame) {
	s := (*stream)(p)
	s.pages.reading = false
	if s.err != nil {
		return
	}
	if failure := f.failure(); failure != nil {
		s.pageFailed(failure)
		return
	}
	s.pages.retry.succeeded()
	switch {
	case slices.Contains(s.past, f.Epoch):
		s.readLater() // from a gateway that has not heard of the new epoch yet
		return
	case f.Epoch != s.at.Epoch:
		s.lose(GapEpochChanged, f.at())
		return
	}
	s.newest = max(s.newest, f.Offset)
	for i := range f.Messages {
		m := f.Messages[i].asMessage()
		if m.At.Offset <= s.at.Offset {
			continue
		}
		if m.At.Offset > s.at.Offset+1 {
			s.skip(m.At.Offset - 1)
		}
		if !s.pass(&m) {
			return // drained reads on
		}
	}
	if len(f.Messages) == 0 && f.Offset > s.at.Offset {
		s.skip(f.Offset)
	}
	s.advance()
}

// skip goes on behind what the log no longer has.
func (s *stream) skip(to int64) {
	place := protocol.Position{Epoch: s.at.Epoch, Offset: to}
	if s.quiet {
		s.at, s.quiet = place, false
		return
	}
	s.lose(GapTrimmed, place)
}

func (s *stream) pageFailed(failure *protocol.Error) {
	if mendable(failure.Code) {
		s.readLater()
		return
	}
	s.client.options.Logger.Warn("what was missed cannot be read", "room_id", s.room, "code", failure.Code, "message", failure.Message)
	s.lose(GapRefused, protocol.Position{Epoch: s.at.Epoch, Offset: s.newest})
	s.advance()
}

func (s *stream) readLater() {
	s.pages.timer = time.AfterFunc(s.pages.retry.after(nil), func() {
		s.client.mu.Lock()
		defer s.client.mu.Unlock()
		s.pages.timer = nil
		if s.err == nil {
			s.readPage()
		}
	})
}

// welcomed begins with the inbox on a new connection.
func (s *stream) welcomed(n *conn) {
	inbox := n.welcome.inbox()
	other := s.user != "" && s.user != n.welcome.UserID
	before := len(s.members) > 0
	s.user = n.welcome.UserID
	s.members = append(s.members, n)
	s.joins++
	switch {
	case other:
		s.gap(Gap{Reason: GapNewUser, From: s.at})
		s.logged, s.past, s.behind = false, nil, false
		s.held.clear()
		s.beginInbox(inbox)
	case !s.logged:
		if s.joins > 1 && !before {
			s.gap(Gap{Reason: GapNoHistory})
		}
		s.beginInbox(inbox)
	case inbox == nil:
		// The gateway could not find out in time where the inbox stands: the page will tell.
		s.behind = true
		s.readPage()
	case slices.Contains(s.past, inbox.Epoch):
	case inbox.Epoch != s.at.Epoch:
		s.lose(GapEpochChanged, *inbox)
	default:
		s.newest = max(s.newest, inbox.Offset)
		s.advance()
	}
}

// beginInbox begins where the inbox stands, or before that if the application wants history.
func (s *stream) beginInbox(inbox *protocol.Position) {
	if inbox == nil {
		return // the first message will tell
	}
	s.logged, s.newest = true, inbox.Offset
	s.at = protocol.Position{Epoch: inbox.Epoch, Offset: max(0, inbox.Offset-int64(s.history))}
	s.quiet = true
	s.advance()
}

// Bounds of what a stream holds beside its queue.
const (
	maxHeld      = 256
	maxHeldBytes = 1 << 20
)

// held is what came too early. With a log it is in the order of offsets.
type held struct {
	messages []*Message
	bytes    int
}

// add keeps a message. Over the bound the one that is needed last is dropped, to be read from the log; without a log, add
// returns false.
func (h *held) add(m *Message) bool {
	if m.At.Offset == 0 {
		if len(h.messages) >= maxHeld || h.bytes+size(*m) > maxHeldBytes {
			return false
		}
		h.messages = append(h.messages, m)
		h.bytes += size(*m)
		return true
	}
	i, found := slices.BinarySearchFunc(h.messages, m, func(a, b *Message) int { return cmp.Compare(a.At.Offset, b.At.Offset) })
	if found {
		return true
	}
	h.messages = slices.Insert(h.messages, i, m)
	h.bytes += size(*m)
	for last := len(h.messages) - 1; last >= maxHeld || last > 0 && h.bytes > maxHeldBytes; last-- {
		h.bytes -= size(*h.messages[last])
		h.messages[last] = nil
		h.messages = h.messages[:last]
	}
	return true
}

func (h *held) least() *Message {
	if len(h.messages) == 0 {
		return nil
	}
	return h.messages[0]
}

func (h *held) dropLeast() {
	h.bytes -= size(*h.messages[0])
	h.messages = slices.Delete(h.messages, 0, 1)
}

// remove forgets a message that has come another way. The oldest is looked at first: it is most likely the one.
func (h *held) remove(id string) {
	if i := slices.IndexFunc(h.messages, func(m *Message) bool { return m.ID == id }); i >= 0 {
		h.bytes -= size(*h.messages[i])
		h.messages = slices.Delete(h.messages, i, i+1)
	}
}

func (h *held) takeAll() []*Message {
	all := h.messages
	h.clear()
	return all
}

func (h *held) clear() { *h = held{} }

// recent remembers the last message ids.
type recent struct {
	known map[string]struct{}
	order []string // a ring once it is full
	next  int
}

func (r *recent) has(id string) bool {
	_, found := r.known[id]
	return found
}

func (r *recent) add(id string) {
	if r.known == nil {
		r.known = map[string]struct{}{}
	}
	r.known[id] = struct{}{}
	if len(r.order) < maxRecent {
		r.order = append(r.order, id)
		return
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = id
	r.next = (r.next + 1) % maxRecent
}
