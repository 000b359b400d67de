package bench

import "strconv"

// topology says who is in which room and who publishes where. It is arithmetic, so that it costs no memory a membership.
//
// Clients are numbered: first the publishers, then the subscribers. Subscriber i is in span rooms from i·span on, round the
// number of rooms, so that all rooms get equally many. With fewer publishers than rooms each publisher has the rooms that
// leave its number as remainder; with more, the publishers are dealt out to the rooms.
type topology struct {
	publishers, subscribers, rooms int
	// span is how many rooms a subscriber is in.
	span int
	// publishersJoin says whether publishers are members of the rooms that they publish to.
	publishersJoin bool
	prefix         string
}

func (t *topology) clients() int { return t.publishers + t.subscribers }

func (t *topology) roomName(room int) string { return t.prefix + strconv.Itoa(room) }

// appendRooms appends the rooms that a client is a member of.
func (t *topology) appendRooms(dst []int, client int) []int {
	if client >= t.publishers {
		first := (client - t.publishers) * t.span
		for i := range t.span {
			dst = append(dst, (first+i)%t.rooms)
		}
		return dst
	}
	if !t.publishersJoin {
		return dst
	}
	if t.publishers >= t.rooms {
		return append(dst, client%t.rooms)
	}
	for room := client; room < t.rooms; room += t.publishers {
		dst = append(dst, room)
	}
	return dst
}

// place returns where in appendRooms' result a room is, or -1.
func (t *topology) place(client, room int) int {
	if client >= t.publishers {
		first := (client - t.publishers) * t.span % t.rooms
		if i := (room - first + t.rooms) % t.rooms; i < t.span {
			return i
		}
		return -1
	}
	switch {
	case !t.publishersJoin:
		return -1
	case t.publishers >= t.rooms:
		if client%t.rooms == room {
			return 0
		}
	case room%t.publishers == client:
		return room / t.publishers
	}
	return -1
}

// streams is the number of pairs of a publisher and a room that it publishes to.
func (t *topology) streams() int { return max(t.publishers, t.rooms) }

// streamRoom and streamPublisher tell what a stream is.
func (t *topology) streamRoom(stream int) int { return stream % t.rooms }

func (t *topology) streamPublisher(stream int) int { return stream % t.publishers }

// streamsOfRoom returns how many streams go to a room; the i-th of them is number room + i·rooms.
func (t *topology) streamsOfRoom(room int) int {
	return (t.streams() - room + t.rooms - 1) / t.rooms
}
