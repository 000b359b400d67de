package client

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
)

const (
	defaultHeartbeat = 25 * time.Second
	writeTimeout     = 10 * time.Second
	// closeTimeout is how long the other side has to answer a close frame.
	closeTimeout = time.Second
	// answerTimeout: a gateway answers a publish within about 2 s even when Redis is away. After this long it is asked for a
	// sign of life, and has probeTimeout for it.
	answerTimeout = 5 * time.Second
	probeTimeout  = 5 * time.Second
	checkInterval = time.Second
)

// command is something that was sent and gets one answer. Both methods are called with Client.mu held, one of them once.
type command interface {
	// answer gets the ack or error frame.
	answer(from *conn, f *serverFrame)
	// lost says that the connection ended before the answer.
	lost(from *conn)
}

// conn is one WebSocket: a goroutine that reads, one that writes.
type conn struct {
	// Fixed at start.
	client  *Client
	ws      *websocket.Conn
	welcome *serverFrame
	began   time.Time
	silence time.Duration // nothing for so long, and the other side is gone

	// kick has a place for one token: there is something to write.
	kick chan struct{}
	// move has a place for one request to connect anew.
	move chan time.Duration
	// ready is closed when the joins that began with the connection are answered.
	ready chan struct{}
	// done is closed at the end; err then says why.
	done chan struct{}
	err  error

	// Guarded by Client.mu.
	token    string
	out      [][]byte
	commands map[string]sentCommand
	entering int // joins that ready waits for
	ended    bool
	renewing bool
}

type sentCommand struct {
	command
	sent time.Time
	// patient: the answer may take as long as Redis is away.
	patient bool
}

func newConn(c *Client, ws *websocket.Conn, welcome *serverFrame, token string) *conn {
	heartbeat := time.Duration(welcome.HeartbeatMS) * time.Millisecond
	if heartbeat <= 0 {
		heartbeat = defaultHeartbeat
	}
	return &conn{
		client: c, ws: ws, welcome: welcome, token: token, began: time.Now(), silence: heartbeat * 5 / 2,
		kick: make(chan struct{}, 1), move: make(chan time.Duration, 1), ready: make(chan struct{}), done: make(chan struct{}),
		commands: map[string]sentCommand{},
	}
}

// sendLocked queues a frame whose answer goes to cmd. What is queued is bounded by what the client has to ask: its pending
// publishes, one join or page for each room, and one token.
func (n *conn) sendLocked(id string, frame []byte, cmd command, patient bool) {
	if cmd != nil {
		n.commands[id] = sentCommand{cmd, time.Now(), patient}
	}
	n.out = append(n.out, frame)
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// requestMove asks the supervisor to connect anew after the delay. It does not block; further requests change nothing.
func (n *conn) requestMove(delay time.Duration) {
	select {
	case n.move <- delay:
	default:
	}
}

// read runs until the connection ends.
func (n *conn) read() {
	alive := func() { _ = n.ws.SetReadDeadline(time.Now().Add(n.silence)) } // an error shows at the next read
	n.ws.SetPingHandler(func(payload string) error {
		alive()
		err := n.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(writeTimeout))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	n.ws.SetPongHandler(func(string) error { alive(); return nil })
	alive()
	for {
		_, text, err := n.ws.ReadMessage()
		if err != nil {
			n.end(closing(err))
			return
		}
		alive()
		f := &serverFrame{}
		if err := json.Unmarshal(text, f); err != nil {
			n.end(errors.New("the connection was given up: a frame was no JSON object"))
			return
		}
		n.client.receive(n, f)
	}
}

// write runs until the connection ends.
func (n *conn) write() {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-n.done:
			return
		case <-ticker.C:
			n.probe()
			continue
		case <-n.kick:
		}
		n.client.mu.Lock()
		frames := n.out
		n.out = nil
		n.client.mu.Unlock()
		for _, frame := range frames {
			_ = n.ws.SetWriteDeadline(time.Now().Add(writeTimeout)) // an error shows at the write
			if err := n.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
				_ = n.ws.Close() // the reader ends the rest
				return
			}
		}
	}
}

// probe asks for a sign of life if an answer is overdue: a half-open link shows itself in no other way before the heartbeat.
func (n *conn) probe() {
	overdue := time.Now().Add(-answerTimeout)
	n.client.mu.Lock()
	found := false
	for id, c := range n.commands {
		if !c.patient && c.sent.Before(overdue) {
			found = true
			c.sent = time.Now() // ask again only after as long again
			n.commands[id] = c
		}
	}
	n.client.mu.Unlock()
	if found {
		_ = n.ws.NetConn().SetReadDeadline(time.Now().Add(probeTimeout))
		_ = n.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
	}
}

// end is called once, by the reader.
func (n *conn) end(err error) {
	_ = n.ws.Close()
	n.err = err
	c := n.client
	c.mu.Lock()
	defer c.mu.Unlock()
	n.ended = true
	for id, sent := range n.commands {
		delete(n.commands, id)
		sent.lost(n)
	}
	c.lostLocked(n)
	close(n.done)
}

// leave says good-bye; the reader ends when the other side has answered, or has not within closeTimeout.
func (n *conn) leave() {
	_ = n.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(protocol.CloseNormal), ""), time.Now().Add(closeTimeout))
	time.AfterFunc(closeTimeout, func() { _ = n.ws.Close() })
}

// answerLocked gives an ack or error to the command it belongs to.
func (n *conn) answerLocked(f *serverFrame) {
	sent, found := n.commands[f.ID]
	if !found {
		if f.Type == "error" {
			n.client.options.Logger.Warn("the gateway reports an error", "code", f.Code, "message", f.Message)
		}
		return
	}
	delete(n.commands, f.ID)
	sent.answer(n, f)
}

// enteredLocked counts the joins that ready waits for.
func (n *conn) enteredLocked() {
	n.entering--
	if n.entering == 0 {
		close(n.ready)
	}
}

// owesLocked tells whether a publish still waits for its answer here.
func (n *conn) owesLocked() bool {
	for _, sent := range n.commands {
		if _, ok := sent.command.(*pending); ok {
			return true
		}
	}
	return false
}
