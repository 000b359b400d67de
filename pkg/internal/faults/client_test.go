package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// unackedMost is how many messages a publisher has on their way at once.
	unackedMost = 8
	// silence is how long a client waits for the answer to a ping, which it sends every pingEvery. Messages that come are no sign
	// that its own way to the gateway is open.
	silence   = 3 * time.Second
	pingEvery = 400 * time.Millisecond
	pingID    = "ping"
	// retryAfter is the pause before a message is sent again that Redis did not confirm.
	retryAfter = 100 * time.Millisecond
	// historyMost is asked for at every join, for the case that it does not recover; more than any run publishes to a room.
	historyMost = 1000
)

// client publishes into one room and is a member of several, as the documentation tells a client to: it reconnects, recovers
// from where it was, and sends again under the same idempotency key what was not acked. It notes all that it is told.
type client struct {
	number    int
	plan      plan
	addresses []string
	rooms     []int
	publishTo int
	// stubborn clients send a message until it is acked; the others drop it at the first failure.
	stubborn bool
	random   *rand.Rand

	// Its goroutine's.
	conn       *websocket.Conn
	connection int // counts
	waitingFor map[int]bool
	pending    []*publication // in the order of their numbers
	retryAt    map[int]time.Time
	inbox      *inboxRead // nil: it is where the gateway is

	mu         sync.Mutex
	places     map[int]position
	happenings []happening
	published  []*publication
	publishing bool
	ready      bool // a member of all rooms on the present connection
	unacked    int
	// newestAcked is when the newest message that is acked was first sent.
	newestAcked time.Time
	odd         []string
}

type frame struct {
	Type      string   `json:"type"`
	ID        string   `json:"id"`
	Room      string   `json:"room_id"`
	User      string   `json:"target_user_id"`
	Inbox     any      `json:"inbox"`
	Epoch     string   `json:"epoch"`
	Offset    int64    `json:"offset"`
	Data      *payload `json:"data"`
	Recovered *bool    `json:"recovered"`
	Messages  []frame  `json:"messages"`
	Code      string   `json:"code"`
	Message   string   `json:"message"`
	Delay     int64    `json:"delay_ms"`
}

type payload struct {
	Publisher int `json:"p"`
	Number    int `json:"n"`
}

func roomName(room int) string { return fmt.Sprintf("room-%d", room) }

// room is the number of the room, or of the user, that a frame is about.
func (f *frame) room() int {
	name := f.Room + f.User
	n, _ := strconv.Atoi(name[min(len(name), len("room-")):]) // user- is as long
	return n
}

// run connects again and again until ctx ends.
func (c *client) run(ctx context.Context, rate int) {
	var next *websocket.Conn
	for turn := c.number; ctx.Err() == nil; turn++ {
		if next == nil {
			next = c.dial(ctx, c.addresses[turn%len(c.addresses)])
		}
		if next == nil {
			time.Sleep(time.Duration(20+c.random.IntN(180)) * time.Millisecond)
			continue
		}
		conn := next
		next = c.session(ctx, conn, turn, rate)
		_ = conn.Close()
	}
}

func (c *client) dial(ctx context.Context, address string) *websocket.Conn {
	dialer := websocket.Dialer{
		HandshakeTimeout: time.Second, Subprotocols: []string{"wscluster.v1.json"},
		NetDialContext: (&net.Dialer{Timeout: time.Second}).DialContext,
	}
	conn, response, err := dialer.DialContext(ctx, fmt.Sprintf("ws://%s/ws?user_id=%s", address, c.plan.userName(c.number)), http.Header{})
	if response != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil
	}
	return conn
}

