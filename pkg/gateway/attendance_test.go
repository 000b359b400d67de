package gateway

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/socket"
)

func atMost(connections int) func(*settings.Settings) {
	return func(s *settings.Settings) { s.Limits.MaxConnectionsPerUser = connections }
}

// changeLimits is what a reload does.
func (n *node) changeLimits(change func(*settings.Limits)) {
	s := n.settings
	s.Limits = n.live.Load().limits
	change(&s.Limits)
	n.apply(s)
}

func TestTheOldestConnectionOfAUserIsReplaced(t *testing.T) {
	for name, fleet := range map[string]func(t *testing.T) []*node{
		"on one gateway without Redis": func(t *testing.T) []*node { return []*node{start(t, "memory://", atMost(2))} },
		"on one gateway": func(t *testing.T) []*node {
			nodes, _ := startFleet(t, 1, atMost(2))
			return nodes
		},
		"over three gateways": func(t *testing.T) []*node {
			nodes, _ := startFleet(t, 3, atMost(2))
			return nodes
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := fleet(t)
			var alice []*client
			for i := range 4 {
				alice = append(alice, nodes[i%len(nodes)].dial(t, "alice"))
				if i >= 2 {
					alice[i-2].wantClose(protocol.CloseReplaced)
				}
			}
			bob := nodes[0].dial(t, "bob")
			for _, c := range []*client{alice[2], alice[3], bob} {
				c.nothing()
			}
			replaced := 0.0
			for _, n := range nodes {
				replaced += n.metric(t, `wscluster_disconnects_total{reason="replaced"}`)
			}
			if replaced != 2 {
				t.Errorf("%v connections are counted as replaced, want 2", replaced)
			}
		})
	}
}

func TestAConnectionThatEndedCountsNoMore(t *testing.T) {
	nodes, _ := startFleet(t, 2, atMost(2))
	kept := nodes[0].dial(t, "alice")
	for i := range 5 {
		c := nodes[i%2].dial(t, "alice")
		_ = c.ws.Close()
		eventually(t, "the gateways have noticed, and told Redis", func() bool {
			gone := nodes[0].metrics.disconnects[socket.ClientGone].Load() + nodes[1].metrics.disconnects[socket.ClientGone].Load()
			return gone == uint64(i+1) && nodes[0].attendance.settled() && nodes[1].attendance.settled()
		})
	}
	kept.nothing()
}

// settled says that the backplane knows the newest state.
func (a *attendance) settled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.due)+len(a.failed)+a.flying == 0
}

func TestGuestsHaveNoLimitOfConnections(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) {
		s.Auth.Type, s.Limits.MaxConnectionsPerUser = settings.AuthGuest, 1
	})
	first, second := n.dial(t, "alice"), n.dial(t, "alice")
	first.nothing()
	second.nothing()
}

func TestALimitOfConnectionsIsReloaded(t *testing.T) {
	nodes, _ := startFleet(t, 2, nil)
	var alice []*client
	for i := range 4 {
		alice = append(alice, nodes[i%2].dial(t, "alice"))
	}
	for _, n := range nodes {
		n.changeLimits(func(l *settings.Limits) { l.MaxConnectionsPerUser = 3 })
	}
	alice[0].wantClose(protocol.CloseReplaced)
	for _, n := range nodes {
		n.changeLimits(func(l *settings.Limits) { l.MaxConnectionsPerUser = 2 })
	}
	alice[1].wantClose(protocol.CloseReplaced)
	for _, n := range nodes {
		n.changeLimits(func(l *settings.Limits) { l.MaxConnectionsPerUser = 0 })
	}
	for range 3 {
		alice = append(alice, nodes[0].dial(t, "alice"))
	}
	for _, c := range alice[2:] {
		c.nothing()
	}
}

// While Redis is away every gateway bounds what it has; when it is back, all together are bounded again.
func TestALimitOfConnectionsWithoutRedis(t *testing.T) {
	nodes, server := startFleet(t, 2, atMost(2))
	oldest := nodes[0].dial(t, "alice")
	server.Kill()
	for _, n := range nodes {
		eventually(t, "the gateway has noticed", func() bool { return !n.backplane.Status().Up })
	}
	var here []*client
	for i := range 3 {
		here = append(here, nodes[1].dial(t, "alice"))
		if i == 2 {
			here[0].wantClose(protocol.CloseReplaced)
		}
	}
	oldest.nothing() // of another gateway: three of two are connected
	server.Restart()
	oldest.wantClose(protocol.CloseReplaced)
	here[1].nothing()
	here[2].nothing()
}

