package manifests

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/settings"
)

// The files in a gateway pod.
const (
	configDirectory   = "/etc/wscluster"
	settingsFileName  = "gateway.yaml"
	redisPasswordFile = "secrets/redis-password"
	redisCAFile       = "secrets/redis-ca.crt"
	redisCertFile     = "secrets/redis-tls.crt"
	redisKeyFile      = "secrets/redis-tls.key"
	apiKeyFile        = "secrets/api-keys"
	opsTokenFile      = "secrets/ops-token"
	jwtSecretFile     = "secrets/jwt-secret"
	tlsCertFile       = "secrets/tls.crt"
	tlsKeyFile        = "secrets/tls.key"
)

// ClusterPrefix starts every Redis key and channel of the cluster. A namespace holds no dot, so two clusters never share one.
func ClusterPrefix(cluster *v1alpha1.WebSocketCluster) string {
	return cluster.Namespace + "." + cluster.Name
}

// ClientSettings returns the settings that follow from what the spec promises to clients: identity, limits, rooms, heartbeat, drain.
// Where things are (addresses, files, the backplane) is left at the gateway's defaults, for the caller to fill in.
// The error names a value that the schema should have refused.
func ClientSettings(cluster *v1alpha1.WebSocketCluster) (settings.Settings, error) {
	spec := &cluster.Spec
	s := settings.Default()
	s.Cluster = ClusterPrefix(cluster)
	s.Auth = authSettings(spec.Auth)
	s.AllowedOrigins = spec.Gateway.AllowedOrigins
	s.Compression = spec.Gateway.Compression == v1alpha1.ModeEnabled
	s.Heartbeat = seconds(spec.Gateway.HeartbeatSeconds)
	drain := spec.Gateway.Drain
	s.Drain = settings.Drain{
		Delay:   seconds(ptr.Deref(drain.DelaySeconds, 5)),
		Timeout: seconds(drain.TimeoutSeconds),
		Rate:    int(drain.ReconnectsPerSecond),
	}
	limits := spec.Gateway.Limits
	s.Limits = settings.Limits{
		MaxConnections:              int(limits.MaxConnections),
		MaxConnectionsPerUser:       int(limits.MaxConnectionsPerUser),
		MaxRoomsPerConnection:       int(limits.MaxRoomsPerConnection),
		MaxMessageBytes:             int(limits.MaxMessageBytes),
		SendQueueBytes:              int(limits.SendQueueBytes),
		MessagesPerSecond:           int(ptr.Deref(limits.MessagesPerSecond, 50)),
		MessageBurst:                int(limits.MessageBurst),
		ConnectsPerSecond:           int(ptr.Deref(limits.ConnectsPerSecond, 5000)),
		ConnectsPerSecondPerAddress: int(limits.ConnectsPerSecondPerAddress),
	}
	for _, policy := range spec.Rooms {
		s.Rooms = append(s.Rooms, roomSettings(policy))
	}
	if messages := spec.DirectMessages; messages != nil {
		s.DirectMessages.Publish = settings.Access(messages.Publish)
	}
	if inbox := spec.Inbox; inbox != nil {
		s.Inbox = &settings.Inbox{Size: int(inbox.Size), TTL: seconds(inbox.TTLSeconds), MaxBytes: int(inbox.MaxBytes)}
	}
	for i, text := range spec.Gateway.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return s, fmt.Errorf("gateway.trustedProxies[%d]: %w", i, err)
		}
		s.TrustedProxies = append(s.TrustedProxies, network)
	}
	return s, nil
}

func authSettings(auth v1alpha1.Auth) settings.Auth {
	s := settings.Default().Auth
	switch auth.Type {
	case v1alpha1.AuthTrustedUserID:
		s.Type = settings.AuthTrusted
	case v1alpha1.AuthJWT:
		s.Type = settings.AuthJWT
	default:
		s.Type = settings.AuthGuest
	}
	if jwt := auth.JWT; jwt != nil {
		s.JWT = settings.JWT{
			JWKSURL: jwt.JWKSURL, Issuer: jwt.Issuer, Audience: jwt.Audience,
			UserClaim: jwt.UserClaim, RoomsClaim: jwt.RoomsClaim,
		}
	}
	return s
}