// session uses one connection until it ends, or until a better one is open, which it returns.
func (c *client) session(ctx context.Context, conn *websocket.Conn, turn, rate int) *websocket.Conn {
	c.connection++
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	frames := make(chan frame, 256)
	ended := make(chan struct{})
	defer close(ended)
	go read(conn, frames, ended)

	c.setReady(false)
	defer c.setReady(false)
	c.inbox = nil
	if c.plan.scope != inboxes {
		c.joinAll()
	}
	for _, p := range c.pending {
		c.send(p)
	}
	clear(c.retryAt)
	publish, ping := time.NewTicker(time.Second/time.Duration(rate)), time.NewTicker(pingEvery)
	defer publish.Stop()
	defer ping.Stop()
	answered := time.Now()
	var move <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case f, ok := <-frames:
			if !ok {
				c.failAll()
				return nil
			}
			if f.ID == pingID {
				answered = time.Now()
			}
			if f.Type == "reconnect" && move == nil {
				move = time.After(time.Duration(f.Delay) * time.Millisecond)
			}
			if !c.take(&f) {
				c.failAll()
				return nil
			}
		case <-move:
			// Make before break: what comes on the old connection from here on is recovered on the new one.
			if better := c.dial(ctx, c.addresses[(turn+1)%len(c.addresses)]); better != nil {
				c.failAll()
				return better
			}
			move = time.After(retryAfter)
		case <-publish.C:
			c.publish()
		case <-ping.C:
			if time.Since(answered) > silence {
				c.failAll()
				return nil
			}
			c.write(map[string]any{"type": "ping", "id": pingID})
		}
	}
}

func read(conn *websocket.Conn, frames chan<- frame, ended <-chan struct{}) {
	defer close(frames)
	for {
		var f frame
		if conn.ReadJSON(&f) != nil {
			return
		}
		select {
		case frames <- f:
		case <-ended:
			return
		}
	}
}

func (c *client) joinAll() {
	c.waitingFor = map[int]bool{}
	for _, room := range c.rooms {
		c.waitingFor[room] = true
		join := map[string]any{"type": "join", "id": fmt.Sprintf("join-%d", room), "room_id": roomName(room)}
		if c.plan.scope != plainRooms {
			join["history"] = historyMost
		}
		if at, ok := c.place(room); ok {
			join["recover"] = map[string]any{"epoch": at.epoch, "offset": at.offset}
		}
		c.write(join)
	}
}

// write does not care for errors: the reader finds out that the connection has ended.
func (c *client) write(command map[string]any) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(silence))
	text, _ := json.Marshal(command)
	_ = c.conn.WriteMessage(websocket.TextMessage, text)
}

// take returns false if the client has to connect anew.
func (c *client) take(f *frame) bool {
	switch {
	case c.plan.scope == inboxes && (f.Type == "welcome" || f.ID == inboxID || c.inbox != nil && f.ID == "" && f.Type != "error"):
		return c.takeInbox(f)
	case f.Type == "message":
		c.deliver(f)
	case f.Type == "epoch_changed":
		c.change(f)
	case f.Type == "ack" && f.Room != "":
		c.takeJoin(f)
	case f.Type == "ack" && f.ID != pingID:
		c.takeAck(f)
	case f.Type == "error":
		c.takeError(f)
	}
	return true
}

func (c *client) change(f *frame) {
	room := f.room()
	if c.plan.scope == inboxes {
		room = c.rooms[0]
	}
	c.note(happening{what: epochChanged, room: room, position: position{f.Epoch, f.Offset}})
	c.setPlace(room, position{f.Epoch, f.Offset}, true)
}

func (c *client) takeJoin(f *frame) {
	room := f.room()
	_, asked := c.place(room)
	recovered := f.Recovered != nil && *f.Recovered
	c.note(happening{what: joined, room: room, position: position{f.Epoch, f.Offset}, asked: asked, recovered: recovered})
	if !recovered && c.plan.scope != plainRooms {
		// Until something of the list has come there is nothing to recover from, unless the log was empty.
		c.setPlace(room, position{f.Epoch, 0}, f.Offset == 0)
	}
	for i := range f.Messages {
		c.deliver(&f.Messages[i])
	}
	delete(c.waitingFor, room)
	c.setReady(len(c.waitingFor) == 0)
}

func (c *client) deliver(f *frame) {
	if f.Data == nil {
		c.oddity("a message without data in %s at %d", f.Room, f.Offset)
		return
	}
	if c.plan.scope == inboxes && f.Epoch == "" && c.plan.forgetsKeys() {
		return
	}
	at := position{f.Epoch, f.Offset}
	c.note(happening{what: delivered, room: f.room(), position: at, message: message{f.Data.Publisher, f.Data.Number}})
	if c.plan.scope == plainRooms {
		return
	}
	if now, ok := c.place(f.room()); !ok || now.epoch != at.epoch || now.offset < at.offset {
		c.setPlace(f.room(), at, true)
	}
}

