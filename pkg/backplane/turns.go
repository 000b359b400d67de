package backplane

import (
	"context"
	"time"
)

// Turns is a backplane that hands out turns in time, at a rate that all processes share.
type Turns interface {
	// TakeTurns takes some of the next turns. It blocks for a round trip, at most until ctx ends; the error then wraps
	// ErrUnavailable, and turns may be lost.
	TakeTurns(ctx context.Context, want TurnRequest) (TurnGrant, error)
}

// TurnRequest says which turns a process asks for.
type TurnRequest struct {
	// Count is the most turns to take, Left how many the process still needs in all; the others are told of it for some seconds.
	Count, Left int
	// Rate is in turns a second, over all processes.
	Rate int
	// Horizon is how far ahead turns are handed out: what is not taken yet is shared with those who come later.
	Horizon time.Duration
}

// TurnGrant is what a process got.
type TurnGrant struct {
	// Count turns, the first of which begins in Start, and the others one after another at the rate; 0: the horizon is full, and
	// Start is when the next turn begins.
	Count int
	Start time.Duration
	// Left is how many turns all processes needed, this one among them, before this grant.
	Left int
}
