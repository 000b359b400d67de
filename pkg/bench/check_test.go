package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// script tells a checker a story about one room with one publisher, client 0, and two subscribers, clients 1 and 2, who have
// joined before anything is sent. A second passes between two messages.
type script struct {
	*checker
	sent uint32
}

func newScript(history bool) *script {
	t := topology{publishers: 1, subscribers: 2, rooms: 1, span: 1, prefix: "room-"}
	s := &script{checker: newChecker(t, history, 2*time.Second)}
	s.joined(1, 0)
	s.joined(2, 0)
	return s
}

func at(second uint32) time.Duration { return time.Duration(second) * time.Second }

// send sends n messages that are acked; message 1 is sent in second 10.
func (s *script) send(n int) *script {
	for range n {
		s.sent++
		stamp := Stamp{Seq: s.sent, At: at(9 + s.sent)}
		s.published(stamp)
		s.acked(stamp)
	}
	return s
}

// get has a client receive messages, by number, on one of its connections.
func (s *script) get(client int, conn uint32, numbers ...uint32) *script {
	for _, n := range numbers {
		s.delivered(client, conn, Stamp{Seq: n})
	}
	return s
}

func TestTheCheckFindsWhatWentWrong(t *testing.T) {
	tests := []struct {
		name    string
		history bool
		story   func(s *script)
		want    CheckResult
	}{
		{
			name:  "everybody got everything",
			story: func(s *script) { s.send(3).get(1, 1, 1, 2, 3).get(2, 2, 1, 2, 3) },
			want:  CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 6},
		},
		{
			name:  "one message in the middle was lost",
			story: func(s *script) { s.send(3).get(1, 1, 1, 3).get(2, 2, 1, 2, 3) },
			want:  CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 5, Lost: 1},
		},
		{
			name:  "the last messages were lost",
			story: func(s *script) { s.send(3).get(1, 1, 1).get(2, 2, 1, 2, 3) },
			want:  CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 4, Lost: 2},
		},
		{
			name:  "a client got nothing at all",
			story: func(s *script) { s.send(2).get(2, 2, 1, 2) },
			want:  CheckResult{Messages: 2, Acked: 2, Owed: 4, Delivered: 2, Lost: 2},
		},
		{
			name:  "a message came twice",
			story: func(s *script) { s.send(2).get(1, 1, 1, 2, 2).get(2, 2, 1, 2) },
			want:  CheckResult{Messages: 2, Acked: 2, Owed: 4, Delivered: 5, Doubled: 1},
		},
		{
			name:  "an old message came twice",
			story: func(s *script) { s.send(3).get(1, 1, 1, 2, 3, 1).get(2, 2, 1, 2, 3) },
			want:  CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 7, Doubled: 1},
		},
		{
			name:  "two messages changed places",
			story: func(s *script) { s.send(3).get(1, 1, 2, 1, 3).get(2, 2, 1, 2, 3) },
			want:  CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 6, Reordered: 1},
		},
		{
			name:  "a message changed places and came twice",
			story: func(s *script) { s.send(3).get(1, 1, 3, 1, 2, 2).get(2, 2, 1, 2, 3) },
			want:  CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 7, Reordered: 2, Doubled: 1},
		},
		{
			name:  "a client that moves gets what overlaps on both connections",
			story: func(s *script) { s.send(3).get(1, 1, 1, 2, 3).get(1, 3, 2, 3).get(2, 2, 1, 2, 3) },
			want:  CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 8, Overlapped: 2},
		},
		{
			name:  "the old connection is behind the new one",
			story: func(s *script) { s.send(4).get(1, 1, 1).get(1, 3, 3, 4).get(1, 1, 2, 3, 4).get(2, 2, 1, 2, 3, 4) },
			want:  CheckResult{Messages: 4, Acked: 4, Owed: 8, Delivered: 10, Overlapped: 2},
		},
		{
			name: "what a client missed without a connection is excused, what came after is not",
			story: func(s *script) {
				s.send(8)
				s.left(1, at(13))   // sees its connection gone: messages from second 11 on may have been in flight
				s.joined(1, at(15)) // messages 2 to 6 were sent in seconds 11 to 15
				s.get(1, 1, 1).get(1, 3, 8).get(2, 2, 1, 2, 3, 4, 5, 6, 7, 8)
			},
			want: CheckResult{Messages: 8, Acked: 8, Owed: 16, Delivered: 10, Away: 5, Lost: 1},
		},
		{
			name: "a client that never comes back is owed, and excused",
			story: func(s *script) {
				s.send(2)
				s.left(1, at(10))
				s.get(2, 2, 1, 2)
			},
			want: CheckResult{Messages: 2, Acked: 2, Owed: 4, Delivered: 2, Away: 2},
		},
		{
			name: "what was in flight at a fault is counted apart",
			story: func(s *script) {
				s.send(8)
				s.fault(at(13)) // excuses seconds 11 to 15
				s.get(1, 1, 1, 8).get(2, 2, 1, 2, 3, 4, 5, 6, 7, 8)
			},
			want: CheckResult{Messages: 8, Acked: 8, Owed: 16, Delivered: 10, InFlight: 5, Lost: 1},
		},
		{
			name: "with history a fault excuses nothing", history: true,
			story: func(s *script) {
				s.send(3)
				s.fault(at(11))
				s.left(1, at(11))
				s.joined(1, at(12))
				s.get(1, 1, 1, 3).get(2, 2, 1, 2, 3)
			},
			want: CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 5, Lost: 1},
		},
		{
			name: "with history a client recovers what it missed", history: true,
			story: func(s *script) {
				s.send(4)
				s.get(1, 1, 1)
				s.left(1, at(11))
				s.joined(1, at(12))
				s.get(1, 3, 2, 3, 4).get(2, 2, 1, 2, 3, 4)
			},
			want: CheckResult{Messages: 4, Acked: 4, Owed: 8, Delivered: 8},
		},
		{
			name: "with history a new epoch says what is lost", history: true,
			story: func(s *script) {
				s.send(3)
				s.newEpoch(0, at(11))
				s.get(1, 1, 3).get(2, 2, 1, 2, 3)
			},
			want: CheckResult{Messages: 3, Acked: 3, Owed: 6, Delivered: 4, Declared: 2},
		},
		{
			name: "with history a client that comes back to a lost log is told so", history: true,
			story: func(s *script) {
				s.send(6)
				s.get(1, 1, 1)
				s.left(1, at(11)) // messages 2 to 6 were sent in seconds 11 to 15
				s.notRecovered(1, at(14))
				s.joined(1, at(14))
				s.get(2, 2, 1, 2, 3, 4, 5, 6)
			},
			want: CheckResult{Messages: 6, Acked: 6, Owed: 12, Delivered: 7, Declared: 4, Lost: 1},
		},
		{
			name: "two members saw one message at different offsets", history: true,
			story: func(s *script) {
				s.send(1).get(1, 1, 1).get(2, 2, 1)
				s.positioned(Stamp{Seq: 1}, 5)
				s.positioned(Stamp{Seq: 1}, 6)
			},
			want: CheckResult{Messages: 1, Acked: 1, Owed: 2, Delivered: 2, Conflicting: 1},
		},
		{
			name: "a publish that was not confirmed may come or not",
			story: func(s *script) {
				for n := uint32(1); n <= 2; n++ {
					s.published(Stamp{Seq: n, At: at(9 + n)})
					s.refused(Stamp{Seq: n}, true)
				}
				s.get(1, 1, 2)
			},
			want: CheckResult{Messages: 2, Unconfirmed: 2, Delivered: 1},
		},
		{
			name: "a publish that was refused must not come",
			story: func(s *script) {
				s.published(Stamp{Seq: 1, At: at(10)})
				s.refused(Stamp{Seq: 1}, false)
				s.get(1, 1, 1)
			},
			want: CheckResult{Messages: 1, Delivered: 1, Refused: 1},
		},
		{
			name:  "a message came to who is not in the room",
			story: func(s *script) { s.send(1).get(0, 9, 1).get(1, 1, 1).get(2, 2, 1) },
			want:  CheckResult{Messages: 1, Acked: 1, Owed: 2, Delivered: 2, Misdirected: 1},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(test.history)
			test.story(s)
			got := *s.finish()
			lists := cmpopts.IgnoreFields(CheckResult{}, "Rooms", "Clients", "TroubledRooms", "TroubledUsers")
			if diff := cmp.Diff(test.want, got, lists); diff != "" {
				t.Errorf("the check's result differs from the truth (-want +got):\n%s", diff)
			}
			var inRooms, ofClients Trouble
			for _, r := range got.Rooms {
				inRooms = inRooms.plus(r.Trouble)
			}
			for _, c := range got.Clients {
				ofClients = ofClients.plus(c.Trouble)
			}
			total := Trouble{Lost: got.Lost, InFlight: got.InFlight, Away: got.Away, Declared: got.Declared, Doubled: got.Doubled, Reordered: got.Reordered}
			if inRooms != total || ofClients != total {
				t.Errorf("rooms sum up to %+v and clients to %+v, want both %+v", inRooms, ofClients, total)
			}
		})
	}
}

