package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// message names what was published: the n-th message of a publisher.
type message struct {
	publisher, number int
}

// position is a place in a room's log.
type position struct {
	epoch  string
	offset int64
}

// happening is what a client was told about one of its rooms.
type happening struct {
	at   time.Time
	what what
	room int
	// position is the message's, or where the room stands.
	position
	message   message
	asked     bool // a join: it asked to recover
	recovered bool // a join: it was told that it misses nothing
}

type what string

const (
	joined       what = "joined"
	delivered    what = "delivered"
	epochChanged what = "epoch changed"
)

// attempt is one sending of a message.
type attempt struct {
	connection int
	// fresh is true for the first sending of the message.
	fresh bool
	// ack is the answer; the zero value is none.
	ack position
}

// publication is one message and how often it was sent.
type publication struct {
	message
	room     int
	sent     time.Time
	attempts []*attempt
}

// notKept is the epoch of an ack that has no place in a log.
const notKept = "not kept"

func (p *publication) acked() (position, bool) {
	for _, a := range p.attempts {
		if a.ack.epoch != "" {
			return a.ack, true
		}
	}
	return position{}, false
}

// entry is one message in the log as it was at the end.
type entry struct {
	offset int64
	message
}

// evidence is all that is known of a run. Every client was in all its rooms before the first message was sent.
type evidence struct {
	rooms int
	size  int // of the logs; 0: there are none
	// brokenAt and mended are when the first fault began and the last one ended; forgetsKeys says that one of them took Redis's memory.
	brokenAt, mended time.Time
	forgetsKeys      bool
	// happenings, by client, in order.
	happenings [][]happening
	// members, by room, are clients.
	members [][]int
	// published, by publisher, in the order of numbers from 0.
	published [][]*publication
	// logs, by room: the whole log at the end, and its epoch.
	logs   [][]entry
	epochs []string
}

// verdict counts what happened to messages. A message to four members counts four times where it is about members.
type verdict struct {
	Acked, Delivered int
	// Lost, Doubled and Reordered are within one epoch; each is a violation.
	Lost, Doubled, Reordered int
	// Declared were acked, did not come, and the server said so: by a new epoch, or that a short log has forgotten them. Without
	// history it is what was sent while something was broken.
	Declared int
	// Again came once more in a new epoch, since the memory of idempotency keys was lost with the old one.
	Again int
	// Unacked came, and their publisher never got an ack.
	Unacked int
	// Contradictions say in words what no faultless server does, beyond what is counted.
	Contradictions []string
	// Where says, by room and client, what was lost, doubled and reordered.
	Where map[place]*trouble
}

type place struct{ room, client int }

type trouble struct{ lost, doubled, reordered []string }

func (v *verdict) violated() bool {
	return v.Lost+v.Doubled+v.Reordered+len(v.Contradictions) > 0
}

// lines tells the violations, a line each.
func (v *verdict) lines() []string {
	lines := slices.Clone(v.Contradictions)
	places := slices.SortedFunc(maps.Keys(v.Where), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.room, b.room), cmp.Compare(a.client, b.client))
	})
	for _, at := range places {
		t := v.Where[at]
		for name, list := range map[string][]string{"lost": t.lost, "doubled": t.doubled, "reordered": t.reordered} {
			if len(list) > 0 {
				lines = append(lines, fmt.Sprintf("room %d, client %d: %d %s: %v", at.room, at.client, len(list), name, list[:min(len(list), 20)]))
			}
		}
	}
	return lines
}

func (v *verdict) at(room, client int) *trouble {
	p := place{room, client}
	if v.Where[p] == nil {
		v.Where[p] = &trouble{}
	}
	return v.Where[p]
}

func (v *verdict) contradiction(format string, args ...any) {
	if len(v.Contradictions) < 100 {
		v.Contradictions = append(v.Contradictions, fmt.Sprintf(format, args...))
	}
}

