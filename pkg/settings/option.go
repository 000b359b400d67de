package settings

import (
	"net/netip"
	"strings"
	"time"
)

// option is one setting that a flag, an environment variable and a key of the file can give.
type option struct {
	// flag is the flag's name without its dashes.
	flag string
	// key is the flag in camelCase, as the top level of the file takes it; durations end in Seconds.
	key string
	// path is the key in the shape of the custom resource, such as drain.delaySeconds; the same as key where there is none.
	path string
	// alias is another spelling of key that is taken, for initialisms such as URL; may be empty.
	alias string
	// group heads the option in the usage text.
	group string
	// kind is what usage shows in place of the value; empty for a switch.
	kind string
	// usage is one line for a person.
	usage string
	// reloads says that a change takes effect without a restart.
	reloads bool
	// bind gives access to the option's field.
	bind func(*Settings) value
}

// environment returns the name of the option's environment variable.
func (o *option) environment() string { return environmentName(o.flag) }

func environmentName(flag string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

const environmentPrefix = "WSC_"

// The groups of the usage text, in its order.
const (
	groupListen    = "Where it listens"
	groupBackplane = "How gateways reach each other"
	groupIdentity  = "Who may connect"
	groupLimits    = "What a client may use"
	groupLife      = "Heartbeat and leaving"
	groupLog       = "Logs"
)

// The bounds of numbers. They keep a slip of the pen (a byte count in a field of seconds, a zero too many) from starting
// a process that cannot work; the recommended values are the defaults.
const (
	maxConnectionsBound = 10_000_000
	maxRoomsBound       = 100_000
	// minMessageBytes holds a join of a room with a short id; below it a client can do nothing at all.
	minMessageBytes = 128
	// maxMessageBytesBound keeps one message below what a Redis client takes in one reply without trouble.
	maxMessageBytesBound = 64 << 20
	maxQueueBytesBound   = 1 << 30
	maxRateBound         = 1_000_000
	minHeartbeat         = 100 * time.Millisecond
	maxHeartbeat         = time.Hour
	maxDrainDelay        = time.Hour
	minDrainTimeout      = 100 * time.Millisecond
	maxDrainTimeout      = 24 * time.Hour
)

// options is every flag of gateway.md that has a field, in the order of the usage text.
var options = withPaths([]*option{
	{flag: "listen", key: "listen", group: groupListen, kind: "address", usage: "public port: /ws, and the demo chat page at / with --demo",
		bind: func(s *Settings) value { return textValue{&s.Listen, requiredAddress(":8080"), ":8080"} }},
	{flag: "api-listen", key: "apiListen", group: groupListen, kind: "address", usage: "server API; needs --api-key-file; empty: off",
		bind: func(s *Settings) value { return textValue{&s.APIListen, optionalAddress(":8081"), ":8081"} }},
	{flag: "api-key-file", key: "apiKeyFile", group: groupListen, kind: "file", usage: "bearer keys of the server API, one a line, so that keys can be rotated",
		bind: func(s *Settings) value { return textValue{&s.APIKeyFile, nil, "/etc/gateway/api-keys"} }},
	{flag: "ops-listen", key: "opsListen", group: groupListen, kind: "address", usage: "/livez, /readyz, /metrics; guarded: /statusz, /drain, /shed, /debug/pprof",
		bind: func(s *Settings) value { return textValue{&s.OpsListen, requiredAddress(":9090"), ":9090"} }},
	{flag: "ops-token-file", key: "opsTokenFile", group: groupListen, kind: "file", usage: "bearer token of the guarded ops endpoints; without it they answer loopback only",
		bind: func(s *Settings) value { return textValue{&s.OpsTokenFile, nil, "/etc/gateway/ops-token"} }},
	{flag: "tls-cert-file", key: "tlsCertFile", group: groupListen, kind: "file", usage: "serve TLS on the public port with this certificate chain (PEM)",
		bind: func(s *Settings) value { return textValue{&s.TLSCertFile, nil, "/etc/gateway/tls.crt"} }},
	{flag: "tls-key-file", key: "tlsKeyFile", group: groupListen, kind: "file", usage: "the private key of --tls-cert-file (PEM)",
		bind: func(s *Settings) value { return textValue{&s.TLSKeyFile, nil, "/etc/gateway/tls.key"} }},
	{flag: "compression", key: "compression", group: groupListen, usage: "offer permessage-deflate to clients",
		bind: func(s *Settings) value { return switchValue{&s.Compression} }},
	{flag: "demo", key: "demo", group: groupListen, usage: "serve the demo chat page at / of the public port",
		bind: func(s *Settings) value { return switchValue{&s.Demo} }},

	{flag: "backplane", key: "backplane", group: groupBackplane, kind: "url", usage: "memory://, redis://[user:pass@]host:port/db, redis+sentinel://, redis+cluster://, or rediss for TLS",
		bind: func(s *Settings) value { return textValue{&s.Backplane, checkBackplane, "redis://redis:6379/0"} }},
	{flag: "redis-password-file", key: "redisPasswordFile", group: groupBackplane, kind: "file", usage: "password of Redis",
		bind: func(s *Settings) value { return textValue{&s.Redis.PasswordFile, nil, "/etc/redis/password"} }},
	{flag: "redis-ca-file", key: "redisCAFile", alias: "redisCaFile", group: groupBackplane, kind: "file", usage: "certificate authority that Redis's certificate must come from (PEM)",
		bind: func(s *Settings) value { return textValue{&s.Redis.CAFile, nil, "/etc/redis/ca.crt"} }},
	{flag: "redis-cert-file", key: "redisCertFile", group: groupBackplane, kind: "file", usage: "client certificate shown to Redis (PEM)",
		bind: func(s *Settings) value { return textValue{&s.Redis.CertFile, nil, "/etc/redis/tls.crt"} }},
	{flag: "redis-key-file", key: "redisKeyFile", group: groupBackplane, kind: "file", usage: "the private key of --redis-cert-file (PEM)",
		bind: func(s *Settings) value { return textValue{&s.Redis.KeyFile, nil, "/etc/redis/tls.key"} }},
	{flag: "redis-server-name", key: "redisServerName", group: groupBackplane, kind: "name", usage: "name that Redis's certificate must be for (default: the host connected to)",
		bind: func(s *Settings) value { return textValue{&s.Redis.ServerName, checkServerName, "redis.example.com"} }},
	{flag: "cluster", key: "cluster", group: groupBackplane, kind: "name", usage: "prefix of every Redis key and channel; gateways of one cluster share it",
		bind: func(s *Settings) value { return textValue{&s.Cluster, checkClusterName, "default"} }},
	{flag: "node", key: "node", group: groupBackplane, kind: "name", usage: "this process's name; unique in its cluster (default: the host name)",
		bind: func(s *Settings) value { return textValue{&s.Node, checkNodeName, "gateway-1"} }},

	{flag: "auth", key: "auth", path: "auth.type", group: groupIdentity, kind: "type", usage: "guest: made-up user ids; trusted: ?user_id= is believed; jwt: tokens",
		bind: func(s *Settings) value { return choiceValue[AuthType]{field: &s.Auth.Type, choices: authTypes} }},
	{flag: "jwt-secret-file", key: "jwtSecretFile", path: "auth.jwt.secretFile", group: groupIdentity, kind: "file", usage: "shared secret of tokens signed with HS256, HS384 or HS512",
		bind: func(s *Settings) value { return textValue{&s.Auth.JWT.SecretFile, nil, "/etc/gateway/jwt-secret"} }},
	{flag: "jwks-url", key: "jwksURL", path: "auth.jwt.jwksURL", alias: "jwksUrl", group: groupIdentity, kind: "url", usage: "key set of tokens signed with RS*, ES* or EdDSA",
		bind: func(s *Settings) value {
			return textValue{&s.Auth.JWT.JWKSURL, checkJWKSURL, "https://example.com/.well-known/jwks.json"}
		}},
	{flag: "jwt-issuer", key: "jwtIssuer", path: "auth.jwt.issuer", group: groupIdentity, kind: "text", usage: "required iss claim; empty: not checked",
		bind: func(s *Settings) value { return textValue{&s.Auth.JWT.Issuer, nil, "https://example.com"} }},
	{flag: "jwt-audience", key: "jwtAudience", path: "auth.jwt.audience", group: groupIdentity, kind: "list", usage: "aud claims of which a token needs one; empty: not checked",
		bind: func(s *Settings) value {
			return listValue[string]{field: &s.Auth.JWT.Audience, parse: parseAudience, print: sameText, example: "chat"}
		}},
	{flag: "jwt-user-claim", key: "jwtUserClaim", path: "auth.jwt.userClaim", group: groupIdentity, kind: "claim", usage: "claim with the user id",
		bind: func(s *Settings) value { return textValue{&s.Auth.JWT.UserClaim, requiredClaim("sub"), "sub"} }},
	{flag: "jwt-rooms-claim", key: "jwtRoomsClaim", path: "auth.jwt.roomsClaim", group: groupIdentity, kind: "claim", usage: "claim with the list of room globs that the user may join",
		bind: func(s *Settings) value { return textValue{&s.Auth.JWT.RoomsClaim, requiredClaim("rooms"), "rooms"} }},
	{flag: "allowed-origins", key: "allowedOrigins", group: groupIdentity, kind: "list", reloads: true, usage: "origins that browsers may connect from, or *; empty: the same origin only",
		bind: func(s *Settings) value {
			return listValue[string]{field: &s.AllowedOrigins, parse: parseOrigin, print: sameText, rule: checkOrigins, example: "https://app.example.com"}
		}},
	{flag: "trusted-proxies", key: "trustedProxies", group: groupIdentity, kind: "list", usage: "networks (CIDR) whose X-Forwarded-For is believed; empty: none",
		bind: func(s *Settings) value {
			return listValue[netip.Prefix]{field: &s.TrustedProxies, parse: parseNetwork, print: netip.Prefix.String, example: "10.0.0.0/8"}
		}},

	{flag: "max-connections", key: "maxConnections", path: "limits.maxConnections", group: groupLimits, kind: "number", reloads: true, usage: "connections of this process; over it: 503 and not ready",
		bind: func(s *Settings) value { return numberValue{&s.Limits.MaxConnections, 1, maxConnectionsBound} }},
	{flag: "max-connections-per-user", key: "maxConnectionsPerUser", path: "limits.maxConnectionsPerUser", group: groupLimits, kind: "number", reloads: true, usage: "connections of one user in the whole cluster; over it the oldest is closed; 0: no limit",
		bind: func(s *Settings) value { return numberValue{&s.Limits.MaxConnectionsPerUser, 0, maxConnectionsBound} }},
	{flag: "max-rooms-per-connection", key: "maxRoomsPerConnection", path: "limits.maxRoomsPerConnection", group: groupLimits, kind: "number", reloads: true, usage: "rooms that one connection may have joined; over it: room_limit",
		bind: func(s *Settings) value { return numberValue{&s.Limits.MaxRoomsPerConnection, 1, maxRoomsBound} }},
	{flag: "max-message-bytes", key: "maxMessageBytes", path: "limits.maxMessageBytes", group: groupLimits, kind: "number", reloads: true, usage: "largest frame from a client; over it the connection is closed with 1009",
		bind: func(s *Settings) value {
			return numberValue{&s.Limits.MaxMessageBytes, minMessageBytes, maxMessageBytesBound}
		}},
	{flag: "send-queue-bytes", key: "sendQueueBytes", path: "limits.sendQueueBytes", group: groupLimits, kind: "number", reloads: true, usage: "bytes that wait for one slow client; over it the client is closed with 4408",
		bind: func(s *Settings) value {
			return numberValue{&s.Limits.SendQueueBytes, minMessageBytes, maxQueueBytesBound}
		}},
	{flag: "messages-per-second", key: "messagesPerSecond", path: "limits.messagesPerSecond", group: groupLimits, kind: "number", reloads: true, usage: "messages that one user may publish on average, on all connections; 0: no limit",
		bind: func(s *Settings) value { return numberValue{&s.Limits.MessagesPerSecond, 0, maxRateBound} }},
	{flag: "message-burst", key: "messageBurst", path: "limits.messageBurst", group: groupLimits, kind: "number", reloads: true, usage: "messages that may come at once before --messages-per-second counts",
		bind: func(s *Settings) value { return numberValue{&s.Limits.MessageBurst, 0, maxRateBound} }},
	{flag: "connects-per-second", key: "connectsPerSecond", path: "limits.connectsPerSecond", group: groupLimits, kind: "number", reloads: true, usage: "connection attempts that this process looks at; over it: 503 with Retry-After; 0: no limit",
		bind: func(s *Settings) value { return numberValue{&s.Limits.ConnectsPerSecond, 0, maxRateBound} }},
	{flag: "connects-per-second-per-address", key: "connectsPerSecondPerAddress", path: "limits.connectsPerSecondPerAddress", group: groupLimits, kind: "number", reloads: true, usage: "those of one client address (see --trusted-proxies); over it: 429 with Retry-After; 0: no limit",
		bind: func(s *Settings) value { return numberValue{&s.Limits.ConnectsPerSecondPerAddress, 0, maxRateBound} }},

	{flag: "heartbeat", key: "heartbeatSeconds", group: groupLife, kind: "duration", usage: "time between two pings; a client silent for 2.5 times as long is closed",
		bind: func(s *Settings) value { return durationValue{&s.Heartbeat, minHeartbeat, maxHeartbeat} }},
	{flag: "drain-delay", key: "drainDelaySeconds", path: "drain.delaySeconds", group: groupLife, kind: "duration", usage: "after SIGTERM: not ready but serving for this long",
		bind: func(s *Settings) value { return durationValue{&s.Drain.Delay, 0, maxDrainDelay} }},
	{flag: "drain-timeout", key: "drainTimeoutSeconds", path: "drain.timeoutSeconds", group: groupLife, kind: "duration", usage: "then: all clients are gone after this long, whatever the rate",
		bind: func(s *Settings) value { return durationValue{&s.Drain.Timeout, minDrainTimeout, maxDrainTimeout} }},
	{flag: "drain-rate", key: "drainRate", path: "drain.reconnectsPerSecond", group: groupLife, kind: "number", usage: "clients told to reconnect each second, in the whole cluster",
		bind: func(s *Settings) value { return numberValue{&s.Drain.Rate, 1, maxRateBound} }},

	{flag: "log-level", key: "logLevel", group: groupLog, kind: "level", usage: "debug, info, warn or error",
		bind: func(s *Settings) value {
			return choiceValue[string]{field: &s.LogLevel, choices: words("debug", "info", "warn", "error")}
		}},
	{flag: "log-format", key: "logFormat", group: groupLog, kind: "format", usage: "json or text",
		bind: func(s *Settings) value {
			return choiceValue[string]{field: &s.LogFormat, choices: words("json", "text")}
		}},
})

// authTypes takes the words of the flag and those of the custom resource.
var authTypes = []choice{
	{word: string(AuthGuest)},
	{word: string(AuthTrusted), also: []string{"TrustedUserID"}},
	{word: string(AuthJWT)},
}

func withPaths(list []*option) []*option {
	for _, o := range list {
		if o.path == "" {
			o.path = o.key
		}
	}
	return list
}

// optionByPath returns the option with that path, or nil.
func optionByPath(path string) *option {
	for _, o := range options {
		if o.path == path {
			return o
		}
	}
	return nil
}

func sameText(text string) string { return text }