func (t Trouble) plus(o Trouble) Trouble {
	return Trouble{t.Lost + o.Lost, t.InFlight + o.InFlight, t.Away + o.Away, t.Declared + o.Declared, t.Doubled + o.Doubled, t.Reordered + o.Reordered}
}

func TestAClientThatJoinsLateIsOwedOnlyWhatFollows(t *testing.T) {
	topology := topology{publishers: 1, subscribers: 1, rooms: 1, span: 1}
	k := newChecker(topology, false, time.Second)
	s := &script{checker: k}
	s.send(2)
	s.get(1, 1, 2) // was on its way when the join was confirmed
	s.joined(1, at(12))
	s.send(1)
	if got := k.finish(); got.Owed != 1 || got.Lost != 1 || got.Doubled+got.Reordered != 0 {
		t.Errorf("owed %d, lost %d, doubled %d, reordered %d; want 1, 1, 0, 0", got.Owed, got.Lost, got.Doubled, got.Reordered)
	}
}

func TestTheCheckNamesTheWorstRoomAndClient(t *testing.T) {
	topology := topology{publishers: 1, subscribers: 4, rooms: 2, span: 1, prefix: "room-"}
	k := newChecker(topology, false, time.Second)
	for client := 1; client <= 4; client++ {
		k.joined(client, 0)
	}
	for room := range uint32(2) {
		for seq := uint32(1); seq <= 3; seq++ {
			stamp := Stamp{Stream: room, Seq: seq, At: at(seq)}
			k.published(stamp)
			k.acked(stamp)
		}
	}
	// Clients 1 and 3 are in room 0, clients 2 and 4 in room 1. Client 2 loses two messages, client 3 one.
	for client, numbers := range map[int][]uint32{1: {1, 2, 3}, 2: {2}, 3: {1, 3}, 4: {1, 2, 3}} {
		for _, seq := range numbers {
			k.delivered(client, uint32(client), Stamp{Stream: uint32((client - 1) % 2), Seq: seq})
		}
	}
	got := k.finish()
	wantRooms := []RoomCheck{{"room-1", Trouble{Lost: 2}}, {"room-0", Trouble{Lost: 1}}}
	wantClients := []ClientCheck{{2, Trouble{Lost: 2}}, {3, Trouble{Lost: 1}}}
	if diff := cmp.Diff(wantRooms, got.Rooms); diff != "" {
		t.Errorf("rooms (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantClients, got.Clients); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
}
