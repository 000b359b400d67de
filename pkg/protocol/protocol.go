// Package protocol is the wire contract wscluster.v1.json between a client and a gateway: names, bounds, codes, decoding of
// what clients send and encoding of what gateways send. It does no input or output, keeps no state, and imports nothing of
// this project. docs/protocol.md says what the frames mean.
package protocol

import (
	"errors"
	"unicode/utf8"
)

// Subprotocol is the name that client and gateway agree on in Sec-WebSocket-Protocol.
const Subprotocol = "wscluster.v1.json"

// BearerPrefix starts an offered subprotocol that carries a token, for browsers, which cannot set headers. It is never echoed.
const BearerPrefix = "bearer."

// Bounds of the fields, in bytes unless said otherwise.
const (
	MaxRoomIDBytes         = 256
	MaxUserIDBytes         = 256
	MaxIDBytes             = 64
	MaxIdempotencyKeyBytes = 128
	// MaxOffset is the largest integer that every JSON reader keeps exact.
	MaxOffset = 1<<53 - 1
	// MaxLimit bounds limit and history, in messages or members.
	MaxLimit = 1000
	// MaxBadFrames in a row close the connection with ClosePolicy.
	MaxBadFrames = 10
	// MaxAckMessages is the most messages that one ack carries; the rest of a recovery follows as message frames.
	MaxAckMessages = 256
)

// CheckName tells whether s can be a room or user id: 1 to 256 bytes of UTF-8 without control characters.
// The error's text continues a sentence that starts with the field's name.
func CheckName[S string | []byte](s S) error {
	if len(s) == 0 {
		return errEmpty
	}
	if len(s) > MaxRoomIDBytes {
		return errNameLong
	}
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return errControl
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		if r == utf8.RuneError && n == 1 {
			return errNotUTF8
		}
		if r >= 0x80 && r <= 0x9f {
			return errControl
		}
		i += n
	}
	return nil
}

var (
	errEmpty    = errors.New("must not be empty")
	errNameLong = errors.New("must be at most 256 bytes")
	errControl  = errors.New("must not contain control characters")
	errNotUTF8  = errors.New("must be valid UTF-8")
)
