package protocol

// Code says what went wrong with a command or a request. Codes are stable; the message beside one is for people.
type Code string

// The codes of error frames and of the server API.
const (
	CodeBadRequest  Code = "bad_request"
	CodeUnknownType Code = "unknown_type"
	// CodeUnauthorized means that the token is missing, wrong, expired, or of another user.
	CodeUnauthorized Code = "unauthorized"
	// CodeForbidden means that the room's policy does not allow it.
	CodeForbidden Code = "forbidden"
	// CodeNotJoined means that only members may do it, and this connection has not joined.
	CodeNotJoined   Code = "not_joined"
	CodeRateLimited Code = "rate_limited"
	// CodeRoomLimit means that this connection is in as many rooms as it may be.
	CodeRoomLimit Code = "room_limit"
	// CodeConflict means that the idempotency key was used for other data.
	CodeConflict Code = "conflict"
	// CodeUnconfirmed means stored, but confirmed by fewer replicas than asked for.
	CodeUnconfirmed Code = "unconfirmed"
	// CodeUnavailable means not known to be published: retry with the same idempotency key.
	CodeUnavailable Code = "unavailable"
	CodeInternal    Code = "internal"
)

// The codes of refusals before the upgrade that never appear in an error frame.
const (
	CodeOriginDenied Code = "origin_denied"
	CodeDraining     Code = "draining"
	CodeOverloaded   Code = "overloaded"
)

// Error is a failed command: a stable code and a sentence for people.
type Error struct {
	Code    Code
	Message string
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// CloseCode is the status of a WebSocket close frame.
type CloseCode uint16

// The close codes that a gateway sends. Reconnect says what a client should make of each.
const (
	CloseNormal    CloseCode = 1000
	CloseGoingAway CloseCode = 1001
	// CloseProtocolError is RFC 6455's answer to a malformed frame.
	CloseProtocolError CloseCode = 1002
	// CloseUnsupported answers a binary frame.
	CloseUnsupported CloseCode = 1003
	// CloseInvalidUTF8 answers a text frame that is not UTF-8.
	CloseInvalidUTF8 CloseCode = 1007
	// ClosePolicy answers ten bad frames in a row.
	ClosePolicy CloseCode = 1008
	// CloseTooBig answers a frame over max_message_bytes.
	CloseTooBig    CloseCode = 1009
	CloseInternal  CloseCode = 1011
	CloseRestart   CloseCode = 1012
	CloseTryLater  CloseCode = 1013
	CloseNoToken   CloseCode = 4401
	CloseForbidden CloseCode = 4403
	// CloseSlowConsumer ends a connection whose send queue is full.
	CloseSlowConsumer CloseCode = 4408
	// CloseReplaced ends the oldest connection of a user who has too many.
	CloseReplaced     CloseCode = 4409
	CloseTokenExpired CloseCode = 4410
)

// Reconnect tells whether a client that was closed with c should connect again with the same token:
// not after codes 4400 to 4499, except 4408, nor after a breach of the protocol that would only repeat.
func (c CloseCode) Reconnect() bool {
	switch c {
	case CloseSlowConsumer:
		return true
	case CloseProtocolError, CloseUnsupported, CloseInvalidUTF8, ClosePolicy, CloseTooBig:
		return false
	}
	return c < 4400 || c > 4499
}