func roomSettings(policy v1alpha1.RoomPolicy) settings.RoomPolicy {
	s := settings.RoomPolicy{
		Match:    policy.Match,
		Presence: policy.Presence == v1alpha1.ModeEnabled,
		Join:     settings.Access(policy.Join),
		Publish:  settings.Access(policy.Publish),
	}
	if history := policy.History; history != nil {
		s.History = &settings.History{
			Size: int(history.Size), TTL: seconds(history.TTLSeconds), MinReplicas: int(history.MinReplicas),
		}
	}
	return s
}

// renderedSettings is the gateway's configuration file.
type renderedSettings struct {
	file string
	// restartHash changes with what a running gateway cannot take over from a changed file, and with nothing else.
	restartHash string
}

func settingsFile(cluster *v1alpha1.WebSocketCluster) (renderedSettings, error) {
	s, err := podSettings(cluster)
	if err != nil {
		return renderedSettings{}, err
	}
	file, err := settings.Marshal(s)
	if err != nil {
		return renderedSettings{}, err
	}
	fixed, err := settings.Marshal(s.WithoutReloadable())
	if err != nil {
		return renderedSettings{}, err
	}
	return renderedSettings{file: string(file), restartHash: shortHash(fixed)}, nil
}

// podSettings are the settings of a gateway pod: what clients are promised, and where things are in the pod and the cluster.
func podSettings(cluster *v1alpha1.WebSocketCluster) (settings.Settings, error) {
	s, err := ClientSettings(cluster)
	if err != nil {
		return s, err
	}
	s.Listen = fmt.Sprintf(":%d", PublicPort)
	s.APIListen = fmt.Sprintf(":%d", APIPort)
	s.OpsListen = fmt.Sprintf(":%d", OpsPort)
	s.OpsTokenFile = inConfig(opsTokenFile)
	if cluster.Spec.API.Mode == v1alpha1.ModeEnabled {
		s.APIKeyFile = inConfig(apiKeyFile)
	}
	if jwt := cluster.Spec.Auth.JWT; jwt != nil && jwt.SecretRef != nil {
		s.Auth.JWT.SecretFile = inConfig(jwtSecretFile)
	}
	if cluster.Spec.Gateway.TLS != nil {
		s.TLSCertFile, s.TLSKeyFile = inConfig(tlsCertFile), inConfig(tlsKeyFile)
	}
	s.Backplane = backplaneURL(cluster, "")
	if external := cluster.Spec.Redis.External; external != nil {
		if external.PasswordSecretRef != nil {
			s.Redis.PasswordFile = inConfig(redisPasswordFile)
		}
		if tls := external.TLS; tls != nil && tls.CASecretRef != nil {
			s.Redis.CAFile = inConfig(redisCAFile)
		}
		if tls := external.TLS; tls != nil {
			s.Redis.ServerName = tls.ServerName
		}
		if tls := external.TLS; tls != nil && tls.CertSecretRef != nil {
			s.Redis.CertFile, s.Redis.KeyFile = inConfig(redisCertFile), inConfig(redisKeyFile)
		}
		return s, nil
	}
	s.Redis.PasswordFile = inConfig(redisPasswordFile)
	return s, nil
}

// backplaneURL says where Redis is. The user of an external Redis is kept out of the ConfigMap: see gatewayEnv.
func backplaneURL(cluster *v1alpha1.WebSocketCluster, user string) string {
	external := cluster.Spec.Redis.External
	if external == nil {
		return fmt.Sprintf("redis://%s@%s.%s.svc:%d/0", RedisUser, RedisName(cluster), cluster.Namespace, RedisPort)
	}
	return ExternalRedisURL(external, user)
}

// ExternalRedisURL is the gateway's backplane setting for a Redis that somebody else runs. The user is put in as it is, already escaped;
// empty: the user named default.
func ExternalRedisURL(external *v1alpha1.ExternalRedis, user string) string {
	scheme, suffix := "redis", "/0"
	if external.TLS != nil {
		scheme = "rediss"
	}
	switch external.Mode {
	case v1alpha1.ExternalSentinel:
		scheme, suffix = scheme+"+sentinel", "/0?master="+url.QueryEscape(external.MasterName)
	case v1alpha1.ExternalCluster:
		scheme, suffix = scheme+"+cluster", ""
	}
	if user != "" {
		user += "@"
	}
	return scheme + "://" + user + strings.Join(external.Addresses, ",") + suffix
}

func inConfig(file string) string { return configDirectory + "/" + file }

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// shortHash is for telling contents apart, not for security.
func shortHash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}
