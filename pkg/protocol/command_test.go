package protocol

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDecode(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	tests := map[string]struct {
		frame string
		want  Command
		err   *Error
	}{
		"a join of a room":                    {frame: `{"type":"join","room_id":"lobby"}`, want: Command{Type: CommandJoin, RoomID: b("lobby")}},
		"white space anywhere":                {frame: " {\n\"type\" :\t\"join\" , \"room_id\" : \"lobby\" } \r\n", want: Command{Type: CommandJoin, RoomID: b("lobby")}},
		"escapes in a room id":                {frame: `{"type":"join","room_id":"caf\u00e9 \ud83d\ude00 \"x\""}`, want: Command{Type: CommandJoin, RoomID: b(`café 😀 "x"`)}},
		"escapes in a field's name":           {frame: `{"\u0074ype":"ping"}`, want: Command{Type: CommandPing}},
		"of two equal names the last counts":  {frame: `{"type":"join","type":"ping"}`, want: Command{Type: CommandPing}},
		"a join with recovery and presence":   {frame: `{"type":"join","id":"1","room_id":"r","recover":{"epoch":"e","offset":7},"presence":true,"history":10}`, want: Command{Type: CommandJoin, ID: b("1"), RoomID: b("r"), Recover: true, RecoverEpoch: b("e"), RecoverOffset: 7, Presence: true, History: 10}},
		"a recovery from the very start":      {frame: `{"type":"join","room_id":"r","recover":{"epoch":"e","offset":0}}`, want: Command{Type: CommandJoin, RoomID: b("r"), Recover: true, RecoverEpoch: b("e")}},
		"a publish to a room":                 {frame: `{"type":"publish","id":"x","room_id":"r","data":{"a":[1, 2.5e-3,"s",null,true]}}`, want: Command{Type: CommandPublish, ID: b("x"), RoomID: b("r"), Data: b(`{"a":[1, 2.5e-3,"s",null,true]}`)}},
		"a publish of null":                   {frame: `{"type":"publish","room_id":"r","data":null}`, want: Command{Type: CommandPublish, RoomID: b("r"), Data: b(`null`)}},
		"a publish to a user without echo":    {frame: `{"type":"publish","target_user_id":"bob","data":1,"echo":false,"idempotency_key":"k"}`, want: Command{Type: CommandPublish, TargetUserID: b("bob"), Data: b(`1`), NoEcho: true, IdempotencyKey: b("k")}},
		"a null field counts as absent":       {frame: `{"type":"publish","id":null,"room_id":"r","target_user_id":null,"data":1}`, want: Command{Type: CommandPublish, RoomID: b("r"), Data: b(`1`)}},
		"unknown fields are ignored":          {frame: `{"type":"leave","room_id":"r","zzz":{"deep":[[]]},"data":{}}`, want: Command{Type: CommandLeave, RoomID: b("r")}},
		"a field of another command is noise": {frame: `{"type":"ping","room_id":5}`, want: Command{Type: CommandPing}},
		"a page of an inbox":                  {frame: `{"type":"history","inbox":true,"limit":1000,"since":3,"reverse":true,"next":"n"}`, want: Command{Type: CommandHistory, Inbox: true, Limit: 1000, Since: 3, Reverse: true, Next: b("n")}},
		"a token":                             {frame: `{"type":"auth","token":"a.b.c"}`, want: Command{Type: CommandAuth, Token: b("a.b.c")}},

		"no JSON":                      {frame: `hello`, err: &Error{CodeBadRequest, "the frame is not valid JSON"}},
		"an empty frame":               {frame: ``, err: &Error{CodeBadRequest, "the frame is not valid JSON"}},
		"an array":                     {frame: `[1]`, err: &Error{CodeBadRequest, "the frame must be a JSON object with a type"}},
		"a frame cut short":            {frame: `{"type":"ping"`, err: &Error{CodeBadRequest, "the frame is not valid JSON"}},
		"something after the object":   {frame: `{"type":"ping"} {}`, err: &Error{CodeBadRequest, "the frame is not valid JSON"}},
		"a comma too many":             {frame: `{"type":"ping",}`, err: &Error{CodeBadRequest, "the frame is not valid JSON"}},
		"no type":                      {frame: `{}`, err: &Error{CodeBadRequest, "type is missing"}},
		"a type that is no string":     {frame: `{"type":1}`, err: &Error{CodeBadRequest, "type must be a string"}},
		"an unknown type":              {frame: `{"type":"jion","id":"7"}`, want: Command{ID: b("7")}, err: &Error{CodeUnknownType, `type "jion" is not known: use join, leave, publish, presence, history, auth or ping`}},
		"no room":                      {frame: `{"type":"join","id":"7"}`, want: Command{Type: CommandJoin, ID: b("7")}, err: &Error{CodeBadRequest, "room_id is missing"}},
		"a room that is a number":      {frame: `{"type":"join","room_id":5}`, err: &Error{CodeBadRequest, "room_id must be a string"}},
		"an empty room id":             {frame: `{"type":"join","room_id":""}`, err: &Error{CodeBadRequest, "room_id must not be empty"}},
		"a room id of 257 bytes":       {frame: `{"type":"join","room_id":"` + strings.Repeat("x", 257) + `"}`, err: &Error{CodeBadRequest, "room_id must be at most 256 bytes"}},
		"a control character":          {frame: `{"type":"join","room_id":"a\u0007"}`, err: &Error{CodeBadRequest, "room_id must not contain control characters"}},
		"an id of 65 bytes":            {frame: `{"type":"ping","id":"` + strings.Repeat("x", 65) + `"}`, err: &Error{CodeBadRequest, "id must be at most 64 bytes"}},
		"room and user":                {frame: `{"type":"publish","room_id":"r","target_user_id":"u","data":1}`, err: &Error{CodeBadRequest, "give exactly one of room_id and target_user_id"}},
		"neither room nor user":        {frame: `{"type":"publish","data":1}`, err: &Error{CodeBadRequest, "give exactly one of room_id and target_user_id"}},
		"no data":                      {frame: `{"type":"publish","room_id":"r"}`, err: &Error{CodeBadRequest, "data is missing: give any JSON value"}},
		"an idempotency key too long":  {frame: `{"type":"publish","room_id":"r","data":1,"idempotency_key":"` + strings.Repeat("k", 129) + `"}`, err: &Error{CodeBadRequest, "idempotency_key must be at most 128 bytes"}},
		"echo that is no boolean":      {frame: `{"type":"publish","room_id":"r","data":1,"echo":"no"}`, err: &Error{CodeBadRequest, "echo must be true or false"}},
		"recovery without an offset":   {frame: `{"type":"join","room_id":"r","recover":{"epoch":"e"}}`, err: &Error{CodeBadRequest, "offset is missing in recover"}},
		"an offset that is too large":  {frame: `{"type":"join","room_id":"r","recover":{"epoch":"e","offset":9007199254740992}}`, err: &Error{CodeBadRequest, "offset must be a whole number from 0 to 9007199254740991"}},
		"a fraction for a limit":       {frame: `{"type":"presence","room_id":"r","limit":1.5}`, err: &Error{CodeBadRequest, "limit must be a whole number from 1 to 1000"}},
		"a limit of nothing":           {frame: `{"type":"presence","room_id":"r","limit":0}`, err: &Error{CodeBadRequest, "limit must be a whole number from 1 to 1000"}},
		"the history of two places":    {frame: `{"type":"history","room_id":"r","inbox":true}`, err: &Error{CodeBadRequest, "give either room_id or inbox: true, not both"}},
		"data nested beyond the bound": {frame: `{"type":"publish","room_id":"r","data":` + strings.Repeat("[", 1025) + strings.Repeat("]", 1025) + `}`, err: &Error{CodeBadRequest, "the frame is nested deeper than 1024 levels"}},
	}
	ignore := cmpopts.IgnoreUnexported(Command{})
	var c Command // reused, as a connection's reader does: nothing of one frame may show in the next
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := c.Decode([]byte(test.frame))
			if diff := cmp.Diff(test.err, err); diff != "" {
				t.Fatalf("error (-want +got):\n%s", diff)
			}
			if err != nil {
				test.want.Type, test.want.RoomID = c.Type, c.RoomID
				c = Command{Type: c.Type, RoomID: c.RoomID, ID: c.ID}
				if test.want.ID == nil {
					c.ID = nil
				}
			}
			if diff := cmp.Diff(test.want, c, ignore); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	frame := []byte(`{"type":"publish","id":"17","room_id":"room-1","data":{"text":"hello","n":[1,2,3]}}`)
	var c Command
	if n := testing.AllocsPerRun(100, func() {
		if err := c.Decode(frame); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("decoding a publish allocates %v times, want 0", n)
	}
}

func BenchmarkDecodePublish(b *testing.B) {
	frame := []byte(`{"type":"publish","id":"17","room_id":"room-1","data":"` + strings.Repeat("x", 128) + `"}`)
	var c Command
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Decode(frame); err != nil {
			b.Fatal(err)
		}
	}
}
