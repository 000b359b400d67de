package backplane

import (
	"context"
	"errors"
	"time"
)

// IdempotencyWindow is how long a publication with an idempotency key is remembered.
const IdempotencyWindow = 5 * time.Minute

var (
	// ErrConflict means that the idempotency key was used for other data: nothing was published.
	ErrConflict = errors.New("the idempotency key was used for other data")
	// ErrUnconfirmed means that the message is stored, but fewer replicas than asked for have confirmed it. The Receipt
	// beside it is valid.
	ErrUnconfirmed = errors.New("stored, but fewer replicas than asked for have confirmed")
)

// Keep says how a target's log is bounded.
type Keep struct {
	// Size is in messages; the oldest go first.
	Size int
	// TTL is how long the log is kept after its last message.
	TTL time.Duration
	// MaxBytes bounds the bodies in the log together; 0: no bound of its own.
	MaxBytes int
	// MinReplicas of the store must have confirmed the message, or the publication ends with ErrUnconfirmed.
	MinReplicas int
	// OnlySeen keeps nothing, but passes the message on, where the target is a user who is not remembered (see Users) and has no
	// log yet: so nobody can begin logs for users who do not exist.
	OnlySeen bool
}

// Log is a backplane that keeps messages. Offsets of a target count 1, 2, 3 … without holes within an epoch. Appending to the
// log, trimming it, remembering the idempotency key and passing the message on are one atomic step: a subscriber that sees a
// hole in the offsets has missed a message, and finds it in the log.
type Log interface {
	// ReadLog returns messages of the target's log in the cursor's direction. It blocks for one round trip to the store, at most until
	// ctx ends; the error then wraps ErrUnavailable. The result is the caller's.
	ReadLog(ctx context.Context, t Target, from Cursor) (Page, error)
}

// Cursor says which part of a log to read.
type Cursor struct {
	// Since is the offset after which to begin (Reverse: before which; 0: at the newest).
	Since int64
	// Limit is the most messages to return; 0: none, just the log's position.
	Limit int
	// Reverse reads from newest to oldest.
	Reverse bool
}

// Page is a part of a log as it was at one moment.
type Page struct {
	// Epoch names the log's present life. A target without a log has one too: reading begins its life.
	Epoch string
	// Oldest and Newest are the offsets of what the log holds; Newest is the last that was given out, also when everything
	// was trimmed since; then Oldest is Newest+1.
	Oldest, Newest int64
	// Previous names the life before this one, and the last offset that it is known to have given out; empty: this is the
	// first, or nothing is known.
	Previous PreviousEpoch
	Messages []Logged
}

// PreviousEpoch is the end of a log's former life.
type PreviousEpoch struct {
	Epoch  string
	Offset int64
}

// Logged is one message in a log.
type Logged struct {
	Offset int64
	// Exclude and Body are those of the Message.
	Exclude string
	Body    []byte
}
