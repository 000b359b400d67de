package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

// watched is a gateway whose link to Redis leads through a proxy of its own.
type watched struct {
	*node
	proxy *faultproxy.Proxy
}

// startWatched runs gateways and waits until the canaries of all have come back.
func startWatched(t *testing.T, count int) ([]watched, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	var nodes []watched
	for i := range count {
		proxy := faultproxy.Start(t, server.Addr)
		proxy.Mark("SUBSCRIBE")
		n := start(t, "redis://"+proxy.Addr, func(s *settings.Settings) { s.Node = fmt.Sprintf("node-%d", i+1) }, talkative)
		nodes = append(nodes, watched{n, proxy})
	}
	for _, n := range nodes {
		eventually(t, "its canaries come back", func() bool { return n.canaryStatus(t).State == canaryPassing && n.ready(t) })
		eventually(t, "it knows of the others", func() bool { return n.LiveNodes() == count })
	}
	return nodes, server
}

func (n watched) ready(t *testing.T) bool {
	t.Helper()
	return n.ops(t, "/readyz").status == http.StatusOK
}

func (n watched) canaryStatus(t *testing.T) CanaryStatus {
	t.Helper()
	var s Status
	if err := json.Unmarshal([]byte(n.ops(t, "/statusz").body), &s); err != nil || s.Canary == nil {
		t.Fatalf("/statusz says %+v of canaries: %v", s, err)
	}
	return *s.Canary
}

// failing waits until a gateway has failed for some rounds in a row, calling meanwhile, if given, after each look.
func (n watched) failing(t *testing.T, rounds int, meanwhile func()) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d canaries in a row do not come back", rounds), func() bool {
		if meanwhile != nil {
			meanwhile()
		}
		s := n.canaryStatus(t)
		return s.State == canaryFailing && s.Shards[0].FailingRounds >= rounds
	})
}

