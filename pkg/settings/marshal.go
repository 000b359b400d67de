package settings

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
)

// document is the file as Marshal writes it: the shape of the custom resource where it has one, the flags' keys elsewhere.
type document struct {
	Listen       string  `yaml:"listen"`
	APIListen    *string `yaml:"apiListen,omitempty"`
	APIKeyFile   string  `yaml:"apiKeyFile,omitempty"`
	OpsListen    string  `yaml:"opsListen"`
	OpsTokenFile string  `yaml:"opsTokenFile,omitempty"`
	TLSCertFile  string  `yaml:"tlsCertFile,omitempty"`
	TLSKeyFile   string  `yaml:"tlsKeyFile,omitempty"`
	Compression  string  `yaml:"compression"`
	Demo         bool    `yaml:"demo,omitempty"`

	Backplane         string `yaml:"backplane"`
	RedisPasswordFile string `yaml:"redisPasswordFile,omitempty"`
	RedisCAFile       string `yaml:"redisCAFile,omitempty"`
	RedisCertFile     string `yaml:"redisCertFile,omitempty"`
	RedisKeyFile      string `yaml:"redisKeyFile,omitempty"`
	RedisServerName   string `yaml:"redisServerName,omitempty"`
	Cluster           string `yaml:"cluster"`
	Node              string `yaml:"node,omitempty"`

	Auth           documentAuth `yaml:"auth"`
	AllowedOrigins []string     `yaml:"allowedOrigins,omitempty"`
	TrustedProxies []string     `yaml:"trustedProxies,omitempty"`

	HeartbeatSeconds int64          `yaml:"heartbeatSeconds"`
	Drain            documentDrain  `yaml:"drain"`
	Limits           documentLimits `yaml:"limits"`

	Rooms          []documentRoom          `yaml:"rooms,omitempty"`
	DirectMessages *documentDirectMessages `yaml:"directMessages,omitempty"`
	Inbox          *documentInbox          `yaml:"inbox,omitempty"`

	LogLevel  string `yaml:"logLevel"`
	LogFormat string `yaml:"logFormat"`
}

type documentAuth struct {
	Type string       `yaml:"type"`
	JWT  *documentJWT `yaml:"jwt,omitempty"`
}

type documentJWT struct {
	SecretFile string   `yaml:"secretFile,omitempty"`
	JWKSURL    string   `yaml:"jwksURL,omitempty"`
	Issuer     string   `yaml:"issuer,omitempty"`
	Audience   []string `yaml:"audience,omitempty"`
	UserClaim  string   `yaml:"userClaim"`
	RoomsClaim string   `yaml:"roomsClaim"`
}

type documentDrain struct {
	DelaySeconds        int64 `yaml:"delaySeconds"`
	TimeoutSeconds      int64 `yaml:"timeoutSeconds"`
	ReconnectsPerSecond int   `yaml:"reconnectsPerSecond"`
}

type documentLimits struct {
	MaxConnections              int `yaml:"maxConnections"`
	MaxConnectionsPerUser       int `yaml:"maxConnectionsPerUser"`
	MaxRoomsPerConnection       int `yaml:"maxRoomsPerConnection"`
	MaxMessageBytes             int `yaml:"maxMessageBytes"`
	SendQueueBytes              int `yaml:"sendQueueBytes"`
	MessagesPerSecond           int `yaml:"messagesPerSecond"`
	MessageBurst                int `yaml:"messageBurst"`
	ConnectsPerSecond           int `yaml:"connectsPerSecond"`
	ConnectsPerSecondPerAddress int `yaml:"connectsPerSecondPerAddress"`
}

type documentRoom struct {
	Match    string           `yaml:"match"`
	History  *documentHistory `yaml:"history,omitempty"`
	Presence string           `yaml:"presence"`
	Join     Access           `yaml:"join"`
	Publish  Access           `yaml:"publish"`
}

type documentHistory struct {
	Size        int   `yaml:"size"`
	TTLSeconds  int64 `yaml:"ttlSeconds"`
	MinReplicas int   `yaml:"minReplicas"`
}

type documentDirectMessages struct {
	Publish Access `yaml:"publish"`
}

type documentInbox struct {
	Size       int   `yaml:"size"`
	TTLSeconds int64 `yaml:"ttlSeconds"`
	MaxBytes   int   `yaml:"maxBytes"`
}