// A Redis that comes back empty is told everything again.
func TestALimitOfConnectionsAfterRedisLostItsMemory(t *testing.T) {
	nodes, server := startFleet(t, 2, atMost(2))
	first := nodes[0].dial(t, "alice")
	second := nodes[1].dial(t, "alice")
	server.Kill()
	server.Restart() // memory only
	for _, n := range nodes {
		eventually(t, "the gateway is back", func() bool { return n.backplane.Status().Up && n.backplane.Status().Reconnects > 0 })
		eventually(t, "it has told Redis", func() bool {
			n.attendance.mu.Lock()
			defer n.attendance.mu.Unlock()
			return n.attendance.reconnects == n.backplane.Status().Reconnects && len(n.attendance.due)+len(n.attendance.failed)+n.attendance.flying == 0
		})
	}
	third := nodes[1].dial(t, "alice")
	first.wantClose(protocol.CloseReplaced)
	second.nothing()
	third.nothing()
}

// A gateway that is killed takes its connections out of the count: the client that comes back from it must not push out another.
func TestTheConnectionsOfAGatewayThatDiedCountNoMore(t *testing.T) {
	nodes, server := startFleet(t, 1, atMost(2))
	doomed := startProcess(t, "--backplane="+server.URL(), "--cluster=test", "--max-connections-per-user=2")
	kept := nodes[0].dial(t, "alice")
	lost := doomed.dial(t)
	eventually(t, "both count", func() bool { return nodes[0].attendance.settled() && doomed.metric(t, "wscluster_users_untold") == 0 })
	// Until the dead may be doubted; younger ones count for up to that long. The second is for a word that was still on its way
	// to Redis when the metric said that none was left.
	time.Sleep(believed + time.Second)
	_ = doomed.Process.Kill()
	lost.wantEnd()
	back := nodes[0].dial(t, "alice")
	eventually(t, "nobody is in doubt any more", func() bool {
		n := nodes[0].attendance
		n.mu.Lock()
		defer n.mu.Unlock()
		u := n.users["alice"]
		return u != nil && !u.doubtful && !u.settle && !u.busy && !u.listed
	})
	kept.nothing()
	back.nothing()
	third := nodes[0].dial(t, "alice")
	kept.wantClose(protocol.CloseReplaced) // two are alive, and this is the third
	back.nothing()
	third.nothing()
}

// wantEnd reads until the connection ends, however.
func (c *client) wantEnd() {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-c.frames:
			if !open {
				return
			}
		case <-deadline:
			c.t.Fatal("the connection does not end")
		}
	}
}

// A client that is asked to move opens the new connection before it leaves the old one. That must cost it neither.
func TestAClientThatMovesIsWithinItsLimit(t *testing.T) {
	nodes, _ := startFleet(t, 2, func(s *settings.Settings) {
		s.Limits.MaxConnectionsPerUser = 1
		s.Drain = settings.Drain{Delay: 300 * time.Millisecond, Timeout: 20 * time.Second, Rate: 1000}
	})
	old := nodes[0].dial(t, "alice")
	nodes[0].leave()
	old.wantReconnect("draining")
	eventually(t, "it counts no more", nodes[0].attendance.settled)
	fresh := nodes[1].dial(t, "alice")
	eventually(t, "the new one counts", nodes[1].attendance.settled)
	old.nothing()
	fresh.nothing()
	_ = old.ws.Close()
}

// With a limit Redis hears of a connection twice, when it comes and when it goes, and without one never.
func TestWhatALimitOfConnectionsCosts(t *testing.T) {
	for _, test := range []struct{ limit, want int }{{0, 0}, {5, 40}} {
		t.Run(fmt.Sprint("limit ", test.limit), func(t *testing.T) {
			server := redistest.Start(t)
			n := start(t, server.URL(), atMost(test.limit))
			eventually(t, "the gateway is ready", func() bool { return n.ops(t, "/readyz").status == http.StatusOK })
			stop := server.Monitor()
			for i := range 20 {
				c := n.dial(t, fmt.Sprint("user-", i))
				_ = c.ws.Close()
			}
			eventually(t, "all are gone", func() bool {
				return n.metrics.disconnects[socket.ClientGone].Load() == 20 && n.attendance.settled()
			})
			calls := 0
			for _, line := range stop() {
				if containsAll(line, `"evalsha"`, ":conns") {
					calls++
				}
			}
			if calls > test.want || test.limit > 0 && calls < 20 {
				t.Errorf("20 connections cost %d commands, want at most %d", calls, test.want)
			}
		})
	}
}
