package protocol

import (
	"strings"
	"testing"
)

func TestWhatABackendPublishesIsReadAsStrictlyAsAFrame(t *testing.T) {
	deep := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	for name, test := range map[string]struct{ body, want string }{
		"data as it came, with white space around":  {" {\"data\" : {\"b\": 1,\n\"a\":1e400}} \n", ""},
		"unknown fields, another target, nulls":     {`{"data":null,"idempotency_key":null,"room_id":"other","x":[{}]}`, ""},
		"nested as deep as a client's":              {`{"data":` + deep[1:len(deep)-1] + `}`, ""},
		"one level more":                            {`{"data":[` + deep + `]}`, "the body is nested deeper than 1024 levels"},
		"no UTF-8":                                  {"{\"data\":\"\xff\xfe\"}", "the body is not valid UTF-8"},
		"a key that is no UTF-8":                    {"{\"data\":1,\"idempotency_key\":\"\xff\"}", "the body is not valid UTF-8"},
		"nothing":                                   {"", "the body is not valid JSON"},
		"half an object":                            {`{"data":`, "the body is not valid JSON"},
		"something behind the object":               {`{"data":1}{"data":2}`, "the body is not valid JSON"},
		"a list":                                    {`[{"data":1}]`, `a message must be a JSON object such as {"data": …}`},
		"a name in another case":                    {`{"Data":1}`, "data is missing: give any JSON value"},
		"an empty key":                              {`{"data":1,"idempotency_key":""}`, "idempotency_key must not be empty"},
		"a key that is a number":                    {`{"data":1,"idempotency_key":7}`, "idempotency_key must be a string"},
		"a key of 129 bytes":                        {`{"data":1,"idempotency_key":"` + strings.Repeat("k", 129) + `"}`, "idempotency_key must be at most 128 bytes"},
		"a room beside the path's that is a number": {`{"data":1,"room_id":7}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var c Command
			err := c.DecodePublication([]byte(test.body), false)
			switch {
			case err == nil && test.want != "":
				t.Fatalf("%q is taken, want: %s", test.body, test.want)
			case err != nil && (err.Message != test.want || err.Code != CodeBadRequest):
				t.Fatalf("%q: %s %q, want %q", test.body, err.Code, err.Message, test.want)
			case err == nil && (c.RoomID != nil || !strings.Contains(test.body, string(c.Data))):
				t.Fatalf("%q: room %q, data %q", test.body, c.RoomID, c.Data)
			}
		})
	}
}

func TestAMessageOfABatchHasOneTarget(t *testing.T) {
	for body, want := range map[string]string{
		`{"room_id":"r","data":1}`:                      "",
		`{"target_user_id":"u","data":1}`:               "",
		`{"data":1}`:                                    "give exactly one of room_id and target_user_id",
		`{"room_id":"r","target_user_id":"u","data":1}`: "give exactly one of room_id and target_user_id",
		`{"room_id":"","data":1}`:                       "room_id must not be empty",
		`7`:                                             `a message must be a JSON object such as {"data": …}`,
	} {
		var c Command
		if err := c.DecodePublication([]byte(body), true); err == nil && want != "" || err != nil && err.Message != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func TestABatchIsAList(t *testing.T) {
	for body, want := range map[string]string{
		`[]`:                  "",
		"[1, {\"a\":[]}]\n":   "",
		`null`:                `a batch must be a JSON list of messages such as [{"room_id": "…", "data": …}]`,
		`{"room_id":"r"}`:     `a batch must be a JSON list of messages such as [{"room_id": "…", "data": …}]`,
		``:                    "the body is not valid JSON",
		`[1`:                  "the body is not valid JSON",
		`[{"data":1}]trailer`: "the body is not valid JSON",
	} {
		if _, err := Batch([]byte(body)); err == nil && want != "" || err != nil && err.Message != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}
