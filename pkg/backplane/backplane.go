// Package backplane passes messages between gateway processes. It knows channels, not connections: what is published to a
// target on one process is delivered, in order, to the sink of every process that is subscribed to that target.
//
// It owns the link to the message store and the state of subscriptions towards it. It does not own who is connected
// (package hub) nor the shape of what clients see (package protocol).
package backplane

import (
	"context"
	"errors"
	"time"
)

// Kind tells rooms from users: the two name spaces that messages are addressed in.
type Kind uint8

// The kinds of target.
const (
	Room Kind = iota
	User
)

// String returns "room" or "user".
func (k Kind) String() string {
	if k == User {
		return "user"
	}
	return "room"
}

// Target is where a message goes: a room, or all connections of a user.
type Target struct {
	Kind Kind
	// ID is 1 to 256 bytes of UTF-8 without control characters.
	ID string
}

// Message is one publication on its way between processes.
type Message struct {
	Target Target
	// Exclude is the id of a connection that must not get the message (echo:false); empty: nobody is left out.
	Exclude string
	// Body is the message as clients see it: one JSON object, encoded by protocol.AppendMessage without epoch and offset.
	Body []byte
	// Epoch and Offset place the message in its target's log; empty and 0 where the target has no history.
	// They are set on delivery and ignored on publishing.
	Epoch  string
	Offset int64
	// Changes says who came to the room and who left it; there is no Body then. Only a backplane that is a Presence sets it, on
	// delivery; it has no place in a publication.
	Changes []Member

	// Deadline is by when the publication must be confirmed or end as unavailable, for one that has waited already; zero, or later
	// than the publish timeout from now: after that. It is for publishing only.
	Deadline time.Time

	// The rest is for publishing only, and only for a backplane that is a Log; the others ignore it.

	// ID is the message_id inside Body; a repeated publication is answered with the first one's. Borrowed like Body.
	ID []byte
	// Keep asks for the message to be kept in the target's log; nil: it is passed on and forgotten.
	Keep *Keep
	// IdempotencyKey makes a publication that is repeated within IdempotencyWindow one publication; empty: none. It belongs to
	// Publisher (a user id; empty: the server API) and the target.
	IdempotencyKey, Publisher string
	// Data is the part of Body that a repeated publication must have in common with the first. Borrowed like Body.
	Data []byte
}

// Receipt is what the store says of a publication that it took.
type Receipt struct {
	// Epoch and Offset place the message in the target's log; empty and 0 where the target has no history.
	Epoch  string
	Offset int64
	// MessageID is that of the first publication with the same idempotency key; empty: this was the first.
	MessageID string
}

// ErrUnavailable means that the store did not confirm in time: the message is not known to be published.
var ErrUnavailable = errors.New("the backplane did not confirm in time")

// Confirmation is told once how a publication ended. Implementations must not block: they run on the backplane's goroutine.
type Confirmation interface {
	// Published gets a nil error when the store took the message, else one that wraps ErrUnavailable.
	Published(Receipt, error)
}

// Sink is where a backplane delivers to; the hub is one. Its methods must not block; they may be called from several
// goroutines, but never from two at a time for one target.
type Sink interface {
	// Deliver hands over a message for a subscribed target, in the order in which the store took them. The message and
	// its Body are borrowed: they are valid until Deliver returns.
	Deliver(*Message)
	// Subscribed says that from now on the target's messages are delivered: everything published after this call comes.
	// It is called after Subscribe, and again for every target when a broken link is back.
	Subscribed(Target)
	// Interrupted says that a link that carried subscriptions broke. There may be several links; messages of the targets of
	// this one may be missed until Subscribed is called for each of them again. Of the others' it is not called.
	Interrupted()
}

// Backplane is what the hub and the gateway ask of a message store. All methods are safe for concurrent use, and all but
// Close return at once.
type Backplane interface {
	// Start connects in the background and delivers to the sink until Close. It is called once, before any other method.
	Start(Sink)
	// Publish sends m to every process subscribed to its target and tells done when the store has confirmed, at the latest
	// after the publish timeout (2 s), or at m.Deadline. Publications of one goroutine to one target keep their order. m.Body is borrowed
	// until done is told; m itself only until Publish returns. done may be told, and the sink be given the message, before
	// Publish returns: hold no lock that they take.
	Publish(m *Message, done Confirmation)
	// Subscribe asks for the target's messages; it is kept through broken links until Unsubscribe.
	// Subscribing twice is subscribing once, but subscribing after Unsubscribe is always followed by Subscribed. Neither this nor
	// Unsubscribe calls the sink: a lock may be, and should be, held over both, so that they come in the order in which they
	// were decided. Then a Subscribed that takes the same lock and finds the target wanted may be believed.
	Subscribe(Target)
	// Unsubscribe ends the subscription. Messages on their way may still be delivered.
	Unsubscribe(Target)
	// Status tells how the link is.
	Status() Status
	// Close publishes what was accepted, waits for confirmations until ctx ends, and lets go of the link.
	Close(ctx context.Context) error
}

// Status is a snapshot of a backplane's link.
type Status struct {
	// Up is true while commands and subscriptions can be served.
	Up bool
	// EverUp is true once the link has been up.
	EverUp bool
	// Reconnects counts links that were made anew after the first.
	Reconnects uint64
	// Subscriptions is the number of targets subscribed to, confirmed or not.
	Subscriptions int
	// LastError says why the link is down; empty while it is up.
	LastError string
}
