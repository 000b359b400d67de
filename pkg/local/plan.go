package local

import (
	"cmp"
	"slices"
)

// memberView is what the planner sees of one gateway.
type memberView struct {
	name string
	// current: it runs with the newest settings of those that need a restart.
	current bool
	ready   bool
	// leaving: it has been asked to drain.
	leaving     bool
	connections int
	// number grows with each gateway that is made.
	number int
}

// next decides how the gateways come closer to replicas of them with current settings, as a Deployment with maxSurge 1 and
// maxUnavailable 0 would: it returns how many to start and which to drain. It is asked again after every change.
//
// While there are outdated gateways, one more than replicas may run. One that is ready leaves only if replicas of the others
// are ready. Of those that may leave, the ones that are not ready go first, then outdated ones, then those with the fewest
// connections, then the youngest.
func next(replicas int, members []memberView) (start int, drain []string) {
	var live []memberView
	current, ready := 0, 0
	for _, m := range members {
		if m.leaving {
			continue
		}
		live = append(live, m)
		if m.current {
			current++
		}
		if m.ready {
			ready++
		}
	}
	room := replicas - len(live)
	if current < len(live) {
		room++
	}
	start = max(0, min(replicas-current, room))

	slices.SortFunc(live, func(a, b memberView) int {
		return cmp.Or(
			falseFirst(a.ready, b.ready),
			falseFirst(a.current, b.current),
			cmp.Compare(a.connections, b.connections),
			-cmp.Compare(a.number, b.number),
		)
	})
	for _, m := range live {
		if m.current && current <= replicas {
			continue
		}
		if m.ready {
			if ready <= replicas {
				continue
			}
			ready--
		}
		if m.current {
			current--
		}
		drain = append(drain, m.name)
	}
	return start, drain
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
