// Package auth answers two questions: who is this client, and may it? It turns a handshake or a token into an Identity, and an
// Identity and a room policy into yes or a refusal. It also judges where a request comes from: its origin, and its address
// behind trusted proxies.
//
// It does not know connections, rooms that are joined, or frames; it never logs a token, and no error of it holds one.
package auth

import (
	"net/http"
	"time"
)

// Identity is who a client is. It does not change; Renew makes a new one.
type Identity struct {
	// UserID is 1 to 256 bytes of UTF-8 without control characters.
	UserID string
	// Verified says that a token proved the UserID.
	Verified bool
	// Rooms are the globs over room ids that the token grants; nil: none.
	Rooms []string
	// ExpiresAt is when the token ends; zero: never. A token is still taken up to Leeway later.
	ExpiresAt time.Time
	// TokenIssuer is the token's iss claim; it may be empty.
	TokenIssuer string
}

// The codes of refusals; they are those of the wire protocol.
const (
	CodeBadRequest   = "bad_request"
	CodeUnauthorized = "unauthorized"
	CodeForbidden    = "forbidden"
	CodeNotJoined    = "not_joined"
	// CodeUnavailable means that the token could not be judged, because the keys cannot be had now; the client may try again.
	CodeUnavailable = "unavailable"
)

// Error is a refusal. Every error that this package returns to say no is an *Error. It is immutable and may be shared.
type Error struct {
	// Status is the HTTP status for a refusal before the upgrade.
	Status int
	// Code is stable, for programs; it is one of the constants above.
	Code string
	// Message is one sentence for people. It never holds a token.
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func badRequest(message string) *Error {
	return &Error{http.StatusBadRequest, CodeBadRequest, message}
}

func unauthorized(message string) *Error {
	return &Error{http.StatusUnauthorized, CodeUnauthorized, message}
}

func unavailable(message string) *Error {
	return &Error{http.StatusServiceUnavailable, CodeUnavailable, message}
}

func forbidden(message string) *Error {
	return &Error{http.StatusForbidden, CodeForbidden, message}
}
