// Package client is the Go client of a WebSocket cluster. It keeps one user connected: it reconnects with backoff, moves to
// another gateway without a gap when it is asked to, recovers what a break made it miss, and repeats publishes until they are
// confirmed, each with an idempotency key, so that none is published twice.
//
// It owns connections, the places in the logs of rooms and of the user's inbox, and what waits to be confirmed. It does not
// keep messages beyond what waits for the application, and keeps nothing on disk: an application that wants to go on after a
// restart stores Message.At and gives it to RoomOptions.Recover.
//
// # What an application gets
//
// A Room (and the inbox) is a sequence of events in order: Message, Gap and Ended, and who comes and goes if it is asked for. In a room with history every message
// comes exactly once. Where that cannot be kept, a Gap stands in the place of what is missing and says why: there is no
// silent hole. In a room without history every lost connection makes a Gap, for nobody can tell what was missed.
//
// # Goroutines and memory
//
// All methods are safe for concurrent use. Each room's events are handed over on a goroutine of its own, one after the other.
// A handler may block and may call any method but Close: it only keeps its own room waiting. What waits for it is bounded by
// RoomOptions.Buffer and BufferBytes; beyond that, messages of a room with history are dropped and later read from the log,
// those of other rooms are counted in a Gap. Publishes that wait are bounded by Options.MaxPending and MaxPendingBytes; beyond
// that Publish returns ErrTooManyPending. Close ends all goroutines of the client.
package client