// publish makes a new message, unless too many are on their way, and sends again what it is time for.
func (c *client) publish() {
	for _, p := range c.pending {
		if at, ok := c.retryAt[p.number]; ok && time.Now().After(at) {
			delete(c.retryAt, p.number)
			c.send(p)
		}
	}
	c.mu.Lock()
	enough := !c.publishing || len(c.pending) >= unackedMost
	var p *publication
	if !enough {
		p = &publication{message: message{c.number, len(c.published)}, room: c.publishTo, sent: time.Now()}
		c.published = append(c.published, p)
		c.pending = append(c.pending, p)
		c.unacked = len(c.pending)
	}
	c.mu.Unlock()
	if p != nil {
		c.send(p)
	}
}

func (c *client) send(p *publication) {
	p.attempts = append(p.attempts, &attempt{connection: c.connection, fresh: len(p.attempts) == 0})
	c.write(c.plan.scope.aimAt(map[string]any{
		"type": "publish", "id": fmt.Sprintf("%d.%d", p.number, len(p.attempts)-1),
		"idempotency_key": fmt.Sprintf("message-%d-%d", c.number, p.number), "data": payload{c.number, p.number},
	}, p.room))
}

// sending finds what an ack or error is about.
func (c *client) sending(id string) (*publication, *attempt) {
	var number, try int
	if n, _ := fmt.Sscanf(id, "%d.%d", &number, &try); n != 2 || number >= len(c.published) || try >= len(c.published[number].attempts) {
		c.oddity("an answer with the id %q, which was never sent", id)
		return nil, nil
	}
	return c.published[number], c.published[number].attempts[try]
}

func (c *client) takeAck(f *frame) {
	p, a := c.sending(f.ID)
	if p == nil {
		return
	}
	switch hasPlace := f.Epoch != "" && f.Offset > 0; {
	case c.plan.scope == plainRooms && f.Epoch+f.Room == "":
		f.Epoch = notKept
	case c.plan.scope == inboxes && !hasPlace && c.plan.forgetsKeys():
		f.Epoch = notKept // Redis has forgotten that there is such a user, and says so
	case !hasPlace || c.plan.scope == plainRooms:
		c.oddity("the ack of message %v has the place %s/%d, which does not fit %s", p.message, f.Epoch, f.Offset, c.plan.scope)
	}
	a.ack = position{f.Epoch, f.Offset}
	c.mu.Lock()
	if p.sent.After(c.newestAcked) {
		c.newestAcked = p.sent
	}
	c.mu.Unlock()
	c.drop(p)
}

func (c *client) takeError(f *frame) {
	if f.Code != "unavailable" || f.ID == "" {
		c.oddity("an error that no fault explains: id %q, %s: %s", f.ID, f.Code, f.Message)
	}
	if p, _ := c.sending(f.ID); p != nil {
		if !c.stubborn {
			c.drop(p)
			return
		}
		c.retryAt[p.number] = time.Now().Add(retryAfter)
	}
}

// failAll has clients that are not stubborn forget what was on its way when the connection ended.
func (c *client) failAll() {
	if !c.stubborn {
		c.mu.Lock()
		c.pending, c.unacked = nil, 0
		c.mu.Unlock()
	}
}

func (c *client) drop(p *publication) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.retryAt, p.number)
	c.pending = slices.DeleteFunc(c.pending, func(q *publication) bool { return q == p })
	c.unacked = len(c.pending)
}

func (c *client) note(h happening) {
	h.at = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.happenings = append(c.happenings, h)
}

func (c *client) oddity(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.odd = append(c.odd, fmt.Sprintf("%s client %d: ", time.Now().Format(clock), c.number)+fmt.Sprintf(format, args...))
}

func (c *client) place(room int) (position, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.places[room]
	return at, ok
}

func (c *client) setPlace(room int, at position, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known {
		c.places[room] = at
	} else {
		delete(c.places, room)
	}
}

func (c *client) setReady(ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = ready
}

// status tells whether the client is in all its rooms, and how many of its messages are not acked.
func (c *client) status() (ready bool, unacked int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready, c.unacked
}

func (c *client) setPublishing(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishing = on
}

// ackedSince tells whether a message that was first sent after t is acked.
func (c *client) ackedSince(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newestAcked.After(t)
}

// hangUp ends what the client waits for on its connection.
func (c *client) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
	}
}