func TestAGatewayWhoseSubscriptionsAreDeadGoesUnreadyAlone(t *testing.T) {
	nodes, _ := startWatched(t, 3)
	broken, others := nodes[0], nodes[1:]
	broken.proxy.BlackholeMarked() // what it publishes still arrives, and so do its commands' answers
	eventually(t, "it is not ready", func() bool {
		for _, n := range others {
			if !n.ready(t) {
				t.Fatal("a gateway that is well goes unready")
			}
		}
		return !broken.ready(t)
	})
	if got, want := broken.ops(t, "/readyz").body, "messages do not come back through Redis (shard redis), and those of other gateways do\n"; got != want {
		t.Errorf("/readyz says %q, want %q", got, want)
	}
	if got := broken.ops(t, "/livez"); got.status != http.StatusOK {
		t.Errorf("/livez is %d: a restart mends no network", got.status)
	}
	status := broken.canaryStatus(t)
	shard := status.Shards[0]
	if status.State != canaryFailing || shard.State != canaryFailing || !shard.Unready || shard.FailingRounds < unreadyAfter || shard.Redials == 0 ||
		shard.LastError == "" || shard.LastPassSecondsAgo < 0 {
		t.Errorf("/statusz says of canaries: %+v", status)
	}
	for name, want := range map[string]float64{`wscluster_canary_up{shard="redis"}`: 0, "wscluster_ready": 0} {
		if got := broken.metric(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
		if got := others[0].metric(t, name); got != 1 {
			t.Errorf("of a gateway that is well %s is %v, want 1", name, got)
		}
	}
	if failures := broken.metric(t, `wscluster_canary_failures_total{shard="redis"}`); failures < unreadyAfter {
		t.Errorf("%v failures are counted", failures)
	}

	broken.proxy.Restore()
	eventually(t, "it is ready again", func() bool { return broken.ready(t) })
	if s := broken.canaryStatus(t); s.State != canaryPassing || s.Shards[0].Unready || s.Shards[0].LastError != "" {
		t.Errorf("/statusz says of canaries: %+v", s)
	}
	alice, bob := broken.dial(t, "alice"), others[0].dial(t, "bob")
	alice.join("r")
	bob.join("r")
	eventually(t, "messages pass again", func() bool { return passes(alice, bob, `"room_id":"r"`) && passes(bob, alice, `"room_id":"r"`) })
}

func TestAGatewayWhoseSubscriptionsBreakForAMomentStaysReady(t *testing.T) {
	nodes, _ := startWatched(t, 2)
	before := nodes[0].proxy.Accepted()
	nodes[0].proxy.BlackholeMarked()
	nodes[0].failing(t, failingAfter, nil)
	nodes[0].proxy.Restore() // the connections that were open stay dead: it has to make new ones
	eventually(t, "canaries come back", func() bool {
		if !nodes[0].ready(t) || !nodes[1].ready(t) {
			t.Fatal("a gateway goes unready")
		}
		return nodes[0].canaryStatus(t).State == canaryPassing
	})
	if nodes[0].proxy.Accepted() == before {
		t.Error("no new connection to Redis was made")
	}
}

// A pod whose every link is dead cannot tell its own trouble from everybody's. It stays ready, as the rule is for what may be shared.
func TestAGatewayThatIsCutOffFromRedisAltogetherStaysReady(t *testing.T) {
	nodes, _ := startWatched(t, 2)
	nodes[0].proxy.Blackhole()
	nodes[0].failing(t, unreadyAfter+2, func() {
		if !nodes[0].ready(t) || !nodes[1].ready(t) {
			t.Fatal("a gateway goes unready")
		}
	})
	nodes[0].proxy.Restore()
	eventually(t, "canaries come back", func() bool { return nodes[0].canaryStatus(t).State == canaryPassing })
}

func TestAnOutageThatAllShareTakesNoGatewayOut(t *testing.T) {
	for name, fault := range map[string]struct {
		away, back func(*redistest.Server, []watched)
	}{
		"Redis is killed": {
			func(s *redistest.Server, _ []watched) { s.Kill() }, func(s *redistest.Server, _ []watched) { s.Restart() },
		},
		"Redis hangs": {
			func(s *redistest.Server, _ []watched) { s.Pause() }, func(s *redistest.Server, _ []watched) { s.Resume() },
		},
		"all subscriptions are dead, and the registry can be read": {
			func(_ *redistest.Server, nodes []watched) {
				for _, n := range nodes {
					n.proxy.BlackholeMarked()
				}
			},
			func(_ *redistest.Server, nodes []watched) {
				for _, n := range nodes {
					n.proxy.Restore()
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, server := startWatched(t, 2)
			allReady := func() {
				for _, n := range nodes {
					if !n.ready(t) {
						t.Fatalf("a gateway goes unready: %s", n.ops(t, "/readyz").body)
					}
				}
			}
			fault.away(server, nodes)
			for _, n := range nodes {
				n.failing(t, unreadyAfter+2, allReady)
			}
			fault.back(server, nodes)
			// The one that comes back first must not take the other out.
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
				allReady()
			}
			for _, n := range nodes {
				eventually(t, "canaries come back", func() bool { allReady(); return n.canaryStatus(t).State == canaryPassing })
			}
		})
	}
}

// A full Redis still passes messages on, so nothing is dialled anew and nobody goes unready, but what is to be kept is refused.
func TestAGatewayTellsThatRedisIsFull(t *testing.T) {
	nodes, server := startWatched(t, 1)
	n := nodes[0]
	if got := n.metric(t, `wscluster_backplane_writable{shard="redis"}`); got != 1 {
		t.Errorf("wscluster_backplane_writable is %v before", got)
	}
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = admin.Close() })
	configure := func(value string) {
		if err := admin.ConfigSet(t.Context(), "maxmemory", value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	configure("1mb") // less than an empty Redis takes
	eventually(t, "it says that Redis refuses to write", func() bool { return n.canaryStatus(t).Shards[0].Refusal != "" })
	shard := n.canaryStatus(t).Shards[0]
	if want := "OOM command not allowed when used memory > 'maxmemory'."; shard.Refusal != want || shard.State != canaryPassing || shard.Redials != 0 {
		t.Errorf("/statusz says of canaries %+v, want them passing and %q", shard, want)
	}
	if got := n.metric(t, `wscluster_backplane_writable{shard="redis"}`); got != 0 || !n.ready(t) {
		t.Errorf("wscluster_backplane_writable is %v, ready is %v; want 0 and true", got, n.ready(t))
	}
	configure("0")
	eventually(t, "it says that Redis takes writes again", func() bool { return n.canaryStatus(t).Shards[0].Refusal == "" })
}

func TestAGatewayWithoutRedisHasNoCanaries(t *testing.T) {
	n := start(t, "memory://", nil)
	var s Status
	if err := json.Unmarshal([]byte(n.ops(t, "/statusz").body), &s); err != nil || s.Canary != nil {
		t.Errorf("/statusz says of canaries %+v, %v", s.Canary, err)
	}
}
