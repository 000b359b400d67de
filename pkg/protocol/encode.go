package protocol

import (
	"strconv"
	"unicode/utf8"
)

// The encoders append one JSON object to dst and return the extended slice; they never fail and keep nothing.

// Welcome is the first frame of every connection. Times are in milliseconds.
type Welcome struct {
	ConnectionID, UserID, Node string
	// ServerTime is since 1970.
	ServerTime      int64
	HeartbeatMS     int64
	MaxMessageBytes int
	// ExpiresAt is when the token ends, since 1970; 0: it does not.
	ExpiresAt int64
	// Inbox is nil where inboxes are not kept.
	Inbox *Position
}

// Position is a place in a log.
type Position struct {
	Epoch string
	// Offset is that of the newest message; 0: the log is empty.
	Offset int64
}

// AppendWelcome appends a welcome frame.
func AppendWelcome(dst []byte, w *Welcome) []byte {
	dst = append(dst, `{"type":"welcome","connection_id":`...)
	dst = AppendString(dst, w.ConnectionID)
	dst = append(dst, `,"user_id":`...)
	dst = AppendString(dst, w.UserID)
	dst = append(dst, `,"node":`...)
	dst = AppendString(dst, w.Node)
	dst = append(dst, `,"server_time":`...)
	dst = strconv.AppendInt(dst, w.ServerTime, 10)
	dst = append(dst, `,"heartbeat_ms":`...)
	dst = strconv.AppendInt(dst, w.HeartbeatMS, 10)
	dst = append(dst, `,"max_message_bytes":`...)
	dst = strconv.AppendInt(dst, int64(w.MaxMessageBytes), 10)
	if w.ExpiresAt != 0 {
		dst = append(dst, `,"expires_at":`...)
		dst = strconv.AppendInt(dst, w.ExpiresAt, 10)
	}
	if w.Inbox != nil {
		dst = append(dst, `,"inbox":{`...)
		dst = appendPosition(dst, *w.Inbox)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// Message is a publication as clients see it.
type Message struct {
	ID []byte
	// RoomID or TargetUserID says where it was published; exactly one is set.
	RoomID, TargetUserID []byte
	// From is the publishing user; empty: the server API.
	From string
	// Data is any JSON value, taken as it is.
	Data []byte
	// TS is when the publishing gateway took it, in milliseconds since 1970.
	TS int64
}

// Every message frame starts with its type and time, so that epoch and offset can be put in and the time be read without parsing.
const (
	messageStart = `{"type":"message"`
	timeStart    = `,"ts":`
)

// AppendMessage appends a message frame without epoch and offset, which are only known to the log: AppendMessageAt adds them.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = append(dst, messageStart+timeStart...)
	dst = strconv.AppendInt(dst, m.TS, 10)
	dst = append(dst, `,"message_id":`...)
	dst = AppendString(dst, m.ID)
	if m.RoomID != nil {
		dst = append(dst, `,"room_id":`...)
		dst = AppendString(dst, m.RoomID)
	} else {
		dst = append(dst, `,"target_user_id":`...)
		dst = AppendString(dst, m.TargetUserID)
	}
	if m.From != "" {
		dst = append(dst, `,"from":`...)
		dst = AppendString(dst, m.From)
	}
	dst = append(dst, `,"data":`...)
	dst = append(dst, m.Data...)
	return append(dst, '}')
}

// AppendMessageAt appends the message frame body, which AppendMessage made, with its place in the log. An offset of 0 means
// that there is no log: body is appended as it is.
func AppendMessageAt(dst, body []byte, at Position) []byte {
	if at.Offset == 0 {
		return append(dst, body...)
	}
	dst = append(dst, messageStart+`,`...)
	dst = appendPosition(dst, at)
	return append(dst, body[len(messageStart):]...)
}

// MessageTime returns the TS of a body that AppendMessage made, in milliseconds since 1970.
func MessageTime(body []byte) (ts int64) {
	for _, c := range body[min(len(body), len(messageStart+timeStart)):] {
		if c < '0' || c > '9' {
			break
		}
		ts = ts*10 + int64(c-'0')
	}
	return ts
}

func appendPosition(dst []byte, at Position) []byte {
	dst = append(dst, `"epoch":`...)
	dst = AppendString(dst, at.Epoch)
	dst = append(dst, `,"offset":`...)
	return strconv.AppendInt(dst, at.Offset, 10)
}

// AppendAck appends the ack of a command that has no result.
func AppendAck(dst, id []byte) []byte {
	return append(appendAckStart(dst, id), '}')
}

func appendAckStart(dst, id []byte) []byte {
	dst = append(dst, `{"type":"ack","id":`...)
	return AppendString(dst, id)
}

// AppendJoinAck appends the ack of a join or leave in a room without history.
func AppendJoinAck(dst, id, room []byte) []byte {
	dst = appendAckStart(dst, id)
	dst = append(dst, `,"room_id":`...)
	dst = AppendString(dst, room)
	return append(dst, '}')
}

// Recovery is what the ack of a join says in a room with history.
type Recovery struct {
	// At is the newest message; everything after it comes as message frames.
	At Position
	// Asked says that the client asked to recover, and Recovered that it gets everything it missed.
	Asked, Recovered bool
	// Messages are message frames, oldest first, joined by AppendListed; nil: the client asked for none.
	Messages []byte
}

// AppendRecoveryAck appends the ack of a join in a room with history.
func AppendRecoveryAck(dst, id, room []byte, r *Recovery) []byte {
	dst = appendAckStart(dst, id)
	dst = append(dst, `,"room_id":`...)
	dst = AppendString(dst, room)
	dst = append(dst, ',')
	dst = appendPosition(dst, r.At)
	if r.Asked {
		dst = append(dst, `,"recovered":`...)
		dst = strconv.AppendBool(dst, r.Recovered)
	}
	if r.Asked || r.Messages != nil {
		dst = append(dst, `,"messages":[`...)
		dst = append(dst, r.Messages...)
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// AppendListed appends a message frame to a list of them.
func AppendListed(list, body []byte, at Position) []byte {
	if len(list) > 0 {
		list = append(list, ',')
	}
	return AppendMessageAt(list, body, at)
}

// AppendHistoryAck appends the ack of a history command; next is empty when there is no more.
func AppendHistoryAck(dst, id []byte, at Position, messages []byte, next string) []byte {
	dst = appendAckStart(dst, id)
	dst = append(dst, ',')
	dst = appendPosition(dst, at)
	dst = append(dst, `,"messages":[`...)
	dst = append(dst, messages...)
	dst = append(dst, ']')
	if next != "" {
		dst = append(dst, `,"next":`...)
		dst = AppendString(dst, next)
	}
	return append(dst, '}')
}

// AppendMember appends an entry to a list of who is in a room.
func AppendMember(list []byte, user string, connections int) []byte {
	if len(list) > 0 {
		list = append(list, ',')
	}
	list = append(list, `{"user_id":`...)
	list = AppendString(list, user)
	list = append(list, `,"connections":`...)
	return append(strconv.AppendInt(list, int64(connections), 10), '}')
}

// AppendPresenceAck appends the ack of a presence command. members were joined by AppendMember; count is of users in the whole
// room; next is empty when there is no more.
func AppendPresenceAck(dst, id, members []byte, count int, next string) []byte {
	dst = appendAckStart(dst, id)
	dst = append(dst, `,"members":[`...)
	dst = append(dst, members...)
	dst = append(dst, `],"count":`...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	if next != "" {
		dst = append(dst, `,"next":`...)
		dst = AppendString(dst, next)
	}
	return append(dst, '}')
}

// AppendMemberChange appends a member_joined frame, or member_left where no connection of the user is left in the room.
func AppendMemberChange(dst []byte, room, user string, connections int) []byte {
	if connections > 0 {
		dst = append(dst, `{"type":"member_joined","room_id":`...)
	} else {
		dst = append(dst, `{"type":"member_left","room_id":`...)
	}
	dst = AppendString(dst, room)
	dst = append(dst, `,"user_id":`...)
	dst = AppendString(dst, user)
	dst = append(dst, `,"connections":`...)
	return append(strconv.AppendInt(dst, int64(connections), 10), '}')
}

// AppendEpochChanged appends an epoch_changed frame for a room, or for the user's inbox where room is empty.
func AppendEpochChanged(dst []byte, room string, at, previous Position) []byte {
	dst = append(dst, `{"type":"epoch_changed",`...)
	if room == "" {
		dst = append(dst, `"inbox":true,`...)
	} else {
		dst = append(dst, `"room_id":`...)
		dst = AppendString(dst, room)
		dst = append(dst, ',')
	}
	dst = appendPosition(dst, at)
	dst = append(dst, `,"previous":{`...)
	dst = appendPosition(dst, previous)
	return append(dst, '}', '}')
}

// AppendPublishAck appends the ack of a publish; an offset of 0 means that the target has no history.
func AppendPublishAck(dst, id, messageID []byte, at Position) []byte {
	dst = appendAckStart(dst, id)
	dst = append(dst, `,"message_id":`...)
	dst = AppendString(dst, messageID)
	if at.Offset != 0 {
		dst = append(dst, ',')
		dst = appendPosition(dst, at)
	}
	return append(dst, '}')
}

// AppendError appends an error frame; id may be empty.
func AppendError(dst, id []byte, code Code, message string) []byte {
	dst = append(dst, `{"type":"error"`...)
	if len(id) > 0 {
		dst = append(dst, `,"id":`...)
		dst = AppendString(dst, id)
	}
	dst = append(dst, `,"code":`...)
	dst = AppendString(dst, string(code))
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, message)
	return append(dst, '}')
}

// ReconnectReason says why a client is asked to connect anew.
type ReconnectReason string

// The reasons of reconnect frames.
const (
	ReconnectDraining      ReconnectReason = "draining"
	ReconnectRebalancing   ReconnectReason = "rebalancing"
	ReconnectTokenExpiring ReconnectReason = "token_expiring"
)

// AppendReconnect appends a reconnect frame; the delay is in milliseconds.
func AppendReconnect(dst []byte, reason ReconnectReason, delayMS int64) []byte {
	dst = append(dst, `{"type":"reconnect","reason":"`...)
	dst = append(dst, reason...)
	dst = append(dst, `","delay_ms":`...)
	dst = strconv.AppendInt(dst, delayMS, 10)
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
