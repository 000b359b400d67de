package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

func TestCommandsAndTheirAnswers(t *testing.T) {
	n := start(t, "memory://", nil)
	long := func(n int) string { return strings.Repeat("x", n) }
	const bad, unknown = `{"type":"error","code":"bad_request","message":"<anything>"}`, `{"type":"error","code":"unknown_type","message":"<anything>"}`
	withID := func(answer string) string { return strings.Replace(answer, `"type"`, `"id":"1","type"`, 1) }
	for _, test := range []struct{ name, command, answer string }{
		{"join acks with the room_id", `{"type":"join","id":"1","room_id":"r"}`, `{"type":"ack","id":"1","room_id":"r"}`},
		{"joining again is a no-op that acks", `{"type":"join","id":"1","room_id":"r"}`, `{"type":"ack","id":"1","room_id":"r"}`},
		{"leave acks", `{"type":"leave","id":"1","room_id":"r"}`, `{"type":"ack","id":"1","room_id":"r"}`},
		{"leaving a room not joined acks", `{"type":"leave","id":"1","room_id":"never"}`, `{"type":"ack","id":"1","room_id":"never"}`},
		{"ping acks", `{"type":"ping","id":"1"}`, `{"type":"ack","id":"1"}`},
		{"the ack of a publish to a user carries message_id", `{"type":"publish","id":"1","target_user_id":"nobody","data":1}`, `{"type":"ack","id":"1","message_id":"<anything>"}`},
		{"a join without an id succeeds silently", `{"type":"join","room_id":"r"}`, ""},
		{"a leave without an id succeeds silently", `{"type":"leave","room_id":"r"}`, ""},
		{"a ping without an id succeeds silently", `{"type":"ping"}`, ""},
		{"a publish without an id succeeds silently", `{"type":"publish","target_user_id":"nobody","data":1}`, ""},
		{"a failure without an id sends an error without id", `{"type":"publish","room_id":"r","data":1}`, `{"type":"error","code":"not_joined","message":"<anything>"}`},
		{"a failure with an id sends an error with it", `{"type":"publish","id":"1","room_id":"r","data":1}`, `{"type":"error","id":"1","code":"not_joined","message":"<anything>"}`},
		{"an id comes back as it was, whatever is in it", `{"type":"ping","id":"\u00e9\"\\ \ud83d\ude00"}`, `{"type":"ack","id":"é\"\\ 😀"}`},
		{"unknown extra fields are ignored", `{"type":"ping","id":"1","colour":"red","nested":{"type":"join"}}`, `{"type":"ack","id":"1"}`},

		{"JSON that does not parse gets an error", `{"type":"ping"`, bad},
		{"JSON that is no object gets an error", `["ping"]`, bad},
		{"an empty frame gets an error", ``, bad},
		{"an unknown type gets an error", `{"type":"dance","id":"1"}`, withID(unknown)},
		{"a missing type gets an error", `{"id":"1"}`, withID(bad)},
		{"a type that is no string gets an error", `{"type":1,"id":"1"}`, withID(bad)},
		{"a join without room_id gets an error", `{"type":"join","id":"1"}`, withID(bad)},
		{"a leave without room_id gets an error", `{"type":"leave","id":"1"}`, withID(bad)},
		{"a publish without data gets an error", `{"type":"publish","id":"1","room_id":"r"}`, withID(bad)},
		{"a publish without a target gets an error", `{"type":"publish","id":"1","data":1}`, withID(bad)},
		{"a publish with two targets gets an error", `{"type":"publish","id":"1","room_id":"r","target_user_id":"u","data":1}`, withID(bad)},
		{"a presence command without room_id gets an error", `{"type":"presence","id":"1"}`, withID(bad)},
		{"a history command without room_id or inbox gets an error", `{"type":"history","id":"1"}`, withID(bad)},
		{"an auth command without token gets an error", `{"type":"auth","id":"1"}`, withID(bad)},

		{"a room_id of 256 bytes is in bounds", `{"type":"join","id":"1","room_id":"` + long(256) + `"}`, `{"type":"ack","id":"1","room_id":"` + long(256) + `"}`},
		{"a room_id of 257 bytes is bad_request", `{"type":"join","id":"1","room_id":"` + long(257) + `"}`, `{"type":"error","id":"1","code":"bad_request","message":"room_id must be at most 256 bytes"}`},
		{"bytes count, not characters: 129 é are 258", `{"type":"join","id":"1","room_id":"` + strings.Repeat("é", 129) + `"}`, `{"type":"error","id":"1","code":"bad_request","message":"room_id must be at most 256 bytes"}`},
		{"an empty room_id is bad_request", `{"type":"join","id":"1","room_id":""}`, `{"type":"error","id":"1","code":"bad_request","message":"room_id must not be empty"}`},
		{"a room_id with a control character is bad_request", `{"type":"join","id":"1","room_id":"a\u0000b"}`, `{"type":"error","id":"1","code":"bad_request","message":"room_id must not contain control characters"}`},
		{"a room_id with a C1 control character is bad_request", `{"type":"join","id":"1","room_id":"a\u0085b"}`, `{"type":"error","id":"1","code":"bad_request","message":"room_id must not contain control characters"}`},
		{"a target_user_id of 257 bytes is bad_request", `{"type":"publish","id":"1","target_user_id":"` + long(257) + `","data":1}`, `{"type":"error","id":"1","code":"bad_request","message":"target_user_id must be at most 256 bytes"}`},
		{"an id of 64 bytes is in bounds", `{"type":"ping","id":"` + long(64) + `"}`, `{"type":"ack","id":"` + long(64) + `"}`},
		{"an id of 65 bytes is bad_request", `{"type":"ping","id":"` + long(65) + `"}`, `{"type":"error","code":"bad_request","message":"id must be at most 64 bytes"}`},
		{"an empty id is bad_request", `{"type":"ping","id":""}`, `{"type":"error","code":"bad_request","message":"id must not be empty"}`},
		{"an id that is a number is bad_request", `{"type":"ping","id":7}`, `{"type":"error","code":"bad_request","message":"id must be a string"}`},
		{"an idempotency_key of 128 bytes is in bounds", `{"type":"publish","id":"1","target_user_id":"u","data":1,"idempotency_key":"` + long(128) + `"}`, `{"type":"ack","id":"1","message_id":"<anything>"}`},
		{"an idempotency_key of 129 bytes is bad_request", `{"type":"publish","id":"1","target_user_id":"u","data":1,"idempotency_key":"` + long(129) + `"}`, `{"type":"error","id":"1","code":"bad_request","message":"idempotency_key must be at most 128 bytes"}`},
		{"an offset over 2^53-1 is bad_request", `{"type":"join","id":"1","room_id":"r","recover":{"epoch":"e","offset":9007199254740992}}`, withID(bad)},
		{"a limit over 1000 is bad_request", `{"type":"history","id":"1","room_id":"r","limit":1001}`, withID(bad)},
		{"echo that is no boolean is bad_request", `{"type":"publish","id":"1","room_id":"r","data":1,"echo":0}`, withID(bad)},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := n.dial(t, "alice")
			c.send(test.command)
			if test.answer != "" {
				c.want(test.answer)
			}
			c.nothing() // exactly one ack or error, and the connection stays open
		})
	}
}

