package faults

import (
	"fmt"
	"time"
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
