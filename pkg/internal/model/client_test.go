package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// client is one connection. It notes in the trace what it asks for and what it is told, and keeps its places as the documentation
// tells a client to.
type client struct {
	trace   *trace
	number  int
	gateway int
	user    string
	ws      *websocket.Conn
	done    chan struct{}
	// hungUp is set before the connection is cut from here.
	hungUp bool
	ids    int
	in     map[target]bool // the rooms that it has asked to be in
	// places are shared with the connections of the same slot after this one; the trace's lock guards them.
	places map[target]position
	// looking are the questions of the world, by their ids; the trace's lock guards them.
	looking map[string]target
}

// frame is any frame of a gateway.
type frame struct {
	Type      string  `json:"type"`
	ID        string  `json:"id"`
	Room      string  `json:"room_id"`
	User      string  `json:"target_user_id"`
	Epoch     string  `json:"epoch"`
	Offset    int64   `json:"offset"`
	MessageID string  `json:"message_id"`
	Data      *data   `json:"data"`
	Recovered *bool   `json:"recovered"`
	Messages  []frame `json:"messages"`
	Previous  struct {
		Epoch  string `json:"epoch"`
		Offset int64  `json:"offset"`
	} `json:"previous"`
	// Inbox is an object in a welcome, true in epoch_changed.
	Inbox       json.RawMessage `json:"inbox"`
	Code        string          `json:"code"`
	Member      string          `json:"user_id"`
	Connections int             `json:"connections"`
	Members     []struct {
		User        string `json:"user_id"`
		Connections int    `json:"connections"`
	} `json:"members"`
}

type data struct {
	Number int    `json:"n"`
	Pad    string `json:"pad,omitempty"`
}

const dialPatience = 5 * time.Second

// dial connects and takes the welcome; nil if that fails.
func dial(t *trace, number, gateway int, address, user string, places map[target]position) *client {
	dialer := websocket.Dialer{HandshakeTimeout: dialPatience, NetDialContext: (&net.Dialer{Timeout: dialPatience}).DialContext}
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	ws, response, err := dialer.DialContext(ctx, fmt.Sprintf("ws://%s/ws?user_id=%s", address, user), nil)
	if response != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil
	}
	c := &client{trace: t, number: number, gateway: gateway, user: user, ws: ws, done: make(chan struct{}), places: places, looking: map[string]target{}, in: map[target]bool{}}
	var welcome frame
	_ = ws.SetReadDeadline(time.Now().Add(dialPatience))
	if ws.ReadJSON(&welcome) != nil || welcome.Type != "welcome" {
		_ = ws.Close()
		return nil
	}
	_ = ws.SetReadDeadline(time.Time{})
	e := event{what: opened}
	if len(welcome.Inbox) > 0 {
		var at struct {
			Epoch  string `json:"epoch"`
			Offset int64  `json:"offset"`
		}
		_ = json.Unmarshal(welcome.Inbox, &at) // a place that is no place shows in the reference
		e.position = position{at.Epoch, at.Offset}
	}
	c.note(e)
	go c.read()
	return c
}

func (c *client) note(e event) {
	c.trace.mu.Lock()
	defer c.trace.mu.Unlock()
	c.noteLocked(e)
}

func (c *client) noteLocked(e event) {
	e.conn, e.gateway, e.user = c.number, c.gateway, c.user
	c.trace.noteLocked(e)
}

func (c *client) read() {
	defer close(c.done)
	for {
		var f frame
		if err := c.ws.ReadJSON(&f); err != nil {
			e := event{what: ended}
			if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
				e.code = fmt.Sprint("with close code ", closed.Code)
			} else {
				e.code = err.Error()
			}
			c.trace.mu.Lock()
			if c.hungUp {
				e.code = ""
			}
			c.noteLocked(e)
			c.trace.mu.Unlock()
			_ = c.ws.Close()
			return
		}
		c.trace.mu.Lock()
		c.take(&f)
		c.trace.mu.Unlock()
	}
}

