package bench

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/backplane/redis"
	"github.com/wscluster/wscluster/pkg/gateway"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/settings"
)

// node is a real gateway in this process.
type node struct {
	*gateway.Gateway
	url   string
	drain context.CancelFunc // as SIGTERM
	kill  func()             // as SIGKILL, but for the goroutines
	done  chan struct{}
}

func startNode(t *testing.T, name string, plane backplane.Backplane, change func(*settings.Settings)) *node {
	t.Helper()
	s := settings.Default()
	s.Listen, s.OpsListen, s.APIListen, s.Node = "127.0.0.1:0", "127.0.0.1:0", "", name
	s.Auth.Type = settings.AuthTrusted
	s.Limits.MessagesPerSecond, s.Limits.ConnectsPerSecond = 0, 0
	s.Drain.Delay = 100 * time.Millisecond
	s.Drain.Timeout = 8 * time.Second
	if change != nil {
		change(&s)
	}
	g, err := gateway.New(s, plane, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, drain := context.WithCancel(context.WithoutCancel(t.Context()))
	hard, cut := context.WithCancel(context.WithoutCancel(t.Context()))
	n := &node{Gateway: g, url: "ws://" + g.Addr().String() + "/ws", drain: drain, done: make(chan struct{})}
	n.kill = func() {
		cut()
		drain()
		<-n.done
	}
	go func() {
		defer close(n.done)
		if err := g.Run(ctx, hard); err != nil {
			t.Errorf("gateway %s: %v", name, err)
		}
	}()
	t.Cleanup(n.kill)
	return n
}

// startNodes runs gateways on one Redis.
func startNodes(t *testing.T, server *redistest.Server, names ...string) []*node {
	t.Helper()
	return startNodesWith(t, server, nil, names...)
}

func startNodesWith(t *testing.T, server *redistest.Server, change func(*settings.Settings), names ...string) []*node {
	t.Helper()
	nodes := make([]*node, 0, len(names))
	for _, name := range names {
		plane, err := redis.New(redis.Options{URL: server.URL(), Cluster: "bench", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, startNode(t, name, plane, change))
	}
	return nodes
}

func connectAll(t *testing.T, o Options) *Generator {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := g.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestARunAgainstOneGateway(t *testing.T) {
	n := startNode(t, "one", memory.New(), nil)
	for name, load := range map[string]Load{
		"at a rate":            {Rate: 400, Duration: 500 * time.Millisecond},
		"messages under way":   {Outstanding: 16, Duration: 500 * time.Millisecond},
		"a number of messages": {Outstanding: 4, Messages: 100, Duration: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Run(t.Context(), Options{URLs: []string{n.url}, Publishers: 3, Subscribers: 50, Rooms: 5, RoomsPerSubscriber: 2, Check: true}, load)
			if err != nil {
				t.Fatal(err)
			}
			wantClean(t, r)
			if r.Nodes["one"] != 53 || r.Connects != 53 || r.Ready != 53 {
				t.Errorf("%d connections, %d to gateway one, %d at the end; want 53 of each", r.Connects, r.Nodes["one"], r.Ready)
			}
			if load.Messages > 0 && r.Load.Published != uint64(load.Messages) {
				t.Errorf("%d messages were published, want %d", r.Load.Published, load.Messages)
			}
			if q := r.Load.Latency; q.P50 <= 0 || q.P99 < q.P50 || q.Max < q.P99 {
				t.Errorf("latencies %+v make no sense", q)
			}
		})
	}
}

// wantClean fails unless everything that was sent was acked and came, once and in order.
func wantClean(t *testing.T, r *Report) {
	t.Helper()
	if len(r.Violations) > 0 {
		t.Errorf("violations: %s", strings.Join(r.Violations, "; "))
	}
	l, c := r.Load, r.Check
	if l.Published == 0 || l.Acked != l.Published || l.Delivered != l.Expected || l.Delivered == 0 || len(l.Failed) > 0 || l.Stalled > 0 {
		t.Errorf("published %d, acked %d, failed %v; delivered %d of %d, stalled %d", l.Published, l.Acked, l.Failed, l.Delivered, l.Expected, l.Stalled)
	}
	if c.Owed != c.Delivered || c.InFlight+c.Away+c.Overlapped > 0 {
		t.Errorf("the check says %+v; want all that is owed delivered, and nothing else", c)
	}
}

func TestARunAgainstTwoGatewaysAndRedis(t *testing.T) {
	nodes := startNodes(t, redistest.Start(t), "one", "two")
	r, err := Run(t.Context(), Options{URLs: []string{nodes[0].url, nodes[1].url}, Publishers: 4, Subscribers: 61, Rooms: 3, Check: true}, Load{Rate: 300, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	wantClean(t, r)
	if r.Nodes["one"] < 30 || r.Nodes["two"] < 30 {
		t.Errorf("connections by gateway: %v, want half of 65 at each", r.Nodes)
	}
}

// TestClientsThatAreAskedToMoveLoseNothing drains one of two gateways under load.
func TestClientsThatAreAskedToMoveLoseNothing(t *testing.T) {
	nodes := startNodes(t, redistest.Start(t), "one", "two")
	g := connectAll(t, Options{URLs: []string{nodes[0].url, nodes[1].url}, Publishers: 2, Subscribers: 40, Check: true})
	time.AfterFunc(500*time.Millisecond, nodes[0].drain)
	phase, err := g.Publish(t.Context(), Load{Rate: 200, Duration: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := g.Report(phase)
	if len(r.Violations) > 0 {
		t.Errorf("violations: %s", strings.Join(r.Violations, "; "))
	}
	if r.Moved != 21 || r.Ready != 42 || len(r.Unexpected) > 0 {
		t.Errorf("%d clients moved, %d are connected, unexpected closes %v; want 21, 42, none", r.Moved, r.Ready, r.Unexpected)
	}
	if r.Check.Lost+r.Check.Away+r.Check.InFlight > 0 {
		t.Errorf("lost %d, missed %d, in flight %d; want none: the new connection is opened before the old one is left", r.Check.Lost, r.Check.Away, r.Check.InFlight)
	}
}

// TestClientsComeBackFromAGatewayThatDies cuts one of two gateways off under load.
func TestClientsComeBackFromAGatewayThatDies(t *testing.T) {
	nodes := startNodes(t, redistest.Start(t), "one", "two")
	g := connectAll(t, Options{URLs: []string{nodes[0].url, nodes[1].url}, Publishers: 2, Subscribers: 40, Check: true, Backoff: 50 * time.Millisecond})
	time.AfterFunc(time.Second, nodes[0].kill)
	phase, err := g.Publish(t.Context(), Load{Rate: 200, Duration: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := g.Report(phase)
	if len(r.Violations) > 0 {
		t.Errorf("violations: %s", strings.Join(r.Violations, "; "))
	}
	if r.Recovery.Count != 21 || r.Ready != 42 {
		t.Errorf("%d clients came back, %d are connected; want 21 and 42", r.Recovery.Count, r.Ready)
	}
	if r.Check.Away == 0 {
		t.Error("nobody missed anything while it was away: the fault was none")
	}
	if r.Check.Lost > 0 {
		t.Errorf("%d messages were lost though no fault was near", r.Check.Lost)
	}
}

// TestAnOutageOfRedisLosesOnlyWhatWasInFlight kills Redis for a second.
func TestAnOutageOfRedisLosesOnlyWhatWasInFlight(t *testing.T) {
	server := redistest.Start(t)
	nodes := startNodes(t, server, "one", "two")
	g := connectAll(t, Options{URLs: []string{nodes[0].url, nodes[1].url}, Publishers: 2, Subscribers: 40, Check: true})
	go func() {
		time.Sleep(time.Second)
		server.Kill()
		time.Sleep(time.Second)
		server.Restart()
	}()
	phase, err := g.Publish(t.Context(), Load{Rate: 200, Duration: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := g.Report(phase)
	if len(r.Violations) > 0 {
		t.Errorf("violations: %s", strings.Join(r.Violations, "; "))
	}
	if r.Connects != 42 {
		t.Errorf("%d connections were made, want 42: an outage of Redis closes nobody", r.Connects)
	}
	if r.Load.AckLatency.Max < 300 && len(r.Load.Failed) == 0 {
		t.Errorf("the longest wait for an ack was %.0f ms and none failed: the outage was none", r.Load.AckLatency.Max)
	}
	if last := phase.Timeline(); len(last) < 500 {
		t.Errorf("deliveries ended after %d steps of %v, want some until the end", len(last), TimelineStep)
	}
}

func TestARunThatIsCutShortLosesNothing(t *testing.T) {
	n := startNode(t, "one", memory.New(), nil)
	g := connectAll(t, Options{URLs: []string{n.url}, Publishers: 1, Subscribers: 50, Check: true})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, cancel)
	begin := time.Now()
	phase, err := g.Publish(ctx, Load{Rate: 500, Duration: time.Minute})
	if err == nil {
		t.Error("a run that is cut short must say so")
	}
	wantClean(t, g.Report(phase))
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it went on for %v", took)
	}
}

func TestConnectSaysWhyItFailed(t *testing.T) {
	n := startNode(t, "one", memory.New(), func(s *settings.Settings) { s.Limits.MaxConnections = 2 })
	g, err := New(Options{URLs: []string{n.url}, Publishers: 1, Subscribers: 4, StayClosed: true})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	err = g.Connect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "2 of 5 clients are connected") || !strings.Contains(err.Error(), "this gateway is full") {
		t.Errorf("the error is %q; want it to say that 2 of 5 are connected, and the gateway's own words", err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	n := startNode(t, "one", memory.New(), nil)
	for range 3 {
		g := connectAll(t, Options{URLs: []string{n.url}, Publishers: 1, Subscribers: 100})
		g.Close()
		g.mu.Lock()
		if len(g.conns) != 0 {
			t.Errorf("%d connections are open after Close", len(g.conns))
		}
		g.mu.Unlock()
	}
}
