package faults

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// story is a run with one room, in which publisher 0 sends four messages that are acked, and client 1 is the only member.
type story struct {
	*evidence
}

func newStory() story {
	e := &evidence{rooms: 1, size: longHistory, members: [][]int{{1}}, happenings: make([][]happening, 2), published: make([][]*publication, 1), logs: [][]entry{nil}, epochs: []string{"a"}}
	for n := range 4 {
		at := position{"a", int64(n + 1)}
		e.published[0] = append(e.published[0], &publication{message: message{0, n}, attempts: []*attempt{{connection: 1, fresh: true, ack: at}}})
		e.logs[0] = append(e.logs[0], entry{at.offset, message{0, n}})
	}
	s := story{e}
	s.tell(happening{what: joined, position: position{"a", 0}})
	return s
}

func (s story) tell(h happening) { s.happenings[1] = append(s.happenings[1], h) }

// get has the client receive messages that are in the log of epoch a, by offset.
func (s story) get(offsets ...int64) story {
	for _, offset := range offsets {
		s.tell(happening{what: delivered, position: position{"a", offset}, message: message{0, int(offset - 1)}})
	}
	return s
}

// join has the client come back.
func (s story) join(epoch string, offset int64, recovered bool) story {
	s.tell(happening{what: joined, position: position{epoch, offset}, asked: true, recovered: recovered})
	return s
}

// newLife replaces the log by that of epoch b, in which the messages are, and has the fourth one acked there.
func (s story) newLife(numbers ...int) story {
	s.logs[0], s.epochs[0] = nil, "b"
	for i, n := range numbers {
		s.logs[0] = append(s.logs[0], entry{int64(i + 1), message{0, n}})
	}
	s.published[0][3].attempts[0].ack = position{"b", int64(len(numbers))}
	return s
}

// getIn has the client receive a message in epoch b.
func (s story) getIn(offset int64, number int) story {
	s.tell(happening{what: delivered, position: position{"b", offset}, message: message{0, number}})
	return s
}

func (s story) told(epoch string, offset int64) story {
	s.tell(happening{what: epochChanged, position: position{epoch, offset}})
	return s
}

// short makes the log one of the last two messages.
func (s story) short() story {
	s.size = 2
	s.logs[0] = s.logs[0][2:]
	return s
}