// Marshal writes the settings as the YAML file that Parse reads back to the same settings. The same settings give the same bytes.
// Figures and names are written even where they are defaults, so that a file holds its meaning when a later version changes one.
// It fails for settings that Validate refuses, and for durations that are not whole seconds, which a file cannot say.
func Marshal(s Settings) ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if err := checkWholeSeconds(&s); err != nil {
		return nil, err
	}
	text, err := yaml.MarshalWithOptions(toDocument(&s), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write settings as YAML: %w", err)
	}
	return text, nil
}

func checkWholeSeconds(s *Settings) error {
	spans := map[string]time.Duration{
		"heartbeatSeconds": s.Heartbeat, "drain.delaySeconds": s.Drain.Delay, "drain.timeoutSeconds": s.Drain.Timeout,
	}
	for i, policy := range s.Rooms {
		if policy.History != nil {
			spans[fmt.Sprintf("rooms[%d].history.ttlSeconds", i)] = policy.History.TTL
		}
	}
	if s.Inbox != nil {
		spans["inbox.ttlSeconds"] = s.Inbox.TTL
	}
	for key, span := range spans {
		if span%time.Second != 0 {
			return fmt.Errorf("%s: a file holds whole seconds, not %s; give it as a flag or in the environment", key, span)
		}
	}
	return nil
}

func toDocument(s *Settings) document {
	d := document{
		Listen: s.Listen, APIKeyFile: s.APIKeyFile, OpsListen: s.OpsListen, OpsTokenFile: s.OpsTokenFile,
		TLSCertFile: s.TLSCertFile, TLSKeyFile: s.TLSKeyFile, Compression: enabled(s.Compression), Demo: s.Demo,
		Backplane: s.Backplane, RedisPasswordFile: s.Redis.PasswordFile, RedisCAFile: s.Redis.CAFile,
		RedisCertFile: s.Redis.CertFile, RedisKeyFile: s.Redis.KeyFile, RedisServerName: s.Redis.ServerName, Cluster: s.Cluster, Node: s.Node,
		Auth: toDocumentAuth(s.Auth), AllowedOrigins: s.AllowedOrigins,
		HeartbeatSeconds: seconds(s.Heartbeat),
		Drain:            documentDrain{seconds(s.Drain.Delay), seconds(s.Drain.Timeout), s.Drain.Rate},
		Limits:           documentLimits(s.Limits),
		LogLevel:         s.LogLevel, LogFormat: s.LogFormat,
	}
	// The default address without keys means off. Written out, it would ask for a server API that has no keys.
	if s.APIKeyFile != "" || s.APIListen != Default().APIListen {
		d.APIListen = &s.APIListen
	}
	for _, network := range s.TrustedProxies {
		d.TrustedProxies = append(d.TrustedProxies, network.String())
	}
	for _, policy := range s.Rooms {
		room := documentRoom{Match: policy.Match, Presence: enabled(policy.Presence), Join: policy.Join, Publish: policy.Publish}
		if h := policy.History; h != nil {
			room.History = &documentHistory{h.Size, seconds(h.TTL), h.MinReplicas}
		}
		d.Rooms = append(d.Rooms, room)
	}
	if s.DirectMessages.Publish != "" {
		d.DirectMessages = &documentDirectMessages{s.DirectMessages.Publish}
	}
	if s.Inbox != nil {
		d.Inbox = &documentInbox{s.Inbox.Size, seconds(s.Inbox.TTL), s.Inbox.MaxBytes}
	}
	return d
}

func toDocumentAuth(auth Auth) documentAuth {
	switch auth.Type {
	case AuthGuest:
		return documentAuth{Type: "Guest"}
	case AuthTrusted:
		return documentAuth{Type: "TrustedUserID"}
	}
	return documentAuth{Type: "JWT", JWT: &documentJWT{
		SecretFile: auth.JWT.SecretFile, JWKSURL: auth.JWT.JWKSURL, Issuer: auth.JWT.Issuer, Audience: auth.JWT.Audience,
		UserClaim: auth.JWT.UserClaim, RoomsClaim: auth.JWT.RoomsClaim,
	}}
}

func seconds(span time.Duration) int64 { return int64(span / time.Second) }

func enabled(on bool) string {
	if on {
		return "Enabled"
	}
	return "Disabled"
}
