package redis

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// probe sends a canary through every shard and waits up to a second.
func probe(t testing.TB, b *Backplane) error {
	t.Helper()
	for _, shard := range b.Shards() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := b.Probe(ctx, shard)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func redial(b *Backplane) {
	for _, shard := range b.Shards() {
		b.Redial(shard)
	}
}

func awaitProbe(t testing.TB, b *Backplane) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = probe(t, b); err == nil {
			return
		}
	}
	t.Fatalf("no canary comes back: %v", err)
}

func TestACanaryProvesEverySubscriptionLink(t *testing.T) {
	server := redistest.Start(t)
	for _, subscribers := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(subscribers), func(t *testing.T) {
			b, sink := start(t, Options{URL: server.URL(), Subscribers: subscribers, Cluster: fmt.Sprint("cluster-", subscribers)})
			for range 3 {
				awaitProbe(t, b)
			}
			channels := admin(t, server.Addr).PubSubChannels(t.Context(), fmt.Sprintf("cluster-%d:{c:*}:ch", subscribers)).Val()
			if len(channels) != subscribers {
				t.Errorf("canaries are sent to %d channels %q for %d links", len(channels), channels, subscribers)
			}
			if got := b.Status().Subscriptions; got != 0 {
				t.Errorf("%d subscriptions are counted, and nobody has subscribed to anything", got)
			}
			if events := sink.Events(); len(events) != 0 {
				t.Errorf("the sink is told of canaries: %+v", events)
			}
		})
	}
}

// A link can look sound from every side: here the subscriptions stay with a server that others have left, as after a
// failover that one link has not noticed. Every ping is answered and every publication taken.
func TestACanaryFindsLinksThatLeadToDifferentServersAndRedialMendsThem(t *testing.T) {
	old, next := redistest.Start(t), redistest.Start(t)
	proxy := faultproxy.Start(t, old.Addr)
	b, sink := start(t, Options{URL: "redis://" + proxy.Addr})
	b.Subscribe(room("lobby"))
	sink.AwaitSubscribed(room("lobby"), 1)
	awaitProbe(t, b)

	proxy.RetargetNew(next.Addr)
	admin(t, old.Addr).ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes")
	backplanetest.AwaitStatus(t, b, "up again", func(s backplane.Status) bool { return s.Up && s.Reconnects == 1 })
	backplanetest.MustPublish(t, b, text(room("lobby"), "taken, and lost"))
	err := probe(t, b)
	if err == nil || !strings.Contains(err.Error(), "has not come back") {
		t.Fatalf("the canary ends with %v", err)
	}
	redial(b)
	awaitProbe(t, b)
	sink.AwaitSubscribed(room("lobby"), 2)
	backplanetest.MustPublish(t, b, text(room("lobby"), "delivered"))
	if got := sink.AwaitBodies(room("lobby"), 1); got[0] != "delivered" {
		t.Errorf("delivered %q", got)
	}
}

func TestACanaryFailsWhile(t *testing.T) {
	for name, fault := range map[string]struct {
		away, back func(*redistest.Server, *faultproxy.Proxy)
	}{
		"Redis is away":                        {func(s *redistest.Server, _ *faultproxy.Proxy) { s.Kill() }, func(s *redistest.Server, _ *faultproxy.Proxy) { s.Restart() }},
		"Redis hangs":                          {func(s *redistest.Server, _ *faultproxy.Proxy) { s.Pause() }, func(s *redistest.Server, _ *faultproxy.Proxy) { s.Resume() }},
		"the link is half-open":                {func(_ *redistest.Server, p *faultproxy.Proxy) { p.Blackhole() }, func(_ *redistest.Server, p *faultproxy.Proxy) { p.Restore() }},
		"the subscriptions' link is half-open": {func(_ *redistest.Server, p *faultproxy.Proxy) { p.BlackholeMarked() }, func(_ *redistest.Server, p *faultproxy.Proxy) { p.Restore() }},
		"the port is closed":                   {func(_ *redistest.Server, p *faultproxy.Proxy) { p.Refuse() }, func(_ *redistest.Server, p *faultproxy.Proxy) { p.Restore() }},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := faultproxy.Start(t, server.Addr)
			proxy.Mark("SUBSCRIBE")
			b, _ := start(t, Options{URL: "redis://" + proxy.Addr, Timing: Timing{Dial: 200 * time.Millisecond, Ping: 50 * time.Millisecond, Silence: 200 * time.Millisecond}})
			awaitProbe(t, b)
			fault.away(server, proxy)
			for range 2 {
				if probe(t, b) == nil {
					t.Error("a canary comes back")
				}
				redial(b)
			}
			fault.back(server, proxy)
			awaitProbe(t, b)
		})
	}
}

