package bench

import (
	"cmp"
	"slices"
	"time"
)

// CheckResult is what a check found.
type CheckResult struct {
	// Messages were sent, Acked of them taken by the server, Unconfirmed answered by unavailable or by nothing.
	Messages    uint64 `json:"messages"`
	Acked       uint64 `json:"acked"`
	Unconfirmed uint64 `json:"unconfirmed"`
	// Owed is the number of deliveries of acked messages to clients that had joined when they were sent; Delivered is the
	// number of all that came.
	Owed      uint64 `json:"owed"`
	Delivered uint64 `json:"delivered"`

	// Lost were acked and did not come, though nothing excuses it.
	Lost uint64 `json:"lost"`
	// InFlight were acked and lost during a fault. Away were missed by clients without a connection. Declared were lost with
	// an epoch, and the server said so.
	InFlight uint64 `json:"lost_in_flight"`
	Away     uint64 `json:"missed_while_away"`
	Declared uint64 `json:"declared_lost"`
	// Doubled came twice on one connection. Overlapped came once on each of two connections of a client that was moving.
	Doubled    uint64 `json:"doubled"`
	Overlapped uint64 `json:"overlapped"`
	// Reordered came after a later message of the same publisher to the same room, on one connection.
	Reordered uint64 `json:"reordered"`
	// Misdirected came to a client that is not in their room. Refused were delivered though their publisher got an error.
	// Conflicting had different offsets for different members.
	Misdirected uint64 `json:"misdirected"`
	Refused     uint64 `json:"delivered_though_refused"`
	Conflicting uint64 `json:"conflicting_offsets"`

	// Rooms and Clients list those with anything lost, doubled or reordered, the worst first, at most maxListed each.
	Rooms         []RoomCheck   `json:"rooms,omitempty"`
	Clients       []ClientCheck `json:"clients,omitempty"`
	TroubledRooms int           `json:"troubled_rooms"`
	TroubledUsers int           `json:"troubled_clients"`
}

// maxListed bounds the lists of a CheckResult.
const maxListed = 100

// Trouble is what one room or client suffered.
type Trouble struct {
	Lost      uint64 `json:"lost"`
	InFlight  uint64 `json:"lost_in_flight"`
	Away      uint64 `json:"missed_while_away"`
	Declared  uint64 `json:"declared_lost"`
	Doubled   uint64 `json:"doubled"`
	Reordered uint64 `json:"reordered"`
}

func (t Trouble) any() bool { return t != Trouble{} }

// violations is what may not happen at all.
func (t Trouble) violations() uint64 { return t.Lost + t.Doubled + t.Reordered }

// RoomCheck is the trouble of one room, over all its members.
type RoomCheck struct {
	Room string `json:"room"`
	Trouble
}

// ClientCheck is the trouble of one client, over all its rooms.
type ClientCheck struct {
	Client int `json:"client"`
	Trouble
}

func (k *checker) room(room int) *RoomCheck {
	r := k.byRoom[room]
	if r == nil {
		r = &RoomCheck{Room: k.topology.roomName(room)}
		k.byRoom[room] = r
	}
	return r
}

func (k *checker) client(client int) *ClientCheck {
	c := k.byClient[client]
	if c == nil {
		c = &ClientCheck{Client: client}
		k.byClient[client] = c
	}
	return c
}

// finish looks at what is missing. It is called once, at the end.
func (k *checker) finish() *CheckResult {
	r := &k.result
	for _, stream := range k.messages {
		for _, m := range stream {
			r.Messages++
			switch {
			case m.state&wasAcked != 0:
				r.Acked++
			case m.state&wasRefused == 0:
				r.Unconfirmed++
			case m.state&wasSeen != 0:
				r.Refused++
			}
		}
	}
	for client := range k.clients {
		rooms := k.topology.appendRooms(nil, client)
		for place, views := range k.clients[client].views {
			for i := range views {
				k.missing(client, rooms[place], rooms[place]+i*k.topology.rooms, &views[i])
			}
		}
	}
	r.Rooms, r.TroubledRooms = worst(k.byRoom, func(c RoomCheck) Trouble { return c.Trouble })
	r.Clients, r.TroubledUsers = worst(k.byClient, func(c ClientCheck) Trouble { return c.Trouble })
	return r
}

// missing counts what a client did not see of a stream.
func (k *checker) missing(client, room, stream int, v *view) {
	sent := k.messages[stream]
	for seq := v.from; seq <= uint32(len(sent)); seq++ {
		if sent[seq-1].state&wasAcked != 0 {
			k.result.Owed++
		}
	}
	gaps := v.gaps
	if v.next <= uint32(len(sent)) {
		gaps = append(slices.Clone(gaps), span{v.next, uint32(len(sent))})
	}
	for _, gap := range gaps {
		for seq := gap.from; seq <= gap.to; seq++ {
			if m := sent[seq-1]; m.state&wasAcked != 0 {
				k.blame(client, room, time.Duration(m.at)*time.Millisecond)
			}
		}
	}
}

// blame counts one acked message that a client did not get.
func (k *checker) blame(client, room int, at time.Duration) {
	c, r := k.client(client), k.room(room)
	switch {
	case within(k.epochs[room], at), within(k.clients[client].denied, at):
		k.result.Declared++
		c.Declared++
		r.Declared++
	case !k.history && within(k.clients[client].away, at):
		k.result.Away++
		c.Away++
		r.Away++
	case !k.history && within(k.faults, at):
		k.result.InFlight++
		c.InFlight++
		r.InFlight++
	case k.history && k.clients[client].gone:
		k.result.Away++ // it did not come back, so it could not ask for it
		c.Away++
		r.Away++
	default:
		k.result.Lost++
		c.Lost++
		r.Lost++
	}
}

func within(intervals []interval, at time.Duration) bool {
	return slices.ContainsFunc(intervals, func(i interval) bool { return i.from <= at && at <= i.to })
}

// worst lists the values with trouble, most violations first, and says how many there are.
func worst[T any](all map[int]*T, trouble func(T) Trouble) ([]T, int) {
	var numbers []int
	for number, v := range all {
		if trouble(*v).any() {
			numbers = append(numbers, number)
		}
	}
	slices.SortFunc(numbers, func(a, b int) int {
		ta, tb := trouble(*all[a]), trouble(*all[b])
		return cmp.Or(cmp.Compare(tb.violations(), ta.violations()), cmp.Compare(tb.InFlight+tb.Away, ta.InFlight+ta.Away), cmp.Compare(a, b))
	})
	list := make([]T, 0, min(len(numbers), maxListed))
	for _, number := range numbers[:min(len(numbers), maxListed)] {
		list = append(list, *all[number])
	}
	return list, len(numbers)
}