// take notes a frame. The caller has the trace's lock.
func (c *client) take(f *frame) {
	if t, ours := c.looking[f.ID]; ours {
		c.looked(t, f)
		return
	}
	e := event{id: f.ID, position: position{f.Epoch, f.Offset}, code: f.Code, messageID: f.MessageID, recovered: f.Recovered, target: target(f.Room)}
	if f.User != "" {
		e.target = target("@" + f.User)
	}
	switch f.Type {
	case "ack":
		e.what = acked
		for i := range f.Messages {
			m := &f.Messages[i]
			e.list = append(e.list, placed{position{m.Epoch, m.Offset}, m.number()})
		}
		if strings.HasPrefix(f.ID, "join-") && f.Epoch != "" {
			c.joined(&e)
		}
	case "error":
		e.what = refused
	case "message":
		e.what, e.number = delivered, f.number()
		if f.Epoch != "" {
			c.places[e.target] = e.position
		}
	case "epoch_changed":
		e.what, e.previous = epochMoved, position{f.Previous.Epoch, f.Previous.Offset}
		if f.Room == "" {
			e.target = target("@" + c.user)
		}
		c.places[e.target] = e.position
	case "member_joined", "member_left":
		e.what, e.members = memberTold, map[string]int{f.Member: f.Connections}
	case "reconnect":
		return // the test decides who connects when
	default:
		e.what, e.code = refused, "a frame of type "+f.Type
	}
	c.noteLocked(e)
}

// looked notes the answer to a question of the world. One that was refused is asked again.
func (c *client) looked(t target, f *frame) {
	delete(c.looking, f.ID)
	switch {
	case f.Type != "ack":
	case f.Members == nil:
		c.noteLocked(event{what: observed, target: t, position: position{f.Epoch, f.Offset}})
	default:
		e := event{what: listed, target: t, members: map[string]int{}}
		for _, m := range f.Members {
			e.members[m.User] = m.Connections
		}
		c.noteLocked(e)
	}
}

func (f *frame) number() int {
	if f.Data == nil {
		return 0
	}
	return f.Data.Number
}

// joined keeps the place that the ack of a join gives.
func (c *client) joined(e *event) {
	if e.recovered == nil || !*e.recovered {
		c.places[e.target] = e.position
	}
	if n := len(e.list); n > 0 {
		c.places[e.target] = e.list[n-1].position
	}
}

// send notes a command and sends it. That the connection has ended is found out by its reader.
func (c *client) send(kind string, e event, command map[string]any) {
	c.ids++
	e.id = fmt.Sprintf("%s-%d", kind, c.ids)
	c.note(e)
	c.write(kind, e.id, command)
}

func (c *client) write(kind, id string, command map[string]any) {
	command["type"], command["id"] = kind, id
	text, _ := json.Marshal(command)
	_ = c.ws.SetWriteDeadline(time.Now().Add(dialPatience))
	_ = c.ws.WriteMessage(websocket.TextMessage, text)
}

// look asks for the world, which is not the client's doing.
func (c *client) look(kind string, t target, command map[string]any) {
	c.ids++
	id := fmt.Sprintf("look-%d", c.ids)
	c.trace.mu.Lock()
	c.looking[id] = t
	c.trace.mu.Unlock()
	c.write(kind, id, command)
}

func (c *client) looks() int {
	c.trace.mu.Lock()
	defer c.trace.mu.Unlock()
	return len(c.looking)
}

// memberOf are the rooms that the client has asked to be in.
func (c *client) memberOf() []target { return slices.Sorted(maps.Keys(c.in)) }

func (c *client) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// hangUp ends the connection without a word, and waits until nothing more is noted of it.
func (c *client) hangUp() {
	c.trace.mu.Lock()
	c.hungUp = true
	c.trace.mu.Unlock()
	_ = c.ws.UnderlyingConn().Close()
	<-c.done
}