// The links may have been made anew by themselves while the canary was out; then they are not to be cut again.
func TestRedialLeavesLinksThatAreNewerThanTheCanary(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	b, _ := start(t, Options{URL: "redis://" + proxy.Addr})
	awaitProbe(t, b)
	failed, paused := make(chan error), time.Now()
	server.Pause()
	go func() { failed <- probe(t, b) }()
	for out := 0; out < b.dialer.options.Subscribers; {
		out = 0
		b.canaries.mu.Lock()
		for _, home := range b.canaries.cages {
			if home.began.After(paused) {
				out++
			}
		}
		b.canaries.mu.Unlock()
	}
	proxy.Cut()
	if err := <-failed; err == nil {
		t.Fatal("a canary came back from a server that is stopped")
	}
	server.Resume()
	awaitUp(t, b)
	made := proxy.Accepted()
	redial(b)
	awaitProbe(t, b)
	if got := proxy.Accepted(); got != made || !b.Status().Up {
		t.Errorf("%d links were made, %d of them after the canary had failed", got, got-made)
	}
}

func TestNoCanaryOfOthersCounts(t *testing.T) {
	server := redistest.Start(t)
	b, sink := start(t, Options{URL: server.URL(), Subscribers: 1})
	b.Subscribe(room("lobby"))
	sink.AwaitSubscribed(room("lobby"), 1)
	awaitProbe(t, b)
	home := b.canaries.cages[cagePlace{backplane.SoleShard, 0}]
	_, back := b.canaries.release(home)
	client, channel := admin(t, server.Addr), string(b.names.appendChannel(nil, home.target))
	for _, body := range []string{"", "1", "garbage"} {
		client.Publish(t.Context(), channel, body)
		client.Publish(t.Context(), channel, string(appendEnvelope(nil, "", []byte(body))))
	}
	backplanetest.MustPublish(t, b, text(room("lobby"), "behind them on the same link"))
	sink.AwaitBodies(room("lobby"), 1)
	select {
	case <-back:
		t.Error("something else was taken for the canary that is out")
	default:
	}
	client.Publish(t.Context(), channel, string(appendEnvelope(nil, "", []byte(home.awaited))))
	<-back
}

func TestRedisSaysWhyItTakesNoWrites(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	awaitProbe(t, b)
	refusal := func() string {
		words, err := b.Refusal(t.Context(), b.Shards()[0])
		if err != nil {
			t.Fatal(err)
		}
		return words
	}
	if words := refusal(); words != "" {
		t.Errorf("an empty Redis refuses: %q", words)
	}
	for _, state := range []struct{ name, value, back, want string }{
		{"maxmemory", "1mb", "0", "OOM command not allowed when used memory > 'maxmemory'."},
		{"min-replicas-to-write", "1", "0", "NOREPLICAS Not enough good replicas to write."},
	} {
		if err := admin(t, server.Addr).ConfigSet(t.Context(), state.name, state.value).Err(); err != nil {
			t.Fatal(err)
		}
		if words := refusal(); words != state.want {
			t.Errorf("with %s %s it refuses with %q, want %q", state.name, state.value, words, state.want)
		}
		if err := probe(t, b); err != nil {
			t.Errorf("with %s %s no message passes: %v", state.name, state.value, err)
		}
		if err := admin(t, server.Addr).ConfigSet(t.Context(), state.name, state.back).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if words := refusal(); words != "" {
		t.Errorf("it refuses still: %q", words)
	}
	if err := admin(t, server.Addr).Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if words, err := b.Refusal(t.Context(), b.Shards()[0]); words != "" || err == nil {
		t.Errorf("a primary that became a replica refuses with %q, %v; want only an error: another link leads to the primary", words, err)
	}
}
