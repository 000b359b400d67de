package redis

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOfTwoClaimsOnASlotTheOneOfTheLaterEpochHolds(t *testing.T) {
	old, promoted, other := node{"a:1", "A"}, node{"b:1", "B"}, node{"c:1", "C"}
	// The old primary of the first slots has not heard of its successor.
	stale := view{id: "A", ranges: []slotRange{{0, 8191, []node{old, promoted}, 1}, {8192, 16383, []node{other}, 2}}}
	right := view{id: "C", ranges: []slotRange{{0, 8191, []node{promoted}, 3}, {8192, 16383, []node{other}, 2}}}
	for _, views := range [][]view{{stale, right}, {right, stale}} {
		got := join(views)
		if got.slots[0] != "b:1" || got.slots[8191] != "b:1" || got.slots[8192] != "c:1" || got.slots[16383] != "c:1" {
			t.Errorf("the slots are at %s, %s, %s", got.slots[0], got.slots[8191], got.slots[8192])
		}
		if diff := cmp.Diff([]string{"a:1", "b:1", "c:1"}, got.nodes); diff != "" {
			t.Error(diff)
		}
		if !got.isConfirmed("a:1") || !got.isConfirmed("b:1") {
			t.Error("what two nodes have said counts as not confirmed")
		}
	}
	if got := join([]view{stale}); got.isConfirmed("a:1") || !got.isConfirmed("c:1") {
		t.Error("what only the node itself has said must not count as confirmed, what another has said must")
	}
	alone := join([]view{{id: "A", ranges: []slotRange{{0, 100, []node{old}, 1}}}})
	if !alone.isConfirmed("a:1") || alone.slots[101] != "" {
		t.Error("a node without others is confirmed by itself; a slot that nobody claims is nowhere")
	}
}

func TestAnswersOfNodesAreRead(t *testing.T) {
	self, epochs := readNodes("07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426238317239 4 connected\n" +
		"e7d1 127.0.0.1:30001@31001,host myself,master - 0 0 12 connected 0-5460 [5461->-67ed]\n\nodd line\n")
	if self != "e7d1" || epochs["e7d1"] != 12 || epochs["07c3"] != 4 || len(epochs) != 2 {
		t.Errorf("read %q and %v", self, epochs)
	}
	server := func(host any, port int64, id string) []any { return []any{host, port, id, []any{}} }
	got, err := readSlots([]any{
		[]any{int64(0), int64(5460), server("10.0.0.1", 6379, "e7d1"), server("10.0.0.4", 6379, "07c3")},
		[]any{int64(5461), int64(5461), server(nil, 7000, "67ed")},
		[]any{int64(5462), int64(16383), server("::1", 7001, "new")},
	}, epochs, "seed.example:6379")
	want := []slotRange{
		{0, 5460, []node{{"10.0.0.1:6379", "e7d1"}, {"10.0.0.4:6379", "07c3"}}, 12},
		{5461, 5461, []node{{"seed.example:7000", "67ed"}}, 0},
		{5462, 16383, []node{{"[::1]:7001", "new"}}, 0},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(slotRange{}, node{})); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	good := server("h", 1, "x")
	for _, reply := range []any{
		nil, "x", []any{nil}, []any{[]any{int64(0), int64(1)}}, []any{[]any{int64(0), int64(16384), good}}, []any{[]any{int64(-1), int64(1), good}},
		[]any{[]any{int64(2), int64(1), good}}, []any{[]any{"0", int64(1), good}}, []any{[]any{int64(0), int64(1), "h"}},
		[]any{[]any{int64(0), int64(1), []any{"h", "1", "x"}}}, []any{[]any{int64(0), int64(1), server("h", 0, "x")}},
		[]any{[]any{int64(0), int64(1), server("h", 65536, "x")}}, []any{[]any{int64(0), int64(1), good, []any{"h", int64(1)}}},
	} {
		if got, err := readSlots(reply, nil, "h:1"); err == nil {
			t.Errorf("%v is read as %v", reply, got)
		}
	}
}

