package hub_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// listener is a client in one room that holds the hub to its word: every offset of an epoch once and in order, and no other
// epoch without an epoch_changed frame. It collects the bytes that the hub sends and decodes them as a client would. It is not
// a real connection so that a test decides how fast the client reads, and so that time can be a bubble's; package gateway has
// the tests with real ones.
type listener struct {
	t      *testing.T
	client *hub.Client
	room   string

	mu sync.Mutex
	// at is where the client stands in the log, once placed by the ack of its join.
	at     protocol.Position
	placed bool
	acks   []protocol.Recovery
	// frames are everything that came, in order: "ack", "epoch_changed", or a message's data.
	frames  []string
	changes []epochChanged
	// held says that the client takes nothing: queued bytes pile up.
	held   bool
	queued int
	// most is the most bytes that were ever queued.
	most int
	// stall, if set, is called before frames are taken; it stands for a fan-out that takes long.
	stall  func()
	closed protocol.CloseCode
	wrong  bool
	// quiet says that the client asked not to hear itself: its offsets have holes where its own messages are.
	quiet bool
}

type frame struct {
	Type     string `json:"type"`
	Room     string `json:"room_id"`
	Inbox    bool   `json:"inbox"`
	Epoch    string `json:"epoch"`
	Offset   int64  `json:"offset"`
	Data     any    `json:"data"`
	Message  string `json:"message_id"`
	Previous protocol.Position
}

type epochChanged struct{ to, from protocol.Position }

func (l *listener) failf(format string, args ...any) {
	if l.wrong {
		return // the first breach says it; the rest follows from it
	}
	l.wrong = true
	l.t.Errorf("%s in %q at %s/%d, after %v: %s", l.client.ID, l.room, l.at.Epoch, l.at.Offset, tail(l.frames), fmt.Sprintf(format, args...))
}

func tail(list []string) []string { return list[max(0, len(list)-8):] }

// Send takes the frames apart.
func (l *listener) Send(b *socket.Buffer) {
	if l.stall != nil {
		l.stall()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		l.queued += len(b.B)
		l.most = max(l.most, l.queued)
	}
	raw := b.B
	for len(raw) > 0 {
		if raw[0] != 0x81 {
			l.failf("a frame begins with %#x, want a whole text frame", raw[0])
			return
		}
		size, header := int(raw[1]), 2
		switch size {
		case 126:
			size, header = int(binary.BigEndian.Uint16(raw[2:])), 4
		case 127:
			size, header = int(binary.BigEndian.Uint64(raw[2:])), 10
		}
		if len(raw) < header+size {
			l.failf("a frame of %d bytes is cut at %d", size, len(raw)-header)
			return
		}
		l.take(raw[header : header+size])
		raw = raw[header+size:]
	}
}

func (l *listener) take(payload []byte) {
	var f frame
	if err := json.Unmarshal(payload, &f); err != nil {
		l.failf("%v in %q", err, payload)
		return
	}
	switch f.Type {
	case "message":
		l.message(&f)
	case "epoch_changed":
		l.frames = append(l.frames, "epoch_changed")
		if f.Previous.Epoch != l.at.Epoch || f.Previous.Offset > l.at.Offset {
			l.failf("epoch_changed from %+v", f.Previous)
		}
		l.at = protocol.Position{Epoch: f.Epoch, Offset: f.Offset}
		l.changes = append(l.changes, epochChanged{to: l.at, from: f.Previous})
	default:
		l.failf("unexpected frame %s", payload)
	}
}

func (l *listener) message(f *frame) {
	switch {
	case !l.placed:
		l.failf("message %v came before the ack", f.Data)
	case f.Offset == 0 && f.Epoch == "":
	case l.quiet && f.Epoch == l.at.Epoch && f.Offset > l.at.Offset:
		l.at.Offset = f.Offset
	case f.Epoch != l.at.Epoch || f.Offset != l.at.Offset+1:
		l.failf("message %v came with %s/%d", f.Data, f.Epoch, f.Offset)
	default:
		l.at.Offset = f.Offset
	}
	l.frames = append(l.frames, fmt.Sprint(f.Data))
}

// joined is the ack of a join.
func (l *listener) joined(r protocol.Recovery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, r)
	l.frames = append(l.frames, "ack")
	if l.held {
		l.queued += len(r.Messages)
		l.most = max(l.most, l.queued)
	}
	if l.placed && len(l.acks) > 1 && !l.replaced(r) {
		return
	}
	l.placed, l.at = true, r.At
	var list []frame
	if err := json.Unmarshal(fmt.Appendf(nil, "[%s]", r.Messages), &list); err != nil {
		l.failf("the ack's messages: %v in %q", err, r.Messages)
	}
	if len(list) > 0 {
		l.at = protocol.Position{Epoch: list[0].Epoch, Offset: list[0].Offset - 1}
	}
	for i := range list {
		l.message(&list[i])
	}
}

// replaced tells whether an ack that is not the first is of a join after a leave. One of a join that changes nothing must say
// where the client stands.
func (l *listener) replaced(r protocol.Recovery) bool {
	if r.Messages != nil {
		return true
	}
	if r.At != l.at {
		l.failf("joining again said %+v", r.At)
	}
	return false
}

// Queued returns what a held client has not taken.
func (l *listener) Queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queued
}

// Close notes why the hub ends the connection.
func (l *listener) Close(code uint16, _ string, _ socket.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed == 0 {
		l.closed = protocol.CloseCode(code)
	}
}

// hold has the client take nothing until it reads.
func (l *listener) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

// read has a held client take what is queued.
func (l *listener) read() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = 0
}

// got returns what came so far, without acks and epoch_changed frames.
func (l *listener) got() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gotLocked()
}

func (l *listener) gotLocked() []string {
	return slices.DeleteFunc(slices.Clone(l.frames), func(f string) bool { return f == "ack" || f == "epoch_changed" })
}

// sequence returns everything that came in one line.
func (l *listener) sequence() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.frames, " ")
}

func (l *listener) position() protocol.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

func (l *listener) acked() []protocol.Recovery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acks)
}

func (l *listener) epochChanges() []epochChanged {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.changes)
}

func (l *listener) closeCode() protocol.CloseCode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
