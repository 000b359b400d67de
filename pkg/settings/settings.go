// Package settings is the one home of the gateway's configuration: the struct, its defaults, where values come from
// (flag, environment, file), what is allowed, and how the operator writes it. The operator renders it into a ConfigMap,
// cmd/gateway parses it back. It imports nothing of this project.
package settings

import (
	"net/netip"
	"time"
)

// Settings is everything that one gateway process can be told. The zero value is not usable; start from Default.
type Settings struct {
	// Listen is the address of the public port: /ws, and with Demo the chat page at /.
	Listen string
	// APIListen is the address of the server API; it is off while empty or while APIKeyFile is empty.
	APIListen string
	// APIKeyFile names a file with one API key a line.
	APIKeyFile string
	// OpsListen is the address of /livez, /readyz, /metrics, /statusz, /drain and /shed.
	OpsListen string
	// OpsTokenFile names a file with the bearer token for the guarded ops endpoints; empty: loopback only.
	OpsTokenFile string

	// Backplane is a URL: memory://, redis://, rediss://, redis+sentinel://, redis+cluster:// and their TLS forms.
	Backplane string
	// Redis names the files with the secrets of the backplane.
	Redis RedisAccess
	// Cluster prefixes every Redis key and channel; the operator sets <namespace>.<name>.
	Cluster string
	// Node is this process's name in welcome frames, logs and presence; default: the host name.
	Node string

	// Auth says who a client is.
	Auth Auth
	// AllowedOrigins lists the origins that browsers may connect from; empty: the same origin only; "*": any.
	AllowedOrigins []string
	// TrustedProxies lists the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// TLSCertFile and TLSKeyFile turn on TLS on the public port; both or neither.
	TLSCertFile, TLSKeyFile string
	// Compression offers permessage-deflate to clients.
	Compression bool

	// Heartbeat is the time between two pings; a client silent for 2.5 times as long is closed.
	Heartbeat time.Duration
	// Drain says how this process leaves.
	Drain Drain
	// Limits bounds what clients may use.
	Limits Limits

	// Rooms are the room policies; the first match wins. No match: DefaultRoomPolicy.
	Rooms []RoomPolicy
	// DirectMessages says who may publish to a user.
	DirectMessages DirectMessages
	// Inbox keeps messages to users who are away; nil: off.
	Inbox *Inbox

	// Demo serves the chat page at / of the public port.
	Demo bool
	// LogLevel is debug, info, warn or error.
	LogLevel string
	// LogFormat is json or text.
	LogFormat string
}

// RedisAccess is how to get in to Redis, beside the URL.
type RedisAccess struct {
	// Paths; an empty one is not used. They are read at start and at every new dial.
	PasswordFile, CAFile, CertFile, KeyFile string
	// ServerName is the name that Redis's certificate must be for; empty: the host of the address that is connected to.
	ServerName string
}

// AuthType names a way to find out who a client is.
type AuthType string

// The ways to find out who a client is. As a flag they are written guest, trusted, jwt; in a file also as in the CRD: Guest, TrustedUserID, JWT.
const (
	// AuthGuest makes a random user id for every connection and ignores what the client claims.
	AuthGuest AuthType = "guest"
	// AuthTrusted believes ?user_id=.
	AuthTrusted AuthType = "trusted"
	// AuthJWT takes the user id from a verified token.
	AuthJWT AuthType = "jwt"
)

// Auth is the identity part of the settings.
type Auth struct {
	Type AuthType
	JWT  JWT
}

// JWT says which tokens are accepted. SecretFile (HS256/384/512) and JWKSURL (RS*, ES*, EdDSA) may not both be set.
type JWT struct {
	SecretFile string
	JWKSURL    string
	Issuer     string
	Audience   []string
	// UserClaim names the claim with the user id; default sub.
	UserClaim string
	// RoomsClaim names the claim with the list of room globs that the user may join; default rooms.
	RoomsClaim string
}

// Drain says how a process leaves: fail readiness, wait Delay, tell every client to reconnect at no more than Rate a second
// (the whole cluster's budget), and be gone after Timeout (measured from the end of Delay).
type Drain struct {
	Delay, Timeout time.Duration
	// Rate is in reconnects a second.
	Rate int
}

