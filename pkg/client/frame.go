package client

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// serverFrame is any frame of a gateway; which fields are set depends on Type.
type serverFrame struct {
	Type string `json:"type"`
	ID   string `json:"id"`

	// welcome
	ConnectionID    string          `json:"connection_id"`
	UserID          string          `json:"user_id"`
	Node            string          `json:"node"`
	ServerTime      int64           `json:"server_time"`
	HeartbeatMS     int64           `json:"heartbeat_ms"`
	MaxMessageBytes int             `json:"max_message_bytes"`
	ExpiresAt       int64           `json:"expires_at"`
	Inbox           json.RawMessage `json:"inbox"` // an object in a welcome, true in epoch_changed

	// message, acks, epoch_changed
	MessageID    string          `json:"message_id"`
	RoomID       string          `json:"room_id"`
	TargetUserID string          `json:"target_user_id"`
	From         string          `json:"from"`
	Data         json.RawMessage `json:"data"`
	TS           int64           `json:"ts"`
	Epoch        string          `json:"epoch"`
	Offset       int64           `json:"offset"`
	Recovered    *bool           `json:"recovered"`
	Messages     []serverFrame   `json:"messages"`

	// presence acks, member_joined, member_left
	Members     []Member `json:"members"`
	Count       int      `json:"count"`
	Next        string   `json:"next"`
	Connections int      `json:"connections"`

	// error
	Code    protocol.Code `json:"code"`
	Message string        `json:"message"`

	// reconnect
	Reason  protocol.ReconnectReason `json:"reason"`
	DelayMS int64                    `json:"delay_ms"`
}

func (f *serverFrame) at() protocol.Position {
	return protocol.Position{Epoch: f.Epoch, Offset: f.Offset}
}

// failure returns the error of an error frame, nil for an ack.
func (f *serverFrame) failure() *protocol.Error {
	if f.Type != "error" {
		return nil
	}
	return &protocol.Error{Code: f.Code, Message: f.Message}
}

func (f *serverFrame) asMessage() Message {
	return Message{
		ID: f.MessageID, Room: f.RoomID, User: f.TargetUserID, From: f.From, Data: f.Data, Time: time.UnixMilli(f.TS), At: f.at(),
	}
}

// inbox returns the place that a welcome names, or nil.
func (f *serverFrame) inbox() *protocol.Position {
	var at struct {
		Epoch  string `json:"epoch"`
		Offset int64  `json:"offset"`
	}
	if len(f.Inbox) == 0 || json.Unmarshal(f.Inbox, &at) != nil || at.Epoch == "" {
		return nil
	}
	return &protocol.Position{Epoch: at.Epoch, Offset: at.Offset}
}

// The encoders make one command each. id is this client's, and so needs no escapes.

func startCommand(kind, id string) []byte {
	return append(append(append(append([]byte(`{"type":"`), kind...), `","id":"`...), id...), '"')
}

func encodeJoin(id, room string, from *protocol.Position, history int, presence bool) []byte {
	b := protocol.AppendString(append(startCommand("join", id), `,"room_id":`...), room)
	if from != nil {
		b = protocol.AppendString(append(b, `,"recover":{"epoch":`...), from.Epoch)
		b = append(strconv.AppendInt(append(b, `,"offset":`...), from.Offset, 10), '}')
	}
	if history > 0 {
		b = strconv.AppendInt(append(b, `,"history":`...), int64(history), 10)
	}
	if presence {
		b = append(b, `,"presence":true`...)
	}
	return append(b, '}')
}

func encodePresence(id, room, next string, limit int) []byte {
	b := protocol.AppendString(append(startCommand("presence", id), `,"room_id":`...), room)
	if next != "" {
		b = protocol.AppendString(append(b, `,"next":`...), next)
	}
	if limit > 0 {
		b = strconv.AppendInt(append(b, `,"limit":`...), int64(limit), 10)
	}
	return append(b, '}')
}

func encodeLeave(id, room string) []byte {
	return append(protocol.AppendString(append(startCommand("leave", id), `,"room_id":`...), room), '}')
}

func encodePublish(id string, p *Publication, data []byte) []byte {
	b := startCommand("publish", id)
	if p.Room != "" {
		b = protocol.AppendString(append(b, `,"room_id":`...), p.Room)
	} else {
		b = protocol.AppendString(append(b, `,"target_user_id":`...), p.User)
	}
	b = protocol.AppendString(append(b, `,"idempotency_key":`...), p.IdempotencyKey)
	return append(append(append(b, `,"data":`...), data...), '}')
}

// encodeHistory asks for a page of a room, or of the inbox where room is empty.
func encodeHistory(id, room string, since int64, limit int) []byte {
	b := startCommand("history", id)
	if room == "" {
		b = append(b, `,"inbox":true`...)
	} else {
		b = protocol.AppendString(append(b, `,"room_id":`...), room)
	}
	b = strconv.AppendInt(append(b, `,"since":`...), since, 10)
	return append(strconv.AppendInt(append(b, `,"limit":`...), int64(limit), 10), '}')
}

func encodeAuth(id, token string) []byte {
	return append(protocol.AppendString(append(startCommand("auth", id), `,"token":`...), token), '}')
}
