package socket

// Reason says why a connection ended. Its text is a metric label.
type Reason uint8

// The reasons for an end.
const (
	// ClientClosed: the client sent a close frame.
	ClientClosed Reason = iota
	// ClientGone: the connection broke, or ended without a close frame.
	ClientGone
	// HeartbeatTimeout: nothing came from the client for 2.5 heartbeats.
	HeartbeatTimeout
	// SlowConsumer: the send queue was full.
	SlowConsumer
	// ProtocolError: a breach of RFC 6455, a binary frame, invalid UTF-8 or a frame over the size limit.
	ProtocolError
	// BadFrames: ten frames in a row that were no commands.
	BadFrames
	// Draining: this process is leaving.
	Draining
	// Rebalancing: this process had more than its share of connections.
	Rebalancing
	// Disconnected: the server API asked for it.
	Disconnected
	// Replaced: the user opened more connections than allowed.
	Replaced
	// TokenExpired: the token ended and was not renewed.
	TokenExpired
	// Overloaded: this process had no memory left to serve the client.
	Overloaded
	reasonCount
)

var reasonNames = [reasonCount]string{"client_closed", "client_gone", "heartbeat_timeout", "slow_consumer", "protocol_error", "bad_frames",
	"draining", "rebalancing", "disconnected", "replaced", "token_expired", "overloaded"}

// String returns the reason's metric label.
func (r Reason) String() string { return reasonNames[r] }

// Reasons lists all reasons, for counters that start at zero.
func Reasons() []Reason {
	all := make([]Reason, reasonCount)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
