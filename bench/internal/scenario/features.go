package scenario

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"
)

// feature is something that the gateway does beyond passing messages on.
type feature struct {
	metric string
	// rooms are the room policies.
	rooms string
	// tokens has each client prove by a token who it is and which rooms it may use.
	tokens bool
}

var features = []feature{
	{metric: "neither", rooms: policy("anyone", "")},
	{metric: "history", rooms: policy("anyone", "  history: {size: 1000, ttlSeconds: 600}\n")},
	{metric: "tokens and room policies", rooms: `rooms:
- {match: "news", publish: server}
- {match: "staff:*", join: authenticated, publish: authenticated}
- {match: "support:*:internal", join: none, publish: none}
` + strings.TrimPrefix(policy("token", ""), "rooms:\n"), tokens: true},
}

func policy(who, more string) string {
	return "rooms:\n- match: \"bench-*\"\n  join: " + who + "\n  publish: " + who + "\n" + more
}

// Features measures what keeping messages and judging clients cost, by the same work with and without.
func Features() []Scenario {
	list := []Scenario{}
	for _, f := range features {
		list = append(list, Scenario{
			Name: "features", Title: "200 rooms of 10 over two nodes, 1,000 messages/s, with", Fits: ours, Metric: f.metric,
			Prepare: func(ctx context.Context, e *Env) (Session, error) { return e.withFeature(ctx, &f) },
		})
	}
	return list
}

func (e *Env) withFeature(ctx context.Context, f *feature) (Session, error) {
	dir, err := os.MkdirTemp("", "bench-features-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the gateways have read the files by the time that clients are connected
	config := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(config, []byte(f.rooms), 0o600); err != nil {
		return nil, err
	}
	flags := []string{"--config=" + config}
	secret := rand.Text()
	if f.tokens {
		file := filepath.Join(dir, "secret")
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			return nil, err
		}
		flags = append(flags, "--auth=jwt", "--jwt-secret-file="+file)
	}
	d, err := e.deploy(2, true, flags...)
	if err != nil {
		return nil, err
	}
	o := e.options(d.Cluster)
	o.Rooms = e.size(200, 10)
	o.Publishers, o.Subscribers = o.Rooms, 9*o.Rooms
	o.URLs = inBlocks(d.URLs, o.Rooms)
	if f.tokens {
		for client := range o.Publishers + o.Subscribers {
			o.Tokens = append(o.Tokens, token(secret, fmt.Sprintf("bench-%d", client)))
		}
	}
	return e.load(ctx, d, o, func(ctx context.Context, s *loaded) ([]Value, error) {
		l := bench.Load{Rate: 1000, Duration: s.duration(2 * time.Second), Grace: 2 * time.Second}
		if err := s.warm(ctx, l); err != nil {
			return nil, err
		}
		broker, err := startCost(s.redis)
		if err != nil {
			return nil, err
		}
		values, phase, err := s.deliveries(ctx, l)
		if err != nil {
			return nil, err
		}
		micros, err := broker.per(phase.Published)
		return append(values, Value{f.metric + ", Redis", "µs a message", micros}), err
	})
}

// token is a JSON Web Token (RFC 7519) that grants the rooms of the bench for an hour.
func token(secret, user string) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		encode(fmt.Appendf(nil, `{"sub":%q,"exp":%d,"rooms":["news","bench-*"]}`, user, time.Now().Add(time.Hour).Unix()))
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte(text))
	return text + "." + encode(sum.Sum(nil))
}