func TestEveryCommandGetsExactlyOneAnswer(t *testing.T) {
	nodes, _ := startFleet(t, 1, nil)
	c := nodes[0].dial(t, "alice")
	commands := []string{`"type":"join","room_id":"r#"`, `"type":"publish","room_id":"r#","data":1`, `"type":"leave","room_id":"r#"`, `"type":"ping"`,
		`"type":"publish","target_user_id":"bob#","data":1`, `"type":"nonsense"`, `"type":"publish","room_id":"other#","data":1`}
	const count = 3000
	for i := range count {
		room := fmt.Sprint(i / len(commands) % 50)
		c.send(fmt.Sprintf(`{"id":"%d",`, i) + strings.ReplaceAll(commands[i%len(commands)], "#", room) + "}")
	}
	answers := map[string]int{}
	for len(answers) < count {
		switch frame := c.next(); frame["type"] {
		case "ack", "error":
			answers[frame["id"].(string)]++
		case "message":
		default:
			t.Fatalf("unexpected frame %v", frame)
		}
	}
	c.nothing()
	for id, n := range answers {
		if n != 1 {
			t.Errorf("command %s got %d answers", id, n)
		}
	}
}

func TestTenBadFramesInARowCloseWith1008(t *testing.T) {
	n := start(t, "memory://", nil)
	bad := []string{`{`, `[]`, `{"type":"dance"}`, `{"type":"join"}`, `{"type":"join","room_id":5}`, `x`, `{"type":"publish","room_id":"r"}`, ``, `null`, `{"type":"ping","id":""}`}
	t.Run("ten of any kind", func(t *testing.T) {
		c := n.dial(t, "alice")
		for i, frame := range bad {
			c.send(frame)
			if got := c.next(); got["type"] != "error" {
				t.Fatalf("bad frame %d got %v", i+1, got)
			}
		}
		c.wantClose(protocol.ClosePolicy)
	})
	t.Run("a good one between begins the count anew", func(t *testing.T) {
		c := n.dial(t, "alice")
		for range 3 {
			for _, frame := range bad[:9] {
				c.send(frame)
				c.next()
			}
			c.nothing()
		}
	})
	t.Run("a command that is refused is no bad frame", func(t *testing.T) {
		c := n.dial(t, "alice")
		for range 20 {
			c.do(`{"type":"publish","room_id":"r","data":1}`, `{"type":"error","code":"not_joined","message":"<anything>"}`)
		}
	})
	if got := n.metric(t, `wscluster_disconnects_total{reason="bad_frames"}`); got != 1 {
		t.Errorf("%v connections are counted as closed for bad frames, want 1", got)
	}
}

