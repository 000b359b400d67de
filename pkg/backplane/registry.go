package backplane

import (
	"context"
	"time"
)

// Registry is a backplane through which the processes of a cluster know of each other without asking each other. What a process
// tells of itself lives on a lease of 20 s by the store's clock: a process that dies is forgotten when it ends, one that is closed
// at once.
type Registry interface {
	// Announce replaces what this process tells of itself, renews its lease, and returns how many processes have one, itself
	// among them. record is what the readers understand, some hundred bytes; it is not kept. It blocks for a round trip, at most
	// until ctx ends; the error then wraps ErrUnavailable.
	Announce(ctx context.Context, record []byte) (nodes int, err error)
	// Nodes returns what every process with a lease has told last, in no order; its cost grows with their number. It blocks
	// as Announce does. The result is the caller's.
	Nodes(ctx context.Context) ([]Announcement, error)
}

// Announcement is what one process has told of itself.
type Announcement struct {
	// Own says that it was this process.
	Own bool
	// Age is how long ago it was told, by the store's clock.
	Age    time.Duration
	Record []byte
}
