package model

import (
	"fmt"
	"maps"
	"slices"
)

// reference is what docs/protocol.md says, as a machine that is fed the events of a run in their order. It is pure: the same
// events give the same verdict. wrong are breaches, which no later event can heal; what has still to come is asked for by missing.
type reference struct {
	scheme scheme
	wrong  []string

	// truth says what is at every place of the logs that anybody was told of, and places where each message is.
	truth  map[target]map[position]int
	places map[target]map[int]map[string]int64
	// newest is where the logs stood when the world last looked, and present who is in the rooms as it was listed last.
	newest  map[target]position
	listing map[target]map[string]int

	conns        map[int]*connection
	publications map[int]*publication
	// known are users who exist as far as Redis can know: to others what clients send is passed on, and not kept.
	known map[target]bool
	// lives counts how often Redis has lost everything.
	lives int
	// segment is the index of the first event since all was settled; faults are the gateways disturbed since.
	segment int
	faults  map[int]bool
	lost    bool // Redis was flushed in this segment
	now     int  // the index of the event
	passed  []passing
}

// connection is what the reference knows of one connection.
type connection struct {
	number, gateway, opened int
	user                    string
	alive                   bool
	pending                 map[string]*asked
	members                 map[target]*membership
	// left says when a room was left last: the index of the ack, or always, while there is none.
	left map[target]int
	// got are the messages of targets without a log, in order.
	got     map[target][]int
	changes map[target]map[string]bool // who is in a room as the client was told
}

const always = int(^uint(0) >> 1)

// asked is a command that waits for its answer.
type asked struct {
	*event
	index  int
	member bool // a publish to a room: the client was in it, or on its way
}

// membership is a connection's place in a target.
type membership struct {
	target target
	join   string // the id of the join
	acked  int    // the index of its ack; 0: none yet
	watch  bool
	// base says that changes hold everybody who is there.
	base bool
	stream
}

// publication is one message and every attempt to publish it.
type publication struct {
	number   int
	target   target
	key      string
	attempts []*attempt
}

type attempt struct {
	conn        *connection
	sent, lives int
	quiet       bool
	known       bool // that its target exists, when it was sent
	// ack is its answer, at the index answered; nil: none, or an error.
	ack      *event
	answered int
	// livesAfter is lives when the answer came.
	livesAfter int
	code       string
}

func newReference(s scheme) *reference {
	return &reference{
		scheme: s, truth: map[target]map[position]int{}, places: map[target]map[int]map[string]int64{}, newest: map[target]position{},
		listing: map[target]map[string]int{}, conns: map[int]*connection{}, publications: map[int]*publication{}, faults: map[int]bool{}, known: map[target]bool{},
	}
}

// judge feeds all events and returns what is wrong, and what is missing at the end.
func judge(s scheme, events []event) (wrong, missing []string) {
	r := newReference(s)
	for i := range events {
		r.now = i
		r.take(&events[i])
	}
	r.checkPassed()
	r.compareAnswers()
	r.order()
	r.refusedStayAway()
	return r.wrong, r.missing()
}

