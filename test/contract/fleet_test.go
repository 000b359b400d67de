package contract

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// fleetConfig is what most tests need: a policy for each word of the policies, and no rate limit.
const fleetConfig = `
directMessages: {publish: anyone}
inbox: {size: 1000, ttlSeconds: 600}
limits: {messagesPerSecond: 0}
rooms:
- {match: "log-*", history: {size: 1000, ttlSeconds: 600}}
- {match: "short-*", history: {size: 5, ttlSeconds: 600}}
- {match: "replicated-*", history: {size: 10, minReplicas: 1}}
- {match: "present-*", presence: Enabled}
- {match: "open-*", publish: anyone}
- {match: "server-*", publish: server, history: {size: 10}}
- {match: "closed-*", join: none, publish: none}
- {match: "verified-*", join: authenticated, publish: authenticated}
- {match: "granted-*", join: token, publish: token}
`

// apiKey and otherKey are two keys of the server API, opsToken the one of the ops endpoints, jwtSecret signs tokens.
var (
	apiKey    = secret("an-api-key-of-the-contract")
	otherKey  = secret("another-api-key-of-the-contract")
	opsToken  = secret("an-ops-token-of-the-contract")
	jwtSecret = secret("a-secret-for-tokens-of-at-least-32-bytes")
)

// fleet is two gateways over one Redis that all tests share which harm neither. a and b believe ?user_id=; tokens wants a token.
type fleet struct {
	redis        *redisServer
	a, b, tokens *gateway
}

var theFleet = sync.OnceValues(func() (*fleet, error) {
	f := &fleet{}
	var err error
	dir := func(name string) string {
		path := filepath.Join(folder, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			panic(err) // nobody else writes there
		}
		return path
	}
	if f.redis, err = runRedis(dir("redis")); err != nil {
		return nil, err
	}
	keep := func(g *gateway, err error) (*gateway, error) {
		if err == nil {
			ends = append(ends, g.kill)
		}
		return g, err
	}
	ends = append(ends, f.redis.kill)
	keys, jwt := filepath.Join(folder, "api-keys"), filepath.Join(folder, "jwt-secret")
	if err := os.WriteFile(keys, []byte(apiKey+"\n"+otherKey+"\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(jwt, []byte(jwtSecret), 0o600); err != nil {
		return nil, err
	}
	common := []string{"--backplane=" + f.redis.url(), "--cluster=contract", "--api-listen=127.0.0.1:0", "--api-key-file=" + keys}
	if f.a, err = keep(runGateway(dir("a"), fleetConfig, append(common, "--auth=trusted", "--node=gateway-a")...)); err != nil {
		return nil, err
	}
	if f.b, err = keep(runGateway(dir("b"), fleetConfig, append(common, "--auth=trusted", "--node=gateway-b")...)); err != nil {
		return nil, err
	}
	f.tokens, err = keep(runGateway(dir("tokens"), fleetConfig, append(common, "--auth=jwt", "--jwt-secret-file="+jwt, "--node=gateway-tokens")...))
	return f, err
})

// shared returns the fleet that all tests share.
func shared(t *testing.T) *fleet {
	t.Helper()
	f, err := theFleet()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []*gateway{f.a, f.b, f.tokens} {
		eventually(t, "the gateways of the fleet are ready", func() bool { return ask(t, "GET", "http://"+g.ops+"/readyz", "").status == 200 })
	}
	return f
}
