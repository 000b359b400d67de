package model

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// position is a place in a target's log.
type position struct {
	epoch  string
	offset int64
}

// placed is a message at its place.
type placed struct {
	position
	number int
}

// event is something that a client did or was told, or that was done to the fleet. All events of a run have one order.
type event struct {
	at      time.Time
	what    what
	conn    int // counts connections; 0: none
	gateway int
	user    string
	id      string // of a command and its answer
	target  target
	// position is a message's, or where a log stands; previous is that of epoch_changed.
	position
	previous position
	// Of a join: what it asks for. Of its ack: what it was given.
	from      *position
	history   int
	watch     bool
	recovered *bool
	list      []placed
	since     int64 // of a page that is read
	// Of a publication, also as a message.
	number    int
	key       string
	quiet     bool
	messageID string
	// code is that of an error or a close.
	code string
	// members of a room; of a change one.
	members map[string]int
}

type what string

const (
	opened what = "was welcomed"
	ended  what = "ended"

	joins      what = "joins"
	leaves     what = "leaves"
	publishes  what = "publishes"
	reads      what = "reads"
	acked      what = "is acked"
	refused    what = "is refused"
	delivered  what = "gets"
	epochMoved what = "is told of the epoch"
	memberTold what = "is told of the member"

	// disturbed is a fault of one gateway's links, or its end; the others are about Redis.
	disturbed what = "is disturbed"
	forgotten what = "Redis has lost everything"
	// observed and listed are what the world found out about a log and a room when it settled.
	observed what = "the log is at"
	listed   what = "in the room are"
	settled  what = "settled"
)

func (e *event) String() string {
	var b strings.Builder
	b.WriteString(e.at.Format("05.000000 "))
	if e.conn > 0 {
		fmt.Fprintf(&b, "connection %d (%s) ", e.conn, e.user)
	} else if e.what == disturbed || e.what == ended {
		fmt.Fprintf(&b, "gateway %d ", e.gateway)
	}
	b.WriteString(string(e.what))
	for _, part := range []struct {
		show bool
		text string
	}{
		{e.what == opened, fmt.Sprintf("at gateway %d", e.gateway)},
		{e.id != "", "[" + e.id + "]"},
		{e.target != "", string(e.target)},
		{e.number > 0, fmt.Sprintf("message %d", e.number)},
		{e.key != "", "key " + e.key},
		{e.quiet, "without echo"},
		{e.epoch != "", fmt.Sprint("at ", e.position)},
		{e.previous.epoch != "", fmt.Sprint("from ", e.previous)},
		{e.from != nil, fmt.Sprint("recovering from ", e.from)},
		{e.history > 0, fmt.Sprintf("history %d", e.history)},
		{e.watch, "presence"},
		{e.recovered != nil && *e.recovered, "recovered"},
		{e.recovered != nil && !*e.recovered, "not recovered"},
		{len(e.list) > 0, fmt.Sprint("list ", e.list)},
		{e.code != "", e.code},
		{e.members != nil, fmt.Sprint(e.members)},
	} {
		if part.show {
			b.WriteString(" " + part.text)
		}
	}
	return b.String()
}

// trace is the events of a run. It is safe for concurrent use.
type trace struct {
	mu     sync.Mutex
	events []event
}

func (t *trace) note(e event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(e)
}

func (t *trace) noteLocked(e event) {
	e.at = time.Now()
	t.events = append(t.events, e)
}

func (t *trace) copy() []event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]event(nil), t.events...)
}
