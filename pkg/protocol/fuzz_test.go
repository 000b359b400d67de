package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzDecode holds the decoder to the same command read with encoding/json: both take and refuse the same frames, and every field
// comes out the same, data byte for byte. Seeds are in testdata/fuzz/FuzzDecode.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		if !utf8.Valid(frame) {
			return // refused by the frame reader
		}
		before := bytes.Clone(frame)
		var c Command
		err := c.Decode(frame)
		if !bytes.Equal(frame, before) {
			t.Fatalf("decoding changed %q into %q", before, frame)
		}
		if cap(c.scratch) > 2*len(frame)+64 {
			t.Errorf("a frame of %d bytes made the decoder keep %d", len(frame), cap(c.scratch))
		}
		if err != nil && err.Message == "the frame is "+errDeep.Error() {
			return // that bound is ours alone
		}
		if syntax := err != nil && err.Message == "the frame is "+errSyntax.Error(); json.Valid(frame) == syntax {
			t.Fatalf("encoding/json says valid=%v, we say %v", json.Valid(frame), err)
		}
		want, good := plainly(frame)
		if good != (err == nil) {
			t.Fatalf("read with encoding/json it is good=%v, we say %v", good, err)
		}
		if err != nil {
			refusal(t, &c, err)
			return
		}
		if diff := cmp.Diff(want, &c, cmpopts.IgnoreUnexported(Command{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-with encoding/json +ours):\n%s", diff)
		}
		if c.Type == CommandPublish {
			published(t, &c)
		}
	})
}

// refusal holds an error to one printable line of bounded length, whatever of the frame it repeats, that is sent as valid JSON.
func refusal(t *testing.T, c *Command, err *Error) {
	t.Helper()
	if err.Code != CodeBadRequest && err.Code != CodeUnknownType {
		t.Errorf("refused with %s", err.Code)
	}
	if len(err.Message) == 0 || len(err.Message) > 512 || strings.ContainsFunc(err.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q is not one line for people", err.Message)
	}
	var sent struct{ Type, ID, Code, Message string }
	frame := AppendError(nil, c.ID, err.Code, err.Message)
	if e := json.Unmarshal(frame, &sent); e != nil || sent.Type != "error" || sent.ID != string(c.ID) || sent.Message != err.Message {
		t.Errorf("the error frame is %s: %v", frame, e)
	}
}

// published follows a publish to the message that the members get.
func published(t *testing.T, c *Command) {
	t.Helper()
	body := AppendMessage(nil, &Message{ID: []byte("m-1"), RoomID: c.RoomID, TargetUserID: c.TargetUserID, From: "alice", Data: c.Data, TS: 1795441839002})
	at := Position{Epoch: "e", Offset: MaxOffset}
	var got struct {
		Type         string
		Room         string          `json:"room_id"`
		TargetUserID string          `json:"target_user_id"`
		Data         json.RawMessage `json:"data"`
		TS           int64           `json:"ts"`
		Epoch        string          `json:"epoch"`
		Offset       int64           `json:"offset"`
	}
	frame := AppendMessageAt(nil, body, at)
	if err := json.Unmarshal(frame, &got); err != nil {
		t.Fatalf("the message is no JSON: %v\n%s", err, frame)
	}
	if got.Type != "message" || got.Room != string(c.RoomID) || got.TargetUserID != string(c.TargetUserID) || !bytes.Equal(got.Data, c.Data) ||
		(Position{got.Epoch, got.Offset}) != at || got.TS != MessageTime(body) {
		t.Fatalf("published %q, and the members get %s", c.Data, frame)
	}
}

// fields are a JSON object's; of equal names the last one counts.
type fields map[string]json.RawMessage