// TestTheLedgerFindsWhatWentWrong shows that a run that passes has passed something.
func TestTheLedgerFindsWhatWentWrong(t *testing.T) {
	tests := []struct {
		name string
		run  story
		want verdict
		odd  int // contradictions
	}{
		{name: "everything came", run: newStory().get(1, 2, 3, 4), want: verdict{Acked: 4, Delivered: 4}},
		{name: "one in the middle is lost", run: newStory().get(1, 3, 4), want: verdict{Acked: 4, Delivered: 3, Lost: 1}},
		{name: "the last ones are lost", run: newStory().get(1, 2), want: verdict{Acked: 4, Delivered: 2, Lost: 2}},
		{name: "nothing came", run: newStory(), want: verdict{Acked: 4, Lost: 4}},
		{name: "one came twice", run: newStory().get(1, 2, 2, 3, 4), want: verdict{Acked: 4, Delivered: 5, Doubled: 1}},
		{name: "an old one came twice", run: newStory().get(1, 2, 3, 4, 1), want: verdict{Acked: 4, Delivered: 5, Doubled: 1}},
		{name: "two are exchanged", run: newStory().get(1, 3, 2, 4), want: verdict{Acked: 4, Delivered: 4, Reordered: 1}},
		{
			name: "a recovery that leaves one out", run: newStory().get(1, 2).join("a", 4, true).get(4),
			want: verdict{Acked: 4, Delivered: 3, Lost: 1},
		},
		{
			name: "a recovery that begins too early", run: newStory().get(1, 2).join("a", 4, true).get(2, 3, 4),
			want: verdict{Acked: 4, Delivered: 5, Doubled: 1},
		},
		{name: "a good recovery", run: newStory().get(1, 2).join("a", 4, true).get(3, 4), want: verdict{Acked: 4, Delivered: 4}},
		{
			name: "a recovery that is refused though the epoch lives", run: newStory().get(1, 2).join("a", 4, false).get(1, 2, 3, 4),
			want: verdict{Acked: 4, Delivered: 6}, odd: 1,
		},
		{
			name: "a lost log that was declared", run: newStory().newLife(3).get(1, 2).told("b", 0).getIn(1, 3),
			want: verdict{Acked: 4, Delivered: 3, Declared: 1},
		},
		{
			name: "a lost log that was not declared", run: newStory().newLife(3).get(1, 2).getIn(1, 3),
			want: verdict{Acked: 4, Delivered: 3, Declared: 1}, odd: 1,
		},
		{
			name: "places in a living epoch that are skipped, and the client is told so", run: newStory().get(1).told("a", 3).get(4),
			want: verdict{Acked: 4, Delivered: 2, Lost: 2},
		},
		{
			name: "a new epoch that skips its first message", run: newStory().newLife(2, 3).get(1, 2).told("b", 1).getIn(2, 3),
			want: verdict{Acked: 4, Delivered: 3, Declared: 1},
		},
		{
			name: "a new epoch whose last message does not come", run: newStory().newLife(3).get(1, 2, 3).told("b", 0),
			want: verdict{Acked: 4, Delivered: 3, Lost: 1},
		},
		{
			name: "a new epoch that is said to begin behind what was acked in it", run: newStory().newLife(3).get(1, 2, 3).told("b", 1),
			want: verdict{Acked: 4, Delivered: 3, Lost: 1},
		},
		{
			name: "a message once more in a new epoch", run: newStory().newLife(2, 3).get(1, 2, 3).told("b", 0).getIn(1, 2).getIn(2, 3),
			want: verdict{Acked: 4, Delivered: 5, Again: 1},
		},
		{
			name: "a list from a new epoch may hold what came before", run: newStory().newLife(2, 3).get(1, 2, 3).join("b", 1, false).getIn(1, 2).getIn(2, 3),
			want: verdict{Acked: 4, Delivered: 5},
		},
		{
			name: "a client that is left in an old epoch", run: newStory().newLife(3).get(1, 2, 3),
			want: verdict{Acked: 4, Delivered: 3, Lost: 1}, odd: 1,
		},
		{
			name: "the log has a message twice", run: func() story {
				s := newStory().get(1, 2, 3, 4)
				s.logs[0] = append(s.logs[0], entry{5, message{0, 1}})
				s.tell(happening{what: delivered, position: position{"a", 5}, message: message{0, 1}})
				return s
			}(),
			want: verdict{Acked: 4, Delivered: 5, Doubled: 1}, odd: 1,
		},
		{
			name: "the log lacks what was acked", run: func() story {
				s := newStory().get(1, 2, 3)
				s.logs[0] = s.logs[0][:3]
				return s
			}(),
			want: verdict{Acked: 4, Delivered: 3, Lost: 1}, odd: 1,
		},
		{
			name: "two clients see different messages at one place", run: func() story {
				s := newStory().get(1, 2, 3)
				s.tell(happening{what: delivered, position: position{"a", 4}, message: message{0, 1}})
				return s
			}(),
			want: verdict{Acked: 4, Delivered: 4, Lost: 1, Doubled: 1}, odd: 2,
		},
		{
			name: "a connection's messages are stored out of order", run: func() story {
				s := newStory()
				one, two := s.published[0][1].attempts[0], s.published[0][2].attempts[0]
				one.ack, two.ack = two.ack, one.ack
				s.logs[0][1].message, s.logs[0][2].message = message{0, 2}, message{0, 1}
				for i, entry := range s.logs[0] {
					s.tell(happening{what: delivered, position: position{"a", int64(i + 1)}, message: entry.message})
				}
				return s
			}(),
			want: verdict{Acked: 4, Delivered: 4, Reordered: 1},
		},
		{
			name: "a message that came, but was not acked", run: func() story {
				s := newStory().get(1, 2, 3, 4)
				s.published[0][3].attempts[0].ack = position{}
				return s
			}(),
			want: verdict{Acked: 3, Delivered: 4, Unacked: 1},
		},
		{
			name: "a short log has forgotten what a client missed, and says so", run: newStory().short().get(1).join("a", 4, false).get(3, 4),
			want: verdict{Acked: 4, Delivered: 3, Declared: 1},
		},
		{
			name: "a short log has forgotten what a client missed, and says that it recovered", run: newStory().short().get(1).join("a", 4, true).get(3, 4),
			want: verdict{Acked: 4, Delivered: 3, Lost: 1},
		},
		{
			name: "a short log refuses to give what it has", run: newStory().short().get(1, 2).join("a", 4, false).get(3, 4),
			want: verdict{Acked: 4, Delivered: 4}, odd: 1,
		},
		{
			name: "a member is told what a short log has forgotten", run: newStory().short().get(1).told("a", 2).get(3, 4),
			want: verdict{Acked: 4, Delivered: 3, Declared: 1},
		},
		{
			name: "a member is told that a short log has forgotten what it has", run: newStory().short().get(1).told("a", 3).get(4),
			want: verdict{Acked: 4, Delivered: 2, Lost: 2},
		},
		{
			name: "a member is told what was forgotten though it had that, and gets it again", run: newStory().short().get(1, 2, 3, 4).told("a", 2).get(3, 4),
			want: verdict{Acked: 4, Delivered: 6, Doubled: 2},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := judge(test.run.evidence)
			if diff := cmp.Diff(test.want, *got, cmpopts.IgnoreFields(verdict{}, "Contradictions", "Where")); diff != "" {
				t.Errorf("the ledger says (-want +got):\n%s", diff)
			}
			if len(got.Contradictions) != test.odd {
				t.Errorf("the ledger finds the contradictions %q, want %d", got.Contradictions, test.odd)
			}
			if wrong := test.want.Lost+test.want.Doubled+test.want.Reordered+test.odd > 0; got.violated() != wrong || (len(got.lines()) > 0) != wrong {
				t.Errorf("violated is %v and says %q, want violated to be %v", got.violated(), got.lines(), wrong)
			}
		})
	}
}
