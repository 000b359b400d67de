package bench

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// wscluster is the dialect of our own gateways.
type wscluster struct{ options *Options }

var _ Dialect = (*wscluster)(nil)

// joinID begins the ids of joins; publishes have ids of hexadecimal digits.
const joinID = "join-"

func (d *wscluster) Handshake(client int) (string, http.Header) {
	header := http.Header{"Sec-WebSocket-Protocol": {protocol.Subprotocol}}
	if n := len(d.options.Tokens); n > 0 {
		header.Set("Authorization", "Bearer "+d.options.Tokens[client%n])
	}
	return "user_id=" + url.QueryEscape(d.options.UserPrefix+strconv.Itoa(client)), header
}

func (d *wscluster) Opcode() byte { return OpText }

func (d *wscluster) Acks() bool { return true }

func (d *wscluster) Opened(c *Conn) {
	var b []byte
	for m := range c.Rooms {
		b = append(b[:0], `{"type":"join","id":"`+joinID...)
		b = strconv.AppendInt(b, int64(m.Place), 10)
		b = append(b, `","room_id":`...)
		b = protocol.AppendString(b, m.Name)
		if m.Epoch != "" {
			b = append(b, `,"recover":{"epoch":`...)
			b = protocol.AppendString(b, m.Epoch)
			b = append(b, `,"offset":`...)
			b = strconv.AppendInt(b, m.Offset, 10)
			b = append(b, '}')
		}
		c.Send(append(b, '}'))
	}
}

func (d *wscluster) AppendPublish(dst []byte, room string, id, data []byte) []byte {
	dst = append(dst, `{"type":"publish","id":"`...)
	dst = append(dst, id...)
	dst = append(dst, `","room_id":`...)
	dst = protocol.AppendString(dst, room)
	dst = append(dst, `,"data":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}

var (
	messageStart    = []byte(`{"type":"message"`)
	positionedStart = []byte(`{"type":"message","epoch":"`)
	publishAckStart = []byte(`{"type":"ack","id":"`)
)

// Received reads the frames that come often by their fixed beginnings, the others as JSON.
func (d *wscluster) Received(c *Conn, p []byte) {
	switch {
	case bytes.HasPrefix(p, messageStart):
		s, _, ok := NextStamp(p)
		if !ok {
			return
		}
		c.Delivered(s)
		if epoch, offset, ok := messagePosition(p); ok {
			c.generator.positioned(c, s, epoch, offset)
		}
		return
	case bytes.HasPrefix(p, publishAckStart) && len(p) > len(publishAckStart)+stampHex:
		if s, ok := parseID(p[len(publishAckStart):]); ok {
			c.acked(s)
			return
		}
	}
	d.other(c, p)
}

// messagePosition returns the place in the log, which stands right after the type.
func messagePosition(p []byte) (epoch []byte, offset int64, ok bool) {
	rest, ok := bytes.CutPrefix(p, positionedStart)
	if !ok {
		return nil, 0, false
	}
	epoch, rest, ok = bytes.Cut(rest, []byte(`","offset":`))
	if !ok {
		return nil, 0, false
	}
	for _, b := range rest {
		if b < '0' || b > '9' {
			break
		}
		offset = offset*10 + int64(b-'0')
	}
	return epoch, offset, true
}

// other handles what comes seldom.
func (d *wscluster) other(c *Conn, p []byte) {
	var frame struct {
		Type        string            `json:"type"`
		ID          string            `json:"id"`
		Code        string            `json:"code"`
		Message     string            `json:"message"`
		DelayMS     int64             `json:"delay_ms"`
		HeartbeatMS int64             `json:"heartbeat_ms"`
		Node        string            `json:"node"`
		RoomID      string            `json:"room_id"`
		Epoch       string            `json:"epoch"`
		Offset      int64             `json:"offset"`
		Recovered   *bool             `json:"recovered"`
		Messages    []json.RawMessage `json:"messages"`
	}
	if json.Unmarshal(p, &frame) != nil {
		c.generator.strange++
		return
	}
	switch frame.Type {
	case "welcome":
		c.generator.nodes[frame.Node]++
		c.node = frame.Node
		c.Heartbeat(time.Duration(frame.HeartbeatMS) * time.Millisecond)
	case "ack":
		place, ok := cutPlace(frame.ID)
		if !ok {
			return
		}
		for _, m := range frame.Messages {
			d.Received(c, m)
		}
		c.generator.joinPosition(c, place, frame.Epoch, frame.Offset, frame.Recovered != nil && !*frame.Recovered)
		c.Joined(1)
	case "error":
		c.Failed([]byte(frame.ID), frame.Code)
		c.generator.sentence(frame.Code, frame.Message)
		if _, ok := cutPlace(frame.ID); ok {
			c.generator.joinRefused(c)
		}
	case "reconnect":
		delay := time.Duration(frame.DelayMS) * time.Millisecond
		c.generator.askedBy(c.node, delay)
		c.Moving(delay)
	case "epoch_changed":
		c.generator.epochChanged(frame.RoomID)
	}
}

func cutPlace(id string) (int, bool) {
	text, ok := bytes.CutPrefix([]byte(id), []byte(joinID))
	place, err := strconv.Atoi(string(text))
	return place, ok && err == nil
}
