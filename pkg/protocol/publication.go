package protocol

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// DecodePublication reads what a backend publishes over HTTP into c, by the same rules as a client's frame: Data and
// IdempotencyKey, and, where addressed is set, exactly one of RoomID and TargetUserID. Other fields are ignored. Unlike a frame, which the
// socket has checked, the body may be anything: one that is not UTF-8 is refused here, since every client in the room would
// have to hang up over it. On an error the rest of c is undefined. The body is not changed, and c points into it.
func (c *Command) DecodePublication(body []byte, addressed bool) *Error {
	*c = Command{scratch: c.scratch[:0]}
	if !utf8.Valid(body) {
		return badRequest("the body is not valid UTF-8")
	}
	start := skipSpace(body, 0)
	end, err := scanValue(body, start)
	if err == nil && skipSpace(body, end) != len(body) {
		err = errSyntax
	}
	if err != nil {
		return badRequest("the body is " + err.Error())
	}
	if body[start] != '{' {
		return badRequest(`a message must be a JSON object such as {"data": …}`)
	}
	if err := c.scanFields(body, start, true); err != nil {
		return err
	}
	if !addressed {
		c.fields[fieldRoomID], c.fields[fieldTargetUserID] = nil, nil
	}
	return c.decodePublication(addressed)
}

// Batch splits a JSON list into its elements, which share its memory and may each still be anything. A body that is no list
// is a bad request.
func Batch(body []byte) ([]json.RawMessage, *Error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte{'['}) {
		if !json.Valid(body) {
			return nil, badRequest("the body is not valid JSON")
		}
		return nil, badRequest(`a batch must be a JSON list of messages such as [{"room_id": "…", "data": …}]`)
	}
	return elements, nil
}