// judge holds what was published against what was delivered.
func judge(e *evidence) *verdict {
	if e.size == 0 {
		return judgePlain(e)
	}
	v := &verdict{Where: map[place]*trouble{}}
	truth := e.positions(v)
	someoneSaw := map[message]bool{}
	for room := range e.rooms {
		for _, client := range e.members[room] {
			w := newView(v, room, client, e.size, truth[room])
			for _, h := range e.happenings[client] {
				if h.room == room {
					w.take(h)
				}
			}
			w.finish(e)
			for m := range w.seen {
				someoneSaw[m] = true
			}
		}
	}
	for publisher := range e.published {
		v.order(e.published[publisher])
		for _, p := range e.published[publisher] {
			if _, ok := p.acked(); ok {
				v.Acked++
			} else if someoneSaw[p.message] {
				v.Unacked++
			}
		}
	}
	return v
}

// positions says, by room, what is at every place of the log that anybody was told of, and notes where two were told different things.
func (e *evidence) positions(v *verdict) []map[position]message {
	truth := make([]map[position]message, e.rooms)
	for room := range truth {
		truth[room] = map[position]message{}
	}
	tell := func(room int, at position, m message) {
		if before, ok := truth[room][at]; ok && before != m {
			v.contradiction("room %d: at %v is message %v, and for somebody else %v", room, at, before, m)
		}
		truth[room][at] = m
	}
	for _, published := range e.published {
		for _, p := range published {
			for _, a := range p.attempts {
				if a.ack.epoch != "" && a.ack.epoch != notKept {
					tell(p.room, a.ack, p.message)
				}
			}
		}
	}
	for _, happenings := range e.happenings {
		for _, h := range happenings {
			if h.what == delivered {
				tell(h.room, h.position, h.message)
			}
		}
	}
	for room, log := range e.logs {
		stored := map[message]int64{}
		for i, entry := range log {
			tell(room, position{e.epochs[room], entry.offset}, entry.message)
			if first, ok := stored[entry.message]; ok {
				v.contradiction("room %d: the log has message %v at %d and at %d", room, entry.message, first, entry.offset)
			} else {
				stored[entry.message] = entry.offset
			}
			if i > 0 && entry.offset != log[i-1].offset+1 {
				v.contradiction("room %d: the log goes from %d to %d", room, log[i-1].offset, entry.offset)
			}
		}
		e.missingFromLog(v, room, stored)
	}
	return truth
}

// missingFromLog looks for what was acked in the epoch that is alive at the end.
func (e *evidence) missingFromLog(v *verdict, room int, stored map[message]int64) {
	newest := int64(0)
	for _, offset := range stored {
		newest = max(newest, offset)
	}
	for _, published := range e.published {
		for _, p := range published {
			at, ok := p.acked()
			if !ok || p.room != room || at.epoch != e.epochs[room] || at.offset <= newest-int64(e.size) {
				continue
			}
			if found, ok := stored[p.message]; !ok || found != at.offset {
				v.contradiction("room %d: message %v was acked at %v, the log has it at %d (0: not at all)", room, p.message, at, found)
			}
		}
	}
}

// order checks that what was sent on one connection for the first time, and acked there, is in the log in the order sent.
// Messages that were sent again are not held against that: the publisher itself sent them out of order.
func (v *verdict) order(published []*publication) {
	last := map[int]position{} // by connection
	for _, p := range published {
		for _, a := range p.attempts {
			if !a.fresh || a.ack.epoch == "" || a.ack.epoch == notKept {
				continue
			}
			before := last[a.connection]
			if before.epoch == a.ack.epoch && a.ack.offset <= before.offset {
				v.Reordered++
				t := v.at(p.room, p.publisher)
				t.reordered = append(t.reordered, fmt.Sprintf("published %v at %v after %v", p.message, a.ack, before))
			}
			last[a.connection] = a.ack
		}
	}
}
