package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wscluster/wscluster/pkg/settings"
)

// stats returns what a gateway says of the cluster.
func (b *backend) stats() fleetStats {
	b.t.Helper()
	status, body := b.call(http.MethodGet, "/v1/stats", "")
	if status != http.StatusOK {
		b.t.Fatalf("/v1/stats: %d %s", status, body)
	}
	var s fleetStats
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

func TestStatsOfTheFleet(t *testing.T) {
	_, api := withAPI(t, "k")
	nodes, server := startFleet(t, 3, api, talkative)
	alice, bob := nodes[0].dial(t, "alice"), nodes[1].dial(t, "bob")
	again := nodes[1].dial(t, "alice")
	alice.join("lobby", "alone")
	bob.join("lobby")
	backends := []*backend{newBackend(t, nodes[0], "k"), newBackend(t, nodes[2], "k")}
	alice.do(`{"type":"publish","id":"1","room_id":"lobby","echo":false,"data":1}`, `{"type":"ack","id":"1","message_id":"<anything>"}`)
	backends[0].want(http.MethodPost, "/v1/rooms/lobby/messages", `{"data":2}`, http.StatusOK, "")
	backends[1].want(http.MethodPost, "/v1/users/alice/messages", `{"data":3}`, http.StatusOK, "")
	for _, c := range []*client{alice, again} {
		for range map[*client]int{alice: 2, again: 1}[c] {
			c.next()
		}
	}
	bob.next()
	bob.next()

	total := load{Connections: 3, Rooms: 3, Users: 3, MessagesReceived: 3, MessagesDelivered: 5}
	parts := []load{
		{Connections: 1, Rooms: 2, Users: 1, MessagesReceived: 2, MessagesDelivered: 2},
		{Connections: 2, Rooms: 1, Users: 2, MessagesDelivered: 3},
		{MessagesReceived: 1},
	}
	noRates := cmpopts.IgnoreFields(load{}, "ReceivedPerSecond", "DeliveredPerSecond")
	for i, b := range backends {
		eventually(t, "every gateway knows of all", func() bool {
			s := b.stats()
			passing := 0
			for _, g := range s.Gateways {
				if g.Canary == canaryPassing {
					passing++
				}
			}
			return s.Nodes == 3 && passing == 3 && cmp.Equal(s.load, total, noRates)
		})
		s := b.stats()
		if s.ReadyNodes != 3 {
			t.Errorf("%d of 3 gateways are ready", s.ReadyNodes)
		}
		for j, part := range s.Gateways {
			if diff := cmp.Diff(parts[j], part.load, noRates); diff != "" || part.Node != fmt.Sprintf("node-%d", j+1) || part.Phase != "serving" || !part.Ready {
				t.Errorf("gateway %d is %+v (-want +got):\n%s", j+1, part, diff)
			}
		}
		if own := s.Gateways[2*i]; own.AgeSeconds != 0 {
			t.Errorf("the gateway that answers gives its own figures an age of %v s", own.AgeSeconds)
		}
	}
	for _, n := range nodes {
		eventually(t, "every gateway knows how many there are", func() bool { return n.LiveNodes() == 3 && n.metric(t, "wscluster_fleet_nodes") == 3 })
	}

	t.Run("a gateway's own figures are those of this moment", func(t *testing.T) {
		nodes[0].dial(t, "carol").nothing()
		if s := backends[0].stats(); s.Connections != 4 {
			t.Errorf("%d connections a moment after the fourth has come", s.Connections)
		}
	})
	t.Run("a gateway that leaves is not counted any more", func(t *testing.T) {
		nodes[1].leave()
		<-nodes[1].done
		eventually(t, "two are left", func() bool { return backends[0].stats().Nodes == 2 && nodes[0].LiveNodes() == 2 })
	})
	t.Run("while Redis is away there is an error, and the number of gateways stays known", func(t *testing.T) {
		server.Kill()
		backends[0].want(http.MethodGet, "/v1/stats", "", http.StatusServiceUnavailable, `{"code":"unavailable"}`)
		if nodes := nodes[0].LiveNodes(); nodes != 2 {
			t.Errorf("%d gateways are known, want 2", nodes)
		}
		server.Restart()
		eventually(t, "both know of each other again", func() bool { return newBackend(t, nodes[0], "k").stats().Nodes == 2 })
	})
	t.Run("they are for those who have a key", func(t *testing.T) {
		newBackend(t, nodes[0], "wrong").want(http.MethodGet, "/v1/stats", "", http.StatusUnauthorized, `{"code":"unauthorized"}`)
	})
}

func TestStatsOfAGatewayAlone(t *testing.T) {
	_, api := withAPI(t, "k")
	n := start(t, "memory://", api)
	n.dial(t, "alice").join("r")
	eventually(t, "it knows of itself", func() bool { return n.LiveNodes() == 1 && n.metric(t, "wscluster_fleet_nodes") == 1 })
	s := newBackend(t, n, "k").stats()
	if s.Nodes != 1 || s.Connections != 1 || s.Rooms != 1 || len(s.Gateways) != 1 || s.Gateways[0].Canary != canaryNone {
		t.Errorf("the figures are %+v", s)
	}
}

func TestRatesOfMessages(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Limits.MessagesPerSecond = 0 }, talkative)
	alice := n.dial(t, "alice")
	alice.join("r")
	eventually(t, "rates are above zero while messages pass", func() bool {
		alice.do(`{"type":"publish","id":"1","room_id":"r","echo":false,"data":1}`, `{"type":"ack","id":"1","message_id":"<anything>"}`)
		alice.send(`{"type":"publish","room_id":"r","data":1}`)
		alice.next()
		record := n.record()
		return record.ReceivedRate > 0 && record.DeliveredRate > 0
	})
	eventually(t, "and zero again when none pass", func() bool {
		record := n.record()
		return record.ReceivedRate == 0 && record.DeliveredRate == 0
	})
}
