package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// judgePlain judges rooms without history: there every message comes at most once, and one connection's in the order sent, but for
// those that were sent again. What was sent in quiet times must come.
func judgePlain(e *evidence) *verdict {
	v := &verdict{Where: map[place]*trouble{}}
	seenBySomeone := map[message]bool{}
	for room := range e.rooms {
		for _, client := range e.members[room] {
			e.judgePlainView(v, room, client, seenBySomeone)
		}
	}
	for _, published := range e.published {
		for _, p := range published {
			if _, ok := p.acked(); ok {
				v.Acked++
			} else if seenBySomeone[p.message] {
				v.Unacked++
			}
		}
	}
	return v
}

// judgePlainView judges what one client saw of one room.
func (e *evidence) judgePlainView(v *verdict, room, client int, seenBySomeone map[message]bool) {
	type sender struct{ publisher, connection int }
	newest, seen := map[sender]int{}, map[message]bool{}
	for _, h := range e.happenings[client] {
		if h.what != delivered || h.room != room {
			continue
		}
		v.Delivered++
		p := e.published[h.message.publisher][h.message.number]
		if p.room != room {
			v.contradiction("client %d got %v of room %d in room %d", client, h.message, p.room, room)
		}
		switch {
		case seen[h.message] && e.forgetsKeys && len(p.attempts) > 1:
			v.Again++
		case seen[h.message]:
			v.Doubled++
			v.at(room, client).doubled = append(v.at(room, client).doubled, fmt.Sprint(h.message))
		}
		seen[h.message], seenBySomeone[h.message] = true, true
		if len(p.attempts) > 1 || p.attempts[0].ack == (position{}) {
			continue // what was not acked may have reached Redis late
		}
		from := sender{h.message.publisher, p.attempts[0].connection}
		if before, ok := newest[from]; ok && h.message.number < before {
			v.Reordered++
			v.at(room, client).reordered = append(v.at(room, client).reordered, fmt.Sprintf("%v came after number %d", h.message, before))
		}
		newest[from] = max(newest[from], h.message.number)
	}
	back := e.backAt(room, client)
	for _, published := range e.published {
		for _, p := range published {
			if _, ok := p.acked(); !ok || p.room != room || seen[p.message] {
				continue
			}
			if p.sent.Before(e.brokenAt.Add(-quietBefore/2)) || !back.IsZero() && p.sent.After(back) {
				v.Lost++
				v.at(room, client).lost = append(v.at(room, client).lost, fmt.Sprintf("%v, sent at %s", p.message, p.sent.Format(clock)))
			} else {
				v.Declared++
			}
		}
	}
}

// backAt is when a client had a message of a room that was sent after everything was mended, on the connection that it has at the end:
// from then on nothing may be missed. It is zero if there was none.
func (e *evidence) backAt(room, client int) (at time.Time) {
	for _, h := range e.happenings[client] {
		switch {
		case h.room != room:
		case h.what == joined:
			at = time.Time{}
		case at.IsZero() && h.what == delivered && e.published[h.message.publisher][h.message.number].sent.After(e.mended):
			at = h.at
		}
	}
	return at
}

// TestTheLedgerFindsWhatWentWrongWithoutHistory tells of a room with one member, to which four messages are sent on one connection, a
// second apart: the first in the quiet before the faults, the second during them, the others when all is mended.
func TestTheLedgerFindsWhatWentWrongWithoutHistory(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	tests := []struct {
		name string
		got  []int
		// again is a message that was sent twice, unacked one that was not acked.
		again, unacked int
		forgetsKeys    bool
		want           verdict
	}{
		{name: "everything came", got: []int{0, 1, 2, 3}, want: verdict{Acked: 4, Delivered: 4}},
		{name: "what was sent before the faults is missing", got: []int{1, 2, 3}, want: verdict{Acked: 4, Delivered: 3, Lost: 1}},
		{name: "what was sent during the faults is missing", got: []int{0, 2, 3}, want: verdict{Acked: 4, Delivered: 3, Declared: 1}},
		{name: "what was sent after them is missing, when something has come already", got: []int{0, 1, 2}, want: verdict{Acked: 4, Delivered: 3, Lost: 1}},
		{name: "what was sent after them is missing, and comes before anything else has", got: []int{0, 1, 3}, want: verdict{Acked: 4, Delivered: 3, Declared: 1}},
		{name: "one came twice", got: []int{0, 1, 1, 2, 3}, want: verdict{Acked: 4, Delivered: 5, Doubled: 1}},
		{name: "one that was sent twice came twice", got: []int{0, 1, 1, 2, 3}, again: 1, want: verdict{Acked: 4, Delivered: 5, Doubled: 1}},
		{name: "one that was sent twice came twice, and its key was lost", got: []int{0, 1, 1, 2, 3}, again: 1, forgetsKeys: true, want: verdict{Acked: 4, Delivered: 5, Again: 1}},
		{name: "two are exchanged", got: []int{0, 2, 1, 3}, want: verdict{Acked: 4, Delivered: 4, Reordered: 1}},
		{name: "one that was sent twice comes late", got: []int{0, 2, 1, 3}, again: 1, want: verdict{Acked: 4, Delivered: 4}},
		{name: "one that was not acked comes", got: []int{0, 1, 2, 3}, unacked: 2, want: verdict{Acked: 3, Delivered: 4, Unacked: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &evidence{
				rooms: 1, members: [][]int{{0}}, published: make([][]*publication, 1), forgetsKeys: test.forgetsKeys,
				brokenAt: start.Add(quietBefore), mended: start.Add(quietBefore + 10*time.Millisecond),
			}
			acked := &attempt{connection: 1, fresh: true, ack: position{epoch: notKept}}
			for n, sent := range []time.Duration{0, quietBefore, quietBefore + time.Second, quietBefore + 2*time.Second} {
				p := &publication{message: message{0, n}, sent: start.Add(sent), attempts: []*attempt{acked}}
				if n == test.again && n > 0 {
					p.attempts = []*attempt{{connection: 1, fresh: true}, acked}
				}
				if n == test.unacked && n > 0 {
					p.attempts = []*attempt{{connection: 1, fresh: true}}
				}
				e.published[0] = append(e.published[0], p)
			}
			told := []happening{{what: joined, at: start}}
			for _, n := range test.got {
				told = append(told, happening{what: delivered, message: message{0, n}, at: e.published[0][n].sent.Add(time.Millisecond)})
			}
			e.happenings = [][]happening{told}
			if diff := cmp.Diff(test.want, *judge(e), cmpopts.IgnoreFields(verdict{}, "Contradictions", "Where")); diff != "" {
				t.Errorf("the ledger says (-want +got):\n%s", diff)
			}
		})
	}
}
