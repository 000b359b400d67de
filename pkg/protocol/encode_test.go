package protocol

import (
	"encoding/json"
	"testing"
)

func TestFramesReadAsTheContractSays(t *testing.T) {
	message := AppendMessage(nil, &Message{ID: []byte("m1"), RoomID: []byte("lob\"by"), From: "alice", Data: []byte(`{"t":"hi"}`), TS: 17})
	tests := map[string]struct{ got, want string }{
		"welcome": {string(AppendWelcome(nil, &Welcome{ConnectionID: "c", UserID: "u\n", Node: "n", ServerTime: 1, HeartbeatMS: 25000, MaxMessageBytes: 65536})),
			`{"type":"welcome","connection_id":"c","user_id":"u\n","node":"n","server_time":1,"heartbeat_ms":25000,"max_message_bytes":65536}`},
		"welcome with a token and an inbox": {string(AppendWelcome(nil, &Welcome{ConnectionID: "c", UserID: "u", Node: "n", ExpiresAt: 9, Inbox: &Position{"e", 4}})),
			`{"type":"welcome","connection_id":"c","user_id":"u","node":"n","server_time":0,"heartbeat_ms":0,"max_message_bytes":0,"expires_at":9,"inbox":{"epoch":"e","offset":4}}`},
		"message": {string(message), `{"type":"message","ts":17,"message_id":"m1","room_id":"lob\"by","from":"alice","data":{"t":"hi"}}`},
		"message to a user from the server": {string(AppendMessage(nil, &Message{ID: []byte("m1"), TargetUserID: []byte("bob"), Data: []byte(`1`), TS: 17})),
			`{"type":"message","ts":17,"message_id":"m1","target_user_id":"bob","data":1}`},
		"message in a log": {string(AppendMessageAt(nil, message, Position{"e", 5})),
			`{"type":"message","epoch":"e","offset":5,"ts":17,"message_id":"m1","room_id":"lob\"by","from":"alice","data":{"t":"hi"}}`},
		"message without a log": {string(AppendMessageAt(nil, message, Position{})), string(message)},
		"ack":                   {string(AppendAck(nil, []byte("7"))), `{"type":"ack","id":"7"}`},
		"ack of a join":         {string(AppendJoinAck(nil, []byte("7"), []byte("r"))), `{"type":"ack","id":"7","room_id":"r"}`},
		"ack of a join in a room with history": {string(AppendRecoveryAck(nil, []byte("7"), []byte("r"), &Recovery{At: Position{"e", 5}})),
			`{"type":"ack","id":"7","room_id":"r","epoch":"e","offset":5}`},
		"ack of a join that recovers": {string(AppendRecoveryAck(nil, []byte("7"), []byte("r"), &Recovery{At: Position{"e", 5}, Asked: true, Recovered: true, Messages: AppendListed(AppendListed(nil, message, Position{"e", 4}), message, Position{"e", 5})})),
			`{"type":"ack","id":"7","room_id":"r","epoch":"e","offset":5,"recovered":true,"messages":[` +
				`{"type":"message","epoch":"e","offset":4,"ts":17,"message_id":"m1","room_id":"lob\"by","from":"alice","data":{"t":"hi"}},` +
				`{"type":"message","epoch":"e","offset":5,"ts":17,"message_id":"m1","room_id":"lob\"by","from":"alice","data":{"t":"hi"}}]}`},
		"ack of a join that cannot recover": {string(AppendRecoveryAck(nil, []byte("7"), []byte("r"), &Recovery{At: Position{"e", 0}, Asked: true})),
			`{"type":"ack","id":"7","room_id":"r","epoch":"e","offset":0,"recovered":false,"messages":[]}`},
		"ack of a history": {string(AppendHistoryAck(nil, []byte("7"), Position{"e", 5}, nil, "n")), `{"type":"ack","id":"7","epoch":"e","offset":5,"messages":[],"next":"n"}`},
		"a room's new epoch": {string(AppendEpochChanged(nil, "r", Position{"f", 0}, Position{"e", 5})),
			`{"type":"epoch_changed","room_id":"r","epoch":"f","offset":0,"previous":{"epoch":"e","offset":5}}`},
		"an inbox's new epoch": {string(AppendEpochChanged(nil, "", Position{"f", 3}, Position{"e", 5})),
			`{"type":"epoch_changed","inbox":true,"epoch":"f","offset":3,"previous":{"epoch":"e","offset":5}}`},
		"ack of a presence": {string(AppendPresenceAck(nil, []byte("7"), AppendMember(AppendMember(nil, "a\"", 1), "b", 20), 100, "b")),
			`{"type":"ack","id":"7","members":[{"user_id":"a\"","connections":1},{"user_id":"b","connections":20}],"count":100,"next":"b"}`},
		"ack of a presence in an empty room": {string(AppendPresenceAck(nil, []byte("7"), nil, 0, "")), `{"type":"ack","id":"7","members":[],"count":0}`},
		"a user who comes":                   {string(AppendMemberChange(nil, "r", "a", 2)), `{"type":"member_joined","room_id":"r","user_id":"a","connections":2}`},
		"a user who goes":                    {string(AppendMemberChange(nil, "r", "a", 0)), `{"type":"member_left","room_id":"r","user_id":"a","connections":0}`},
		"ack of a publish":                   {string(AppendPublishAck(nil, []byte("7"), []byte("m"), Position{})), `{"type":"ack","id":"7","message_id":"m"}`},
		"ack of a logged one":                {string(AppendPublishAck(nil, []byte("7"), []byte("m"), Position{"e", 2})), `{"type":"ack","id":"7","message_id":"m","epoch":"e","offset":2}`},
		"error":                              {string(AppendError(nil, []byte("7"), CodeForbidden, "no")), `{"type":"error","id":"7","code":"forbidden","message":"no"}`},
		"error without an id":                {string(AppendError(nil, nil, CodeBadRequest, "no")), `{"type":"error","code":"bad_request","message":"no"}`},
		"reconnect":                          {string(AppendReconnect(nil, ReconnectDraining, 1500)), `{"type":"reconnect","reason":"draining","delay_ms":1500}`},
	}
	if got := MessageTime(message); got != 17 {
		t.Errorf("the time of the message reads as %d, want 17", got)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("got  %s\nwant %s", test.got, test.want)
			}
			if !json.Valid([]byte(test.got)) {
				t.Errorf("not valid JSON: %s", test.got)
			}
		})
	}
}

func TestReconnectAfterClose(t *testing.T) {
	for code, want := range map[CloseCode]bool{
		CloseNormal: true, CloseGoingAway: true, CloseInternal: true, CloseRestart: true, CloseTryLater: true, CloseSlowConsumer: true,
		CloseUnsupported: false, CloseTooBig: false, ClosePolicy: false, CloseNoToken: false, CloseForbidden: false, CloseReplaced: false, CloseTokenExpired: false,
	} {
		if got := code.Reconnect(); got != want {
			t.Errorf("reconnect after %d: %v, want %v", code, got, want)
		}
	}
}