// plainly reads a frame as docs/protocol.md says it, with encoding/json. It returns false where the frame is refused.
func plainly(frame []byte) (c *Command, good bool) {
	var all fields
	if json.Unmarshal(frame, &all) != nil || all == nil {
		return nil, false
	}
	r := reading{fields: all}
	c = &Command{ID: r.text("id", MaxIDBytes, false)}
	kind := r.text("type", MaxIDBytes, true)
	switch string(kind) {
	case "join":
		c.Type, c.RoomID = CommandJoin, r.name("room_id", true)
		c.History, c.Presence = int(r.number("history", 1, MaxLimit)), r.flag("presence", false)
		if r.has("recover") {
			var inner fields
			r.failed = r.failed || json.Unmarshal(all["recover"], &inner) != nil
			position := reading{fields: inner}
			c.Recover, c.RecoverEpoch, c.RecoverOffset = true, position.text("epoch", 0, true), position.number("offset", 0, MaxOffset)
			r.failed = r.failed || position.failed || !position.has("offset")
		}
	case "leave":
		c.Type, c.RoomID = CommandLeave, r.name("room_id", true)
	case "publish":
		c.Type, c.RoomID, c.TargetUserID = CommandPublish, r.name("room_id", false), r.name("target_user_id", false)
		c.Data, c.IdempotencyKey, c.NoEcho = all["data"], r.text("idempotency_key", MaxIdempotencyKeyBytes, false), !r.flag("echo", true)
		r.failed = r.failed || r.has("room_id") == r.has("target_user_id") || all["data"] == nil
	case "presence":
		c.Type, c.RoomID = CommandPresence, r.name("room_id", true)
		c.Limit, c.Next = int(r.number("limit", 1, MaxLimit)), r.text("next", 0, false)
	case "history":
		c.Type, c.Inbox = CommandHistory, r.flag("inbox", false)
		c.RoomID, c.Reverse, c.Since = r.name("room_id", !c.Inbox), r.flag("reverse", false), r.number("since", 0, MaxOffset)
		c.Limit, c.Next = int(r.number("limit", 1, MaxLimit)), r.text("next", 0, false)
		r.failed = r.failed || c.Inbox && r.has("room_id")
	case "auth":
		c.Type, c.Token = CommandAuth, r.text("token", 0, true)
	case "ping":
		c.Type = CommandPing
	default:
		return nil, false
	}
	return c, !r.failed
}

// reading reads an object's fields, and notes whether one was not what it should be.
type reading struct {
	fields
	failed bool
}

// has tells whether there is a field that is not null, which counts as absent.
func (r *reading) has(name string) bool {
	return r.fields[name] != nil && string(r.fields[name]) != "null"
}

// text returns a string of 1 to most bytes; most 0: of any length.
func (r *reading) text(name string, most int, required bool) []byte {
	if !r.has(name) {
		r.failed = r.failed || required
		return nil
	}
	var s string
	r.failed = r.failed || json.Unmarshal(r.fields[name], &s) != nil || s == "" || most > 0 && len(s) > most
	return []byte(s)
}

// name returns a room or user id.
func (r *reading) name(field string, required bool) []byte {
	s := r.text(field, MaxRoomIDBytes, required)
	r.failed = r.failed || bytes.ContainsFunc(s, unicode.IsControl)
	return s
}

func (r *reading) flag(name string, absent bool) bool {
	if !r.has(name) {
		return absent
	}
	var b bool
	r.failed = r.failed || json.Unmarshal(r.fields[name], &b) != nil
	return b
}

func (r *reading) number(name string, least, most int64) int64 {
	if !r.has(name) {
		return 0
	}
	var n int64
	r.failed = r.failed || json.Unmarshal(r.fields[name], &n) != nil || n < least || n > most
	return n
}

// FuzzAppendString holds that any string comes back from its JSON, also one that is no UTF-8, which loses only what is not.
func FuzzAppendString(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(s, string(utf8.RuneError)); utf8.ValidString(s) && back != want || !utf8.ValidString(back) {
			t.Fatalf("came back as %q, want %q", back, want)
		}
	})
}