func TestRedirectionsAreRead(t *testing.T) {
	for _, c := range []struct {
		text string
		slot uint16
		addr string
		ok   bool
	}{
		{"3999 127.0.0.1:6381", 3999, "127.0.0.1:6381", true},
		{"16383 redis-2.example:6379", 16383, "redis-2.example:6379", true},
		{"0 :6381", 0, "from.example:6381", true},
		{"0 ?:6381", 0, "from.example:6381", true},
		{"1 ::1:6381", 1, "[::1]:6381", true},
		{"16384 127.0.0.1:6381", 0, "", false},
		{"-1 127.0.0.1:6381", 0, "", false},
		{"1 127.0.0.1", 0, "", false},
		{"x 127.0.0.1:1", 0, "", false},
		{"", 0, "", false},
	} {
		slot, addr, ok := readRedirection(c.text, "from.example:1")
		if slot != c.slot || addr != c.addr || ok != c.ok {
			t.Errorf("%q is read as %d, %q, %v", c.text, slot, addr, ok)
		}
	}
}

// publications makes some with the given slots, each with a later deadline than the one before, from a beginning.
func publications(begin time.Time, slots ...uint16) (batch []*publication) {
	for i, slot := range slots {
		batch = append(batch, &publication{slot: slot, deadline: begin.Add(time.Duration(2*i) * time.Second)})
	}
	return batch
}

func TestPublicationsThatChangeQueuesKeepTheirOrder(t *testing.T) {
	now := time.Now()
	from, to := newQueue(), newQueue()
	moving := publications(now, 1, 2, 1, 2, 1)
	moving[4].asking = true
	there := publications(now.Add(time.Second), 3, 3)
	for _, p := range moving {
		from.push(p)
	}
	for _, p := range there {
		to.push(p)
	}
	moved := from.takeMoved(func(slot uint16) bool { return slot == 1 })
	if !slices.Equal(moved, []*publication{moving[0], moving[2]}) {
		t.Fatalf("took %v", moved)
	}
	if !to.merge(moved) || !to.merge(nil) {
		t.Fatal("a queue that is used must take more")
	}
	later := &publication{deadline: now.Add(time.Hour)}
	to.push(later)
	from.push(later)
	if got, want := to.take(nil, 10, 1000), []*publication{moving[0], there[0], there[1], moving[2], later}; !sameOrder(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
	if got, want := from.take(nil, 10, 1000), []*publication{moving[1], moving[3], moving[4], later}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want what does not move, and what is there though it belongs elsewhere", got)
	}
	if !to.end() || to.merge(moved) {
		t.Error("a queue that nobody takes from any more must not take anything")
	}
}

// sameOrder compares by deadline: of two queues that are merged the earlier deadline goes first.
func sameOrder(got, want []*publication) bool {
	slices.SortStableFunc(want, func(a, b *publication) int { return a.deadline.Compare(b.deadline) })
	return slices.Equal(got, want)
}

func TestWhatIsPutOffHoldsBackWhatFollowsItInItsSlot(t *testing.T) {
	var o putOff
	batch := publications(time.Now(), 1, 2, 1, 3)
	if got := o.hold(slices.Clone(batch)); !slices.Equal(got, batch) || o.wait() != nil {
		t.Fatalf("with nothing put off %v may go", got)
	}
	first := &publication{slot: 1}
	o.add(first, time.Now())
	if got, want := o.hold(slices.Clone(batch)), []*publication{batch[1], batch[3]}; !slices.Equal(got, want) {
		t.Errorf("%v may go, want those of other slots", got)
	}
	<-o.wait()
	if got, want := o.take(), []*publication{first, batch[0], batch[2]}; !slices.Equal(got, want) {
		t.Errorf("put off were %v, want %v", got, want)
	}
	if got := o.hold(slices.Clone(batch)); !slices.Equal(got, batch) || !o.isEmpty() {
		t.Errorf("later %v may go, want all", got)
	}
}
