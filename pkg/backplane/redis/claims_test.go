package redis

import (
	"testing"
	"time"
)

func TestAFailoverIsNotTakenBackByNodesThatHaveNotHeardOfIt(t *testing.T) {
	old, promoted, other := node{"a:1", "A"}, node{"b:1", "B"}, node{"c:1", "C"}
	look := func(by string, primary node, epoch int64) view {
		return view{id: by, ranges: []slotRange{{0, 99, []node{primary}, epoch}, {100, slotCount - 1, []node{other}, 2}}}
	}
	start := time.Unix(1_800_000_000, 0)
	type found struct {
		after time.Duration
		views []view
		want  string
	}
	for _, c := range []struct {
		name  string
		looks []found
	}{
		{"the promoted one alone has said it", []found{
			{0, []view{look("C", old, 1)}, "a:1"},
			{time.Second, []view{look("C", old, 1), look("B", promoted, 3)}, "b:1"},
			{2 * time.Second, []view{look("C", old, 1)}, "b:1"},
			{3 * time.Second, []view{look("C", promoted, 3)}, "b:1"},
			{9 * time.Second, []view{look("C", old, 1)}, "b:1"}, // the time counts anew
		}},
		{"the old one is the primary again by a later claim", []found{
			{0, []view{look("C", promoted, 3)}, "b:1"},
			{time.Second, []view{look("C", old, 4)}, "a:1"},
			{2 * time.Second, []view{look("C", promoted, 3)}, "a:1"},
		}},
		{"the promoted one has forgotten it", []found{
			{0, []view{look("C", promoted, 3)}, "b:1"},
			{time.Second, []view{look("C", old, 1), {id: "B", ranges: []slotRange{{0, 99, []node{old, promoted}, 1}}}}, "a:1"},
		}},
		{"the promoted one is gone, and the others go on saying something older", []found{
			{0, []view{look("C", promoted, 3)}, "b:1"},
			{time.Second, []view{look("C", old, 1)}, "b:1"},
			{5 * time.Second, []view{look("C", old, 1)}, "b:1"},
			{6 * time.Second, []view{look("C", old, 1)}, "a:1"},
		}},
		{"nobody serves the slots any more", []found{
			{0, []view{look("C", promoted, 3)}, "b:1"},
			{time.Second, []view{{id: "C", ranges: []slotRange{{100, slotCount - 1, []node{other}, 2}}}}, ""},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var known claims
			for i, l := range c.looks {
				topology := join(l.views)
				known.uphold(topology, start.Add(l.after))
				if topology.slots[0] != l.want || topology.slots[99] != l.want || topology.slots[100] != "c:1" {
					t.Errorf("at look %d the slots are at %q, %q and %q, want the first two at %q", i, topology.slots[0], topology.slots[99], topology.slots[100], l.want)
				}
			}
		})
	}
}
