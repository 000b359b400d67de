package backplane

import "context"

// Presence is a backplane that knows who is in a room over all processes. It counts connections: a user is in the room while at
// least one connection of theirs is, on any process. What one process has told lives on a lease: a process that dies without
// leaving takes its members along when the lease ends, within 30 s.
//
// When the first connection of a user comes, and when the last one goes, every process that is subscribed to the room is given
// a Message with Changes: once for the user, whatever the number of connections and processes.
type Presence interface {
	// Enter counts one more connection of the user in the room on this process, Leave one less. They return at once and need
	// no link: the store hears of it soon, or when it is back. Only the newest state is told, so a user who leaves and comes
	// back in between is not seen to leave. The sink may be given the change before they return: hold no lock that it takes.
	Enter(room Target, user string)
	Leave(room Target, user string)
	// Members returns users of the room in the order of their ids' bytes, beginning after the user after (empty: with the
	// first), at most limit, and at most 1,000. What this process was told before is in it, unless the store is slow. It blocks for a
	// round trip or two, at most until ctx ends; the error then wraps ErrUnavailable. The result is the caller's.
	Members(ctx context.Context, room Target, after string, limit int) (Roster, error)
	// PresenceStatus tells how it is going.
	PresenceStatus() PresenceStatus
}

// Member is a user in a room.
type Member struct {
	User string
	// Connections of the user in the room, over all processes; 0 in a change: the user has left.
	Connections int
}

// Roster is a part of the users in a room.
type Roster struct {
	Members []Member
	// Users counts those in the whole room.
	Users int
	// More says that there are users after the last of Members.
	More bool
}

// PresenceStatus is a snapshot of what a process has told the store of the rooms that its own connections are in.
type PresenceStatus struct {
	// Members counts users with connections on this process, in every room that they are in.
	Members int
	// Untold counts those of which the store does not know the newest state yet.
	Untold int
	// Reasserted counts rooms whose members were told anew, because the store had lost them or their lease, since the start.
	Reasserted uint64
}
