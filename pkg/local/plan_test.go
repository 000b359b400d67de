package local

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNext(t *testing.T) {
	m := func(name string, number int, change ...func(*memberView)) memberView {
		v := memberView{name: name, number: number, current: true, ready: true}
		for _, f := range change {
			f(&v)
		}
		return v
	}
	starting := func(v *memberView) { v.ready = false }
	outdated := func(v *memberView) { v.current = false }
	leaving := func(v *memberView) { v.leaving, v.ready = true, false }
	with := func(n int) func(*memberView) { return func(v *memberView) { v.connections = n } }

	for name, test := range map[string]struct {
		replicas int
		members  []memberView
		start    int
		drain    []string
	}{
		"an empty cluster starts all":       {3, nil, 3, nil},
		"a full cluster does nothing":       {2, []memberView{m("a", 1), m("b", 2, starting)}, 0, nil},
		"scaling up starts what is missing": {4, []memberView{m("a", 1)}, 3, nil},
		"one that leaves does not count":    {2, []memberView{m("a", 1), m("b", 2, leaving)}, 1, nil},
		"suspending drains all":             {0, []memberView{m("a", 1), m("b", 2)}, 0, []string{"b", "a"}},
		"scaling down takes those with the fewest connections": {1,
			[]memberView{m("a", 1, with(5)), m("b", 2, with(90)), m("c", 3, with(2))}, 0, []string{"c", "a"}},
		"scaling down takes one that is not ready first": {1,
			[]memberView{m("a", 1), m("b", 2, starting, with(7))}, 0, []string{"b"}},
		"scaling down never leaves fewer ready than asked for": {2,
			[]memberView{m("a", 1), m("b", 2, starting), m("c", 3)}, 0, []string{"b"}},
		"a rollout starts one more first": {2,
			[]memberView{m("a", 1, outdated), m("b", 2, outdated)}, 1, nil},
		"a rollout waits for the new one": {2,
			[]memberView{m("a", 1, outdated), m("b", 2, outdated), m("c", 3, starting)}, 0, nil},
		"a rollout drains an old one when the new one is ready": {2,
			[]memberView{m("a", 1, outdated, with(3)), m("b", 2, outdated, with(1)), m("c", 3)}, 0, []string{"b"}},
		"a rollout goes on while the old one drains": {2,
			[]memberView{m("a", 1, outdated), m("b", 2, outdated, leaving), m("c", 3)}, 1, nil},
		"a rollout ends": {2,
			[]memberView{m("a", 1, outdated), m("c", 3), m("d", 4)}, 0, []string{"a"}},
		"an old one that is not ready goes at once": {2,
			[]memberView{m("a", 1, outdated, starting), m("b", 2, outdated)}, 1, []string{"a"}},
		"a rollout of a single gateway surges": {1, []memberView{m("a", 1, outdated)}, 1, nil},
		"a rollout while scaling up":           {3, []memberView{m("a", 1, outdated)}, 3, nil},
		"a rollout while scaling down takes old ones": {1,
			[]memberView{m("a", 1, outdated, with(1)), m("b", 2, outdated, with(9)), m("c", 3, starting)}, 0, []string{"a"}},
		"going back before the new one was ready removes it": {2,
			[]memberView{m("a", 1), m("b", 2), m("c", 3, outdated, starting)}, 0, []string{"c"}},
	} {
		t.Run(name, func(t *testing.T) {
			start, drain := next(test.replicas, test.members)
			if start != test.start {
				t.Errorf("starts %d, want %d", start, test.start)
			}
			if diff := cmp.Diff(test.drain, drain); diff != "" {
				t.Errorf("drains other gateways than wanted (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the order of events, the planner gets to the replicas asked for and never below them in ready gateways.
func TestNextConvergesWithoutAGap(t *testing.T) {
	for replicas := range 5 {
		for before := range 5 {
			members := map[int]*memberView{}
			number := 0
			for range before {
				number++
				members[number] = &memberView{name: string(rune('a' + number)), number: number, ready: true, connections: number * 3 % 7}
			}
			for step := 0; ; step++ {
				if step > 50 {
					t.Fatalf("from %d outdated to %d: not there after %d steps", before, replicas, step)
				}
				var list []memberView
				ready := 0
				for _, m := range members {
					list = append(list, *m)
					if m.ready {
						ready++
					}
				}
				if ready < min(replicas, before) {
					t.Fatalf("from %d outdated to %d: only %d ready", before, replicas, ready)
				}
				start, drain := next(replicas, list)
				if start == 0 && len(drain) == 0 && len(list) == replicas {
					break
				}
				for _, m := range members {
					m.ready = true // what was started is ready by now
				}
				for range start {
					number++
					members[number] = &memberView{name: string(rune('a' + number)), number: number, current: true}
				}
				for _, name := range drain {
					for n, m := range members {
						if m.name == name {
							delete(members, n)
						}
					}
				}
			}
		}
	}
}