func TestFramesThatCloseTheConnection(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Limits.MaxMessageBytes = 1000 })
	padded := func(size int) []byte {
		const frame = `{"type":"ping","id":"1","pad":""}`
		return []byte(strings.Replace(frame, `""}`, `"`+strings.Repeat("x", size-len(frame))+`"}`, 1))
	}
	for _, test := range []struct {
		name  string
		kind  int
		frame []byte
		code  protocol.CloseCode
	}{
		{"a binary frame closes with 1003", websocket.BinaryMessage, []byte(`{"type":"ping"}`), protocol.CloseUnsupported},
		{"invalid UTF-8 closes with 1007", websocket.TextMessage, []byte("{\"type\":\"ping\",\"id\":\"\xff\"}"), protocol.CloseInvalidUTF8},
		{"a frame over max_message_bytes closes with 1009", websocket.TextMessage, padded(1001), protocol.CloseTooBig},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := n.dial(t, "alice")
			if err := c.ws.WriteMessage(test.kind, test.frame); err != nil {
				t.Fatal(err)
			}
			c.wantClose(test.code)
		})
	}
	t.Run("a frame of exactly max_message_bytes is served", func(t *testing.T) {
		n.dial(t, "alice").do(string(padded(1000)), `{"type":"ack","id":"1"}`)
	})
	t.Run("a client's close is answered with its code", func(t *testing.T) {
		c := n.dial(t, "alice")
		_ = c.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
		c.wantClose(protocol.CloseNormal)
	})
}

func TestMessagesHaveTheirFieldsAndDataByteForByte(t *testing.T) {
	n := start(t, "memory://", nil)
	alice, bob := n.dial(t, "alice"), n.dial(t, "bob")
	alice.join("r")
	bob.join("r")
	for _, data := range []string{`null`, `true`, `""`, `0`, `-0.0`, `1e400`, `12345678901234567890.123456789012345678901234567890`, `[]`, `{}`,
		`{"b":1,"a":2,"a":3}`, `"\u00e9\/\ud83d\ude00 é😀"`, `"\ud800 alone"`, `"</script>&"`, "\"\u2028\u2029\"", `[[[[[[[[1]]]]]]]]`, `{"type":"welcome","id":"x"}`} {
		t.Run(data, func(t *testing.T) {
			alice.send(`{"type":"publish","id":"1","room_id":"r","data":` + data + `}`)
			bobs := bob.raw()
			alices := alice.raw()
			if !bytes.Equal(alices, bobs) {
				t.Errorf("two members got different frames:\n%s\n%s", alices, bobs)
			}
			var message map[string]json.RawMessage
			if err := json.Unmarshal(bobs, &message); err != nil {
				t.Fatal(err)
			}
			if got := string(message["data"]); got != data {
				t.Errorf("data %s came as %s", data, got)
			}
			id := alice.want(`{"type":"ack","id":"1","message_id":"<anything>"}`)["message_id"]
			want, _ := json.Marshal(map[string]any{"type": "message", "message_id": id, "room_id": "r", "from": "alice", "ts": anything, "data": anything})
			frame := decode(t, bobs)
			frame["data"] = anything
			if diff := difference(t, string(want), frame); diff != "" {
				t.Errorf("the message differs (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a direct message carries target_user_id and no room_id", func(t *testing.T) {
		alice.do(`{"type":"publish","id":"2","target_user_id":"bob","data":"hi"}`, `{"type":"ack","id":"2","message_id":"<anything>"}`)
		bob.want(`{"type":"message","message_id":"<anything>","target_user_id":"bob","from":"alice","ts":"<anything>","data":"hi"}`)
		alice.nothing()
	})
	t.Run("insignificant white space around data does no harm", func(t *testing.T) {
		alice.send("{\"type\":\"publish\",\n\"target_user_id\" : \"bob\" , \"data\":\t[ 1 ,\n2 ] }")
		bob.want(`{"type":"message","message_id":"<anything>","target_user_id":"bob","from":"alice","ts":"<anything>","data":[1,2]}`)
	})
	t.Run("message ids are all different", func(t *testing.T) {
		var ids []string
		for range 1000 {
			ids = append(ids, alice.do(`{"type":"publish","id":"3","target_user_id":"nobody","data":1}`, `{"type":"ack","id":"3","message_id":"<anything>"}`)["message_id"].(string))
		}
		slices.Sort(ids)
		if n := len(slices.Compact(ids)); n != 1000 {
			t.Errorf("1000 messages have %d ids", n)
		}
	})
}
