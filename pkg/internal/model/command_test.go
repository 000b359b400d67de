package model

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// command sends what a step asks for.
func (w *world) command(c *client, s step) {
	switch s.do {
	case join:
		w.join(c, s)
	case leave:
		delete(c.in, s.target)
		c.send("leave", event{what: leaves, target: s.target}, map[string]any{"room_id": s.target})
	case read:
		w.read(c, s)
	case publish:
		// Mostly to a room that it is in.
		_, toUser := s.target.user()
		if in := c.memberOf(); len(in) > 0 && !toUser && s.pick%10 > 0 && !slices.Contains(in, s.target) {
			s.target = in[s.pick%len(in)]
		}
		for range s.count {
			w.publish(c, s)
		}
	}
}

func (w *world) join(c *client, s step) {
	c.in[s.target] = true
	e := event{what: joins, target: s.target, history: s.history, watch: s.watch && s.target.hasPresence()}
	command := map[string]any{"room_id": s.target}
	if e.watch {
		command["presence"] = true
	}
	if s.history > 0 {
		command["history"] = s.history
	}
	if w.scheme.kept(s.target) == 0 {
		e.history = 0 // nothing is kept, and asking for it changes nothing
	} else if s.mode != plain {
		c.trace.mu.Lock()
		at, known := c.places[s.target]
		c.trace.mu.Unlock()
		if s.mode == rewind {
			at.offset = max(0, at.offset-int64(s.pick%20))
		}
		if known {
			e.from = &at
			command["recover"] = map[string]any{"epoch": at.epoch, "offset": at.offset}
		}
	}
	c.send("join", e, command)
}

// read reads a page of a room's log, or of the own inbox.
func (w *world) read(c *client, s step) {
	e := event{what: reads, target: s.target, since: int64(s.pick % 30)}
	command := map[string]any{"room_id": s.target, "limit": 1 + s.pick%10}
	if w.scheme.inbox && s.pick%3 == 0 {
		e.target = target("@" + c.user)
		command["inbox"] = true
		delete(command, "room_id")
	}
	if w.scheme.kept(e.target) == 0 {
		return
	}
	if e.since > 0 {
		command["since"] = e.since
	}
	c.send("history", e, command)
}

func (w *world) publish(c *client, s step) {
	p := keyedMessage{target: s.target, quiet: s.quiet}
	former := w.keyed[c.user]
	switch {
	case s.mode == again && len(former) > 0:
		p = former[s.pick%len(former)]
	default:
		w.published++
		p.number = w.published
		if s.mode == clash && len(former) > 0 {
			other := former[s.pick%len(former)]
			p.target, p.key = other.target, other.key
		} else if s.mode == keyed {
			p.key = fmt.Sprintf("key-%d", p.number)
		}
		if p.key != "" && s.mode == keyed {
			w.keyed[c.user] = append(former, p)
		}
	}
	command := map[string]any{"data": data{Number: p.number, Pad: strings.Repeat("x", w.padding(p.number, s.size))}}
	if user, ok := p.target.user(); ok {
		command["target_user_id"] = user
	} else {
		command["room_id"] = p.target
	}
	if p.key != "" {
		command["idempotency_key"] = p.key
	}
	if p.quiet {
		command["echo"] = false
	}
	c.send("publish", event{what: publishes, target: p.target, number: p.number, key: p.key, quiet: p.quiet}, command)
}

// padding is the same whenever a message is published again.
func (w *world) padding(number, size int) int {
	for len(w.sizes) <= number {
		w.sizes = append(w.sizes, -1)
	}
	if w.sizes[number] < 0 {
		w.sizes[number] = size
	}
	return w.sizes[number]
}

// look has the clients and an observer at each gateway find out where the logs stand and who is where, and notes it. It returns
// false if somebody was not answered.
func (w *world) look(observers []*client) bool {
	asking := slices.Clone(observers)
	for i, t := range rooms {
		c := observers[i%len(observers)]
		if w.scheme.kept(t) > 0 {
			c.look("history", t, map[string]any{"room_id": t, "limit": 1, "reverse": true})
		}
		if t.hasPresence() {
			c.look("presence", t, map[string]any{"room_id": t})
		}
	}
	for _, c := range w.slots {
		if w.scheme.inbox && c != nil && !c.over() {
			c.look("history", target("@"+c.user), map[string]any{"inbox": true, "limit": 1, "reverse": true})
			asking = append(asking, c)
		}
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !slices.ContainsFunc(asking, func(c *client) bool { return !c.over() && c.looks() > 0 }) {
			return true
		}
	}
	return false
}
