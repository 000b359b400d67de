package bench

import (
	"slices"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

const codeUnavailable = string(protocol.CodeUnavailable)

// checker remembers every message and who got it. It is told what happened, in the order in which it happened, and does not
// know connections or sockets.
//
// A member is owed every acked message that was sent after it had joined. What it did not get was, in this order:
//
//   - missed while away: sent while the client had no connection, or in the margin before it noticed that it had none;
//   - in flight: sent during a fault that any client saw (a connection that ended, a publish that was not confirmed, or
//     only after a second), or in the margin around it;
//   - lost: nothing excuses it.
//
// Rooms with a history excuse nothing, but for what the server itself declared lost by a new epoch.
type checker struct {
	topology topology
	history  bool
	margin   time.Duration

	messages [][]message // by stream, seq-1
	clients  []witness
	faults   []interval // in order, apart
	epochs   map[int][]interval
	result   CheckResult
	byRoom   map[int]*RoomCheck
	byClient map[int]*ClientCheck
}

// message is one that was sent.
type message struct {
	at    uint32 // milliseconds
	state uint8
	// offset is the place in the log that the first member saw; 0: none.
	offset uint32
}

const (
	wasAcked uint8 = 1 << iota
	wasRefused
	wasUnavailable
	wasSeen
)

// witness is one client.
type witness struct {
	views [][]view // by place, then by stream of the room; nil until it has joined
	away  []interval
	// denied are the times that the server could not recover for this client, and said so.
	denied []interval
	gone   bool
}

// view is what one client saw of one stream.
type view struct {
	from uint32 // the first number that it is owed
	next uint32 // the highest number seen, and one
	gaps []span // below next, not seen
	last [2]lastSeen
}

// lastSeen is the highest number that came on one connection.
type lastSeen struct{ conn, seq uint32 }

type span struct{ from, to uint32 } // both inclusive

type interval struct{ from, to time.Duration }

const forever = time.Duration(1<<63 - 1)

func newChecker(t topology, history bool, margin time.Duration) *checker {
	return &checker{
		topology: t, history: history, margin: margin, messages: make([][]message, t.streams()), clients: make([]witness, t.clients()),
		epochs: map[int][]interval{}, byRoom: map[int]*RoomCheck{}, byClient: map[int]*ClientCheck{},
	}
}

// published tells of a message that was sent. Numbers of a stream come without holes.
func (k *checker) published(s Stamp) {
	k.messages[s.Stream] = append(k.messages[s.Stream], message{at: uint32(s.At / time.Millisecond)})
}

func (k *checker) acked(s Stamp) { k.messages[s.Stream][s.Seq-1].state |= wasAcked }

// refused tells of an error; unavailable is the one after which the message may have been published all the same.
func (k *checker) refused(s Stamp, unavailable bool) {
	if unavailable {
		k.messages[s.Stream][s.Seq-1].state |= wasUnavailable
	} else {
		k.messages[s.Stream][s.Seq-1].state |= wasRefused
	}
}

// joined tells that the client is a member of all its rooms from now on.
func (k *checker) joined(client int, now time.Duration) {
	w := &k.clients[client]
	if w.views == nil {
		for _, room := range k.topology.appendRooms(nil, client) {
			views := make([]view, k.topology.streamsOfRoom(room))
			for i := range views {
				sent := uint32(len(k.messages[room+i*k.topology.rooms]))
				views[i] = view{from: sent + 1, next: sent + 1}
			}
			w.views = append(w.views, views)
		}
	}
	if w.gone {
		w.gone = false
		w.away[len(w.away)-1].to = now
	}
}

// left tells that the client has no connection from now on.
func (k *checker) left(client int, now time.Duration) {
	w := &k.clients[client]
	if !w.gone {
		w.gone = true
		w.away = append(w.away, interval{now - k.margin, forever})
	}
}

// fault tells that somebody saw something wrong.
func (k *checker) fault(now time.Duration) {
	from, to := now-k.margin, now+k.margin
	if n := len(k.faults); n > 0 && k.faults[n-1].to >= from {
		k.faults[n-1].to = to
		return
	}
	k.faults = append(k.faults, interval{from, to})
}

// notRecovered tells that the server said to a client that came back that what it missed is gone.
func (k *checker) notRecovered(client int, now time.Duration) {
	w := &k.clients[client]
	from := now - k.margin
	if n := len(w.away); n > 0 {
		from = min(from, w.away[n-1].from)
	}
	w.denied = append(w.denied, interval{from, now})
}

// newEpoch tells that the server declared a room's log lost.
func (k *checker) newEpoch(room int, now time.Duration) {
	k.epochs[room] = append(k.epochs[room], interval{now - k.margin, now})
}

// positioned tells which offset a message had for somebody.
func (k *checker) positioned(s Stamp, offset int64) {
	m := &k.messages[s.Stream][s.Seq-1]
	switch {
	case m.offset == 0:
		m.offset = uint32(offset)
	case m.offset != uint32(offset):
		k.result.Conflicting++
	}
}

// delivered tells that a message came to a client on one of its connections.
func (k *checker) delivered(client int, conn uint32, s Stamp) {
	k.messages[s.Stream][s.Seq-1].state |= wasSeen
	room := k.topology.streamRoom(int(s.Stream))
	place := k.topology.place(client, room)
	if place < 0 {
		k.result.Misdirected++
		return
	}
	k.result.Delivered++
	w := &k.clients[client]
	if w.views == nil {
		return // before the joins were confirmed: welcome, but owed nothing
	}
	v := &w.views[place][int(s.Stream)/k.topology.rooms]
	last := v.lastOn(conn)
	late := s.Seq <= last.seq
	last.seq = max(last.seq, s.Seq)
	switch {
	case s.Seq >= v.next:
		if s.Seq > v.next {
			v.gaps = append(v.gaps, span{v.next, s.Seq - 1})
		}
		v.next = s.Seq + 1
	case s.Seq < v.from:
	case v.fill(s.Seq):
		if late {
			k.result.Reordered++
			k.room(room).Reordered++
			k.client(client).Reordered++
		}
	case late:
		k.result.Doubled++
		k.room(room).Doubled++
		k.client(client).Doubled++
	default:
		k.result.Overlapped++
	}
}

// lastOn returns the memory of a connection. Of more than two the oldest is forgotten: a client has at most an old and a new one.
func (v *view) lastOn(conn uint32) *lastSeen {
	for i := range v.last {
		if v.last[i].conn == conn {
			return &v.last[i]
		}
	}
	oldest := &v.last[0]
	if v.last[1].conn < oldest.conn {
		oldest = &v.last[1]
	}
	*oldest = lastSeen{conn: conn}
	return oldest
}

// fill takes a number out of the gaps and tells whether it was in one.
func (v *view) fill(seq uint32) bool {
	for i := len(v.gaps) - 1; i >= 0; i-- {
		switch g := &v.gaps[i]; {
		case seq > g.to:
			return false
		case seq < g.from:
			continue
		case g.from == g.to:
			v.gaps = slices.Delete(v.gaps, i, i+1)
		case seq == g.from:
			g.from++
		case seq == g.to:
			g.to--
		default:
			v.gaps = slices.Insert(v.gaps, i+1, span{seq + 1, g.to})
			v.gaps[i].to = seq - 1
		}
		return true
	}
	return false
}