func (r *reference) breach(format string, args ...any) {
	if len(r.wrong) < 20 {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
}

func (r *reference) take(e *event) {
	c := r.conns[e.conn]
	if c == nil && e.conn > 0 && e.what != opened {
		r.breach("%v: before its welcome", e)
		return
	}
	switch e.what {
	case opened:
		r.open(e)
	case ended:
		if c != nil {
			c.alive = false
			if e.code != "" && !r.disturbed(c.gateway) {
				r.breach("%v: nothing was wrong that explains it", e)
			}
		}
	case joins, leaves, publishes, reads:
		r.command(c, e)
	case acked, refused:
		r.answer(c, e)
	case delivered:
		r.deliver(c, e)
	case epochMoved:
		if m := c.members[e.target]; m != nil {
			r.move(c, m, e)
		} else if c.left[e.target] == 0 {
			r.breach("%v: it is no member", e)
		}
	case memberTold:
		r.member(c, e)
	case disturbed:
		r.faults[e.gateway] = true
	case forgotten:
		r.lives++
		r.lost = true
		clear(r.known)
	case observed:
		r.newest[e.target], r.known[e.target] = e.position, true
	case listed:
		r.listing[e.target] = e.members
	case settled:
		r.settle(e)
	}
}

// open begins a connection. Everybody is a member of their own target.
func (r *reference) open(e *event) {
	c := &connection{
		number: e.conn, gateway: e.gateway, opened: r.now, user: e.user, alive: true, pending: map[string]*asked{}, members: map[target]*membership{},
		left: map[target]int{}, got: map[target][]int{}, changes: map[target]map[string]bool{},
	}
	r.conns[e.conn] = c
	own := target("@" + e.user)
	m := &membership{target: own, acked: r.now}
	c.members[own] = m
	switch {
	case e.epoch != "" && r.scheme.kept(own) == 0:
		r.breach("%v: a welcome has a place in an inbox that is not kept", e)
	case e.epoch != "":
		m.place(e.position)
		r.known[own] = true
	case r.scheme.kept(own) > 0 && !r.disturbed(c.gateway):
		r.breach("%v: the welcome has no place in the inbox", e)
	}
}

// command notes what is asked for.
func (r *reference) command(c *connection, e *event) {
	m := c.members[e.target]
	c.pending[e.id] = &asked{e, r.now, m != nil}
	switch e.what {
	case joins:
		if m == nil {
			m = &membership{target: e.target, join: e.id}
			c.members[e.target] = m
		}
		m.watch = m.watch || e.watch
	case leaves:
		if m != nil {
			delete(c.members, e.target)
			delete(c.changes, e.target)
			c.left[e.target] = always
		}
	case publishes:
		p := r.publications[e.number]
		if p == nil {
			p = &publication{number: e.number, target: e.target, key: e.key}
			r.publications[e.number] = p
		}
		p.attempts = append(p.attempts, &attempt{conn: c, sent: r.now, lives: r.lives, quiet: e.quiet, known: r.known[e.target]})
	}
}

// answer takes an ack or an error to the command that it answers.
func (r *reference) answer(c *connection, e *event) {
	asked := c.pending[e.id]
	if asked == nil {
		r.breach("%v: nothing waits for that answer", e)
		return
	}
	delete(c.pending, e.id)
	switch asked.what {
	case joins:
		r.joined(c, asked, e)
	case leaves:
		if e.what == refused {
			r.breach("%v: a leave is refused", e)
		}
		if c.left[asked.target] == always {
			c.left[asked.target] = r.now
		}
	case publishes:
		r.published(c, asked, e)
	case reads:
		r.page(c, asked, e)
	}
}

// joined takes the answer to a join.
func (r *reference) joined(c *connection, asked *asked, e *event) {
	m := c.members[asked.target]
	switch {
	case e.what == refused:
		r.breach("%v: a join is refused", e)
		return
	case e.target != asked.target:
		r.breach("%v: joined %s", e, asked.target)
	case r.scheme.kept(asked.target) == 0 && (e.epoch != "" || e.recovered != nil || len(e.list) > 0):
		r.breach("%v: there is no history", e)
	}
	for _, entry := range e.list {
		r.tell(asked.target, entry, e)
	}
	if m == nil || m.join == "" {
		return // it was left again: every join is answered, but that answer promises nothing
	}
	if m.join != e.id && m.acked == 0 {
		return // it joined twice before the first ack came, which says more; or this join is of a membership before
	}
	if m.join != e.id {
		if m.placed && (e.epoch != m.at.epoch || e.offset < m.at.offset) {
			r.breach("%v: joining again says so, and the client is at %v", e, m.at)
		}
		return
	}
	m.acked = r.now
	if r.scheme.kept(asked.target) > 0 {
		r.begin(c, m, asked, e)
	}
}

// published takes the answer to a publish.
func (r *reference) published(c *connection, asked *asked, e *event) {
	p := r.publications[asked.number]
	var a *attempt
	for _, one := range p.attempts {
		if one.sent == asked.index {
			a = one
		}
	}
	a.answered, a.livesAfter, a.code = r.now, r.lives, e.code
	_, toUser := p.target.user()
	switch {
	case e.what == refused && e.code == "unavailable":
		if !r.disturbed(c.gateway) {
			r.breach("%v: nothing was wrong with Redis", e)
		}
	case e.what == refused && e.code == "conflict":
		if p.key == "" || !r.usedForOtherData(p, c.user) {
			r.breach("%v: its key was used for nothing else", e)
		}
	case e.what == refused && e.code == "not_joined":
		if toUser || asked.member {
			r.breach("%v: it may publish there", e)
		}
	case e.what == refused:
		r.breach("%v: an error that nothing explains", e)
	case !toUser && !asked.member:
		r.breach("%v: it is no member of %s", e, p.target)
	default:
		a.ack = e
		if (e.epoch != "") != (r.scheme.kept(p.target) > 0) && !r.mayBeNotKept(p) {
			r.breach("%v: the ack's place does not fit a target of which %d messages are kept", e, r.scheme.kept(p.target))
		} else if e.epoch != "" {
			r.tell(p.target, placed{e.position, p.number}, e)
		}
	}
}

// mayBeNotKept tells whether a message may have been passed on only, since Redis may not have known that its user exists.
func (r *reference) mayBeNotKept(p *publication) bool {
	if _, toUser := p.target.user(); !toUser {
		return false
	}
	return slices.ContainsFunc(p.attempts, func(a *attempt) bool { return !a.known || a.lives != r.lives })
}

func (r *reference) usedForOtherData(p *publication, user string) bool {
	for _, other := range r.publications {
		if other != p && other.key == p.key && other.target == p.target && other.attempts[0].conn.user == user {
			return true
		}
	}
	return false
}

// tell notes that a message is at a place, and whether that contradicts what was told before.
func (r *reference) tell(t target, entry placed, e *event) {
	if r.truth[t] == nil {
		r.truth[t], r.places[t] = map[position]int{}, map[int]map[string]int64{}
	}
	if before, ok := r.truth[t][entry.position]; ok && before != entry.number {
		r.breach("%v: at %v of %s is message %d, and somebody was told that %d is there", e, entry.position, t, entry.number, before)
	}
	r.truth[t][entry.position] = entry.number
	if r.places[t][entry.number] == nil {
		r.places[t][entry.number] = map[string]int64{}
	}
	if before, ok := r.places[t][entry.number][entry.epoch]; ok && before != entry.offset {
		r.breach("%v: message %d is at %v of %s, and in the same epoch at %d", e, entry.number, entry.position, t, before)
	}
	r.places[t][entry.number][entry.epoch] = entry.offset
	if p := r.publications[entry.number]; p == nil || p.target != t {
		r.breach("%v: nobody has published message %d to %s", e, entry.number, t)
	}
}

// disturbed tells whether anything was wrong with a gateway since all was settled.
func (r *reference) disturbed(gateway int) bool { return r.faults[gateway] }

// settle ends a segment: from here on everything is known, and what is disturbed, unless the links may still break.
func (r *reference) settle(e *event) {
	if e.code == string(calmly) {
		clear(r.faults)
	}
	r.segment, r.lost = r.now, false
	for _, c := range r.conns {
		for t, m := range c.members {
			if c.alive && m.watch {
				m.base = true
				c.changes[t] = map[string]bool{}
				for user := range r.present(t) {
					c.changes[t][user] = user != c.user
				}
			}
		}
	}
}

// alive are the connections that live, in the order in which they were opened.
func (r *reference) alive() []*connection {
	var all []*connection
	for _, number := range slices.Sorted(maps.Keys(r.conns)) {
		if c := r.conns[number]; c.alive {
			all = append(all, c)
		}
	}
	return all
}

// present says who is in a room, with how many connections.
func (r *reference) present(room target) map[string]int {
	users := map[string]int{}
	for _, c := range r.alive() {
		if c.members[room] != nil {
			users[c.user]++
		}
	}
	return users
}
