package model

import "maps"

// member takes a member_joined or member_left.
func (r *reference) member(c *connection, e *event) {
	m := c.members[e.target]
	for user, connections := range e.members {
		switch {
		case !e.target.hasPresence() || (m == nil || !m.watch) && c.left[e.target] == 0:
			r.breach("%v: it has not asked who is in %s", e, e.target)
		case user == c.user:
			r.breach("%v: nobody is told of themselves", e)
		case m != nil:
			if c.changes[e.target] == nil {
				c.changes[e.target] = map[string]bool{}
			}
			c.changes[e.target][user] = connections > 0
		}
	}
}

// missingChanges asks those who watch for who came and went, where nothing was wrong on the way of the news. After a loss of
// Redis's memory nobody is said to come or go because of it.
func (r *reference) missingChanges(miss func(string, ...any)) {
	if r.lost {
		return
	}
	for _, c := range r.alive() {
		for t, m := range c.members {
			if !m.watch || !m.base || r.disturbed(c.gateway) {
				continue
			}
			want := r.present(t)
			delete(want, c.user)
			told := map[string]int{}
			for user, here := range c.changes[t] {
				if here {
					told[user] = want[user]
					if want[user] == 0 {
						told[user] = 1
					}
				}
			}
			if !maps.Equal(want, told) {
				miss("connection %d was told that %v are in %s, want %v", c.number, keys(told), t, keys(want))
			}
		}
	}
}

func keys(m map[string]int) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}