// Limits bounds what clients may use. Over a limit there is one named outcome, given with each field.
type Limits struct {
	// MaxConnections of this process; over it: HTTP 503 overloaded, and /readyz fails.
	MaxConnections int
	// MaxConnectionsPerUser over the whole fleet; over it the oldest is closed with 4409; 0: no limit.
	MaxConnectionsPerUser int
	// MaxRoomsPerConnection; over it: error room_limit.
	MaxRoomsPerConnection int
	// MaxMessageBytes is the largest frame from a client; over it the connection is closed with 1009.
	MaxMessageBytes int
	// SendQueueBytes waits at most for one slow client; over it the client is closed with 4408.
	SendQueueBytes int
	// MessagesPerSecond that one user may publish on average, over the whole fleet; over it: error rate_limited; 0: no limit.
	MessagesPerSecond int
	// MessageBurst is how many messages may come at once before MessagesPerSecond counts.
	MessageBurst int
	// ConnectsPerSecond are the connection attempts that this process looks at; over it: HTTP 503 overloaded; 0: no limit.
	ConnectsPerSecond int
	// ConnectsPerSecondPerAddress are those of one client address; over it: HTTP 429 rate_limited; 0: no limit.
	ConnectsPerSecondPerAddress int
}

// Access says who may do something in a room.
type Access string

// Who may do something. Not every word fits every place: join takes anyone, authenticated, token, none;
// publish takes anyone, authenticated, members, token, server, none; direct messages take anyone, authenticated, server, none.
const (
	// AccessAnyone lets every connection.
	AccessAnyone Access = "anyone"
	// AccessAuthenticated lets connections with a verified token.
	AccessAuthenticated Access = "authenticated"
	// AccessMembers lets connections that have joined the room.
	AccessMembers Access = "members"
	// AccessToken lets connections whose token's rooms claim matches the room.
	AccessToken Access = "token"
	// AccessServer lets only the server API.
	AccessServer Access = "server"
	// AccessNone lets nobody.
	AccessNone Access = "none"
)

// RoomPolicy holds for the rooms whose id matches Match.
type RoomPolicy struct {
	// Match is a glob over the whole room id: * is any run of characters, ? one character.
	Match string
	// History keeps messages for recovery; nil: none.
	History *History
	// Presence keeps who is in the room for the presence command.
	Presence bool
	// Join and Publish say who may.
	Join, Publish Access
}

// History bounds the log of a room.
type History struct {
	// Size is in messages.
	Size int
	// TTL is how long the log is kept after its last message.
	TTL time.Duration
	// MinReplicas of Redis must have a message before it is acked as stored; fewer: unconfirmed.
	MinReplicas int
}

// DirectMessages says who may publish to a user; empty: anyone with guest and trusted, authenticated with jwt.
type DirectMessages struct {
	Publish Access
}

// Inbox bounds the log of messages to one user.
type Inbox struct {
	// Size is in messages.
	Size int
	// TTL is how long an inbox is kept after its last message.
	TTL time.Duration
	// MaxBytes of one inbox; the oldest messages go first.
	MaxBytes int
}

// DefaultRoomPolicy holds for rooms that no policy matches: join anyone, publish members, no history, no presence.
func DefaultRoomPolicy() RoomPolicy {
	return RoomPolicy{Match: "*", Join: AccessAnyone, Publish: AccessMembers}
}

// Default returns the settings of a gateway that was told nothing. Node is left empty; the caller sets the host name.
func Default() Settings {
	return Settings{
		Listen:    ":8080",
		APIListen: ":8081",
		OpsListen: ":9090",
		Backplane: "memory://",
		Cluster:   "default",
		Auth:      Auth{Type: AuthGuest, JWT: JWT{UserClaim: "sub", RoomsClaim: "rooms"}},
		Heartbeat: 25 * time.Second,
		Drain:     Drain{Delay: 5 * time.Second, Timeout: 60 * time.Second, Rate: 500},
		Limits: Limits{
			MaxConnections:        20000,
			MaxRoomsPerConnection: 100,
			MaxMessageBytes:       65536,
			SendQueueBytes:        1 << 20,
			MessagesPerSecond:     50,
			MessageBurst:          100,
			ConnectsPerSecond:     5000,
		},
		LogLevel:  "info",
		LogFormat: "json",
	}
}
