package model

// stream is a connection's way through the log of a target: from its place on it gets every offset of an epoch once, in order.
type stream struct {
	placed bool
	at     position
}

func (s *stream) place(at position) { s.placed, s.at = true, at }

// begin places a connection by the ack of its join.
func (r *reference) begin(c *connection, m *membership, asked *asked, e *event) {
	size := int64(r.scheme.kept(m.target))
	if e.epoch == "" {
		r.breach("%v: the ack says nothing of where the room stands", e)
		return
	}
	if (asked.from != nil) != (e.recovered != nil) {
		r.breach("%v: recovered must be there if it was asked for, and only then", e)
		return
	}
	quiet := r.publishesQuietly(c, m.target)
	switch {
	case e.recovered != nil && *e.recovered:
		if asked.from.epoch != e.epoch || asked.from.offset > e.offset {
			r.breach("%v: recovered from %v, which is not in this epoch", e, *asked.from)
		}
		m.place(*asked.from)
	case e.recovered != nil && asked.from.epoch == e.epoch && e.offset-asked.from.offset <= size:
		r.breach("%v: refused to recover from %v, though the log still has all that follows", e, *asked.from)
		fallthrough
	default:
		m.place(e.position)
		if len(e.list) > 0 {
			m.at.offset = e.list[0].offset - 1
		}
		if least := e.offset - min(int64(asked.history), size); asked.history > 0 && !quiet && m.at.offset > max(0, least) {
			r.breach("%v: a history of %d has to begin behind %d at the latest", e, asked.history, max(0, least))
		}
		if asked.history == 0 && len(e.list) > 0 {
			r.breach("%v: nobody has asked for these messages", e)
		}
	}
	for _, entry := range e.list {
		r.step(c, m, entry, e)
	}
}

func (r *reference) publishesQuietly(c *connection, t target) bool {
	for _, p := range r.publications {
		for _, a := range p.attempts {
			if a.conn == c && a.quiet && p.target == t {
				return true
			}
		}
	}
	return false
}

// step takes one message of a log.
func (r *reference) step(c *connection, m *membership, entry placed, e *event) {
	switch {
	case !m.placed: // it was welcomed while Redis was away, and nobody has told it where its inbox stands
	case entry.epoch != m.at.epoch:
		r.breach("%v: message %d is in another epoch than %v, and the client was not told", e, entry.number, m.at)
	case entry.offset <= m.at.offset:
		r.breach("%v: message %d comes at %v, and the client has had all up to %v", e, entry.number, entry.position, m.at)
		return
	default:
		r.skip(c, m, entry.offset-1, e)
	}
	m.place(entry.position)
}

// skip holds that all places from where the connection is up to an offset are its own messages without echo.
func (r *reference) skip(c *connection, m *membership, last int64, e *event) {
	for offset := m.at.offset + 1; offset <= last; offset++ {
		if !r.mayLack(c, m.target, position{m.at.epoch, offset}) {
			r.breach("%v: connection %d was not given %s/%d of %s", e, c.number, m.at.epoch, offset, m.target)
			return
		}
	}
}

// mayLack tells whether the message at a place was published by this connection without echo. Its ack may still be on its way, so
// a place of which nothing is known yet may be one of those too.
func (r *reference) mayLack(c *connection, t target, at position) bool {
	number, known := r.truth[t][at]
	for _, p := range r.publications {
		for _, a := range p.attempts {
			if a.conn == c && a.quiet && p.target == t && (p.number == number || !known && a.ack == nil && a.code != "conflict") {
				return true
			}
		}
	}
	return false
}

// move takes an epoch_changed.
func (r *reference) move(c *connection, m *membership, e *event) {
	if !m.placed && m.join == "" { // an inbox of which the welcome could not say where it stands
		m.place(e.position)
		return
	}
	switch {
	case r.scheme.kept(m.target) == 0:
		r.breach("%v: there is no history", e)
	case !m.placed:
		r.breach("%v: comes before the ack of the join", e)
	case e.previous.epoch != m.at.epoch:
		r.breach("%v: the client was at %v", e, m.at)
	}
	before := m.at
	m.place(e.position)
	for offset := int64(1); offset <= e.offset; offset++ {
		number, known := r.truth[m.target][position{e.epoch, offset}]
		if known && offset <= before.offset && r.truth[m.target][position{before.epoch, offset}] == number {
			continue // survived, and the client has had it
		}
		if e.epoch == before.epoch && offset <= before.offset {
			continue
		}
		if !r.mayLack(c, m.target, position{e.epoch, offset}) {
			r.passed = append(r.passed, passing{e, m.target, position{before.epoch, offset}, position{e.epoch, offset}})
		}
	}
}

// passing is a place that an epoch_changed passes over, and the same place in the epoch before.
type passing struct {
	event         *event
	target        target
	before, after position
}

// checkPassed holds that only what the log has forgotten was passed over, or what survived of the epoch before. It is asked at the
// end, when all is known that was published.
func (r *reference) checkPassed() {
	for _, p := range r.passed {
		number, known := r.truth[p.target][p.after]
		old, knownBefore := r.truth[p.target][p.before]
		survived := p.before.epoch != p.after.epoch && r.scheme.lasting && (!knownBefore || old == number)
		newest := r.highest(p.target, p.after.epoch)
		if known && !survived && newest-p.after.offset < int64(r.scheme.kept(p.target)) {
			r.breach("%v: passes over message %d at %d, and the log is at %d", p.event, number, p.after.offset, newest)
		}
	}
}

// highest is the largest offset of an epoch that anybody was told of.
func (r *reference) highest(t target, epoch string) (offset int64) {
	for at := range r.truth[t] {
		if at.epoch == epoch {
			offset = max(offset, at.offset)
		}
	}
	return offset
}

// page takes a page of a log that was read.
func (r *reference) page(c *connection, asked *asked, e *event) {
	if e.what == refused {
		if e.code != "unavailable" || !r.disturbed(c.gateway) {
			r.breach("%v: nothing explains that the log cannot be read", e)
		}
		return
	}
	for i, entry := range e.list {
		r.tell(asked.target, entry, e)
		if entry.epoch != e.epoch || entry.offset > e.offset {
			r.breach("%v: the page of %s/%d holds a message at %v", e, e.epoch, e.offset, entry.position)
		}
		if i > 0 && entry.offset != e.list[i-1].offset+1 {
			r.breach("%v: the page goes from %v to %v", e, e.list[i-1].position, entry.position)
		}
	}
	size := int64(r.scheme.kept(asked.target))
	if asked.since > 0 && len(e.list) > 0 && e.offset-asked.since <= size && e.list[0].offset != asked.since+1 {
		r.breach("%v: read after %d, and the page begins with %v", e, asked.since, e.list[0].position)
	}
}
