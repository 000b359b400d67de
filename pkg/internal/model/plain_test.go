package model

import (
	"fmt"
	"maps"
	"slices"
)

// deliver takes a message frame.
func (r *reference) deliver(c *connection, e *event) {
	kept, m, p := r.scheme.kept(e.target) > 0, c.members[e.target], r.publications[e.number]
	if kept && e.epoch == "" && p != nil && r.mayBeNotKept(p) {
		kept = false
	}
	if (e.epoch != "") != kept {
		r.breach("%v: its place does not fit a target of which %d messages are kept", e, r.scheme.kept(e.target))
		return
	}
	switch {
	case p == nil || p.target != e.target:
		r.breach("%v: nobody has published it there", e)
		return
	case p.key == "" && p.attempts[0].conn == c && p.attempts[0].quiet:
		r.breach("%v: its publisher asked not to hear it", e)
	}
	if kept {
		r.tell(e.target, placed{e.position, e.number}, e)
	}
	if m == nil || m.join != "" && m.acked == 0 && kept {
		// What was on its way when the room was left may still come.
		if left := c.left[e.target]; left == 0 || p.attempts[0].sent > left {
			r.breach("%v: it is not in %s", e, e.target)
		}
		return
	}
	if kept {
		r.step(c, m, placed{e.position, e.number}, e)
		return
	}
	if slices.Contains(c.got[e.target], e.number) && !r.mayBeTwice(p) {
		r.breach("%v: comes the second time", e)
	}
	c.got[e.target] = append(c.got[e.target], e.number)
}

// mayBeTwice tells whether a message was sent again after Redis had forgotten its key.
func (r *reference) mayBeTwice(p *publication) bool {
	last := p.attempts[len(p.attempts)-1]
	return len(p.attempts) > 1 && (last.lives != p.attempts[0].lives || r.lives != p.attempts[0].lives)
}

// order holds the messages of one connection to one target to the order in which they were sent: those that were sent once and
// acked. What was not acked may have reached Redis late.
func (r *reference) order() {
	type way struct {
		receiver, sender int
		target           target
	}
	type last struct{ sent, number int }
	var sentBefore = map[way]last{}
	for _, c := range r.conns {
		for t, numbers := range c.got {
			for _, number := range numbers {
				p := r.publications[number]
				if len(p.attempts) != 1 || p.attempts[0].ack == nil {
					continue
				}
				w, a := way{c.number, p.attempts[0].conn.number, t}, p.attempts[0]
				if before := sentBefore[w]; a.sent < before.sent {
					r.breach("connection %d got message %d of %s after message %d, which was sent later on the same connection", c.number, number, t, before.number)
				}
				sentBefore[w] = last{a.sent, number}
			}
		}
	}
	// In a log it is the places that say the order.
	newest := map[way]position{}
	for _, number := range slices.SortedFunc(maps.Keys(r.publications), func(a, b int) int {
		return r.publications[a].attempts[0].sent - r.publications[b].attempts[0].sent
	}) {
		p := r.publications[number]
		if len(p.attempts) != 1 || p.attempts[0].ack == nil || p.attempts[0].ack.epoch == "" {
			continue
		}
		w, at := way{sender: p.attempts[0].conn.number, target: p.target}, p.attempts[0].ack.position
		if before := newest[w]; before.epoch == at.epoch && at.offset <= before.offset {
			r.breach("connection %d published message %d at %v of %s, after what it has at %v", w.sender, number, at, p.target, before)
		}
		newest[w] = at
	}
}

// refusedStayAway looks for messages that came though each attempt to publish them was refused for good.
func (r *reference) refusedStayAway() {
	for _, p := range r.publications {
		if slices.ContainsFunc(p.attempts, func(a *attempt) bool { return a.code != "conflict" && a.code != "not_joined" }) {
			continue
		}
		came := len(r.places[p.target][p.number]) > 0
		for _, c := range r.conns {
			came = came || slices.Contains(c.got[p.target], p.number)
		}
		if came {
			r.breach("message %d was refused with %s, and came to %s all the same", p.number, p.attempts[0].code, p.target)
		}
	}
}

// missing says what has still to come: answers, the ends of logs, what members must be given, and who is where.
func (r *reference) missing() (missing []string) {
	miss := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	for _, c := range r.alive() {
		for _, asked := range c.pending {
			miss("connection %d: nothing answers %v", c.number, asked)
		}
		for t, m := range c.members {
			now, known := r.newest[t]
			if r.scheme.kept(t) == 0 || !known || m.join != "" && m.acked == 0 {
				continue
			}
			if !m.placed {
				continue
			}
			at := m.at
			for at.epoch == now.epoch && at.offset < now.offset && r.mayLack(c, t, position{at.epoch, at.offset + 1}) {
				at.offset++
			}
			if at != now {
				miss("connection %d is at %v in %s, and the log at %v", c.number, m.at, t, now)
			}
		}
	}
	for _, p := range r.publications {
		r.missingPlain(p, miss)
	}
	for t, list := range r.listing {
		if want := r.present(t); !maps.Equal(list, want) {
			miss("in %s are said to be %v, want %v", t, list, want)
		}
	}
	r.missingChanges(miss)
	return missing
}

// missingPlain asks for a message without a place in a log, where nothing was wrong on its way.
func (r *reference) missingPlain(p *publication, miss func(string, ...any)) {
	a := p.attempts[0]
	if r.scheme.kept(p.target) > 0 || len(p.attempts) > 1 || a.ack == nil || a.sent < r.segment {
		return
	}
	for _, c := range r.alive() {
		m := c.members[p.target]
		if m == nil || m.acked == 0 || m.acked > a.sent || r.disturbed(c.gateway) || a.conn == c && a.quiet {
			continue
		}
		if p.key != "" && r.usedForOtherData(p, a.conn.user) {
			continue
		}
		if !slices.Contains(c.got[p.target], p.number) {
			miss("connection %d was in %s before message %d was sent, and has not got it", c.number, p.target, p.number)
		}
	}
}

// compareAnswers holds what was published again with its key to the first result.
func (r *reference) compareAnswers() {
	type use struct {
		target    target
		user, key string
	}
	uses := map[use][]*publication{}
	for _, number := range slices.Sorted(maps.Keys(r.publications)) {
		if p := r.publications[number]; p.key != "" {
			u := use{p.target, p.attempts[0].conn.user, p.key}
			uses[u] = append(uses[u], p)
		}
	}
	for u, publications := range uses {
		var first *attempt
		var of *publication
		for _, p := range publications {
			for _, a := range p.attempts {
				// Only what was sent and answered within one life of Redis is certain to have met the same memory.
				if a.ack == nil || a.lives != a.livesAfter {
					continue
				}
				if first == nil || first.lives != a.lives {
					first, of = a, p
					continue
				}
				if of != p {
					r.breach("the key %s of %s in %s was taken for message %d and for message %d", u.key, u.user, u.target, of.number, p.number)
				} else if a.ack.messageID != first.ack.messageID || a.ack.position != first.ack.position {
					r.breach("message %d was published with its key twice: acked as %s at %v, and as %s at %v", p.number, first.ack.messageID, first.ack.position, a.ack.messageID, a.ack.position)
				}
			}
		}
	}
}
