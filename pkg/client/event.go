package client

import (
	"encoding/json"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// Event is one thing that happens in a room or an inbox: a Message, a Gap or Ended; in a room that is watched also a MemberJoined, a
// MemberLeft or a PresenceGap.
type Event interface{ event() }

// Message is a publication. It belongs to the application, which may keep it and change it.
type Message struct {
	// ID is the same on every connection and in every repetition.
	ID string
	// Room or User says where it was published; User is this client's own user id.
	Room, User string
	// From is the publishing user; empty: the server API.
	From string
	// Data is the JSON value as the gateway passed it on.
	Data json.RawMessage
	// Time is the publishing gateway's, to the millisecond.
	Time time.Time
	// At is the message's place in the log; its Offset is 0 where no history is kept.
	At protocol.Position
}

// GapReason says why messages may be missing.
type GapReason string

// The reasons of gaps.
const (
	// GapEpochChanged: the log was lost or replaced (Redis lost it, or failed over).
	GapEpochChanged GapReason = "epoch_changed"
	// GapTrimmed: the log no longer held what was missed.
	GapTrimmed GapReason = "trimmed"
	// GapNoHistory: the connection was lost for a while, and no history is kept there.
	GapNoHistory GapReason = "no_history"
	// GapOverflow: the application was too slow for a room without history.
	GapOverflow GapReason = "overflow"
	// GapRefused: the history may no longer be read.
	GapRefused GapReason = "refused"
	// GapNewUser: the gateway gave this client another user id, as it does with guests; the inbox is another one.
	GapNewUser GapReason = "new_user"
)

// Gap stands where messages may be missing.
type Gap struct {
	Reason GapReason
	// From is the last message before the gap and To the last place within it; both are empty without history.
	From, To protocol.Position
	// Missed counts the missing messages; 0: unknown, possibly none.
	Missed int64
}

// Ended is a room's last event when it was not the application that ended it.
type Ended struct {
	// Err is a *protocol.Error if the gateway no longer lets this user in, else what ended the client.
	Err error
}

func (Message) event() {}
func (Gap) event()     {}
func (Ended) event()   {}

// eventOverhead is about what an event takes besides its data.
const eventOverhead = 256

func size(e Event) int {
	if m, ok := e.(Message); ok {
		return eventOverhead + len(m.Data) + len(m.ID) + len(m.From) + len(m.At.Epoch)
	}
	return eventOverhead
}
