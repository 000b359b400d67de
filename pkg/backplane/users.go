package backplane

import "time"

// Users is a backplane that remembers users over all processes: which connections they have, so that their number can be bounded,
// and that they exist at all, so that messages are kept for them (Keep.OnlySeen). It knows what it is told.
type Users interface {
	// Attend tells the store of a user's connections on this process, and has it find those that are over the limit. It
	// returns at once; done is called once, with an error that wraps ErrUnavailable if the store did not answer. It must not block,
	// and may be called before Attend returns. Calls for one user are made one after another.
	Attend(user Target, a Attendance, done func(Attended, error))
}

// Attendance is what a process tells of one user.
type Attendance struct {
	// Limit is how many connections the user may have over all processes; 0: connections are not counted.
	Limit int
	// Came are connections that the user has on this process. The store orders all connections of a user by their age, and keeps
	// the place of one that it is told of again.
	Came []Connection
	// All says that Came are all that the user has on this process; what else the store has of it is forgotten.
	All bool
	// Left are connections that ended.
	Left []string
	// Settle ends a doubt: connections of processes that did not tell of the user since Fresh ago are forgotten.
	Settle bool
	// Fresh is how long a process is believed to hold the connections that it told of.
	Fresh time.Duration
	// Seen is how long the user is remembered as one who exists; 0: is left as it is.
	Seen time.Duration
}

// Connection is one of a user's connections.
type Connection struct {
	ID  string
	Age time.Duration
}

// Attended is the store's answer.
type Attended struct {
	// Replaced are the ids of the user's oldest connections, on any process, that are over the limit. They count no more.
	Replaced []string
	// Doubtful says that there are too many connections, but that some are of processes that have not told of the user for
	// longer than Fresh, and may be dead. Nothing is replaced then: have all processes tell of the user, then settle.
	Doubtful bool
}
