package gateway

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// fleetStats answers GET /v1/stats.
type fleetStats struct {
	Nodes      int `json:"nodes"`
	ReadyNodes int `json:"ready_nodes"`
	load
	Gateways []gatewayStats `json:"gateways"`
}

// load is what one gateway, or all, carry.
type load struct {
	Connections        int64   `json:"connections"`
	Rooms              int64   `json:"rooms"`
	Users              int64   `json:"users"`
	MessagesReceived   uint64  `json:"messages_received"`
	MessagesDelivered  uint64  `json:"messages_delivered"`
	ReceivedPerSecond  float64 `json:"messages_received_per_second"`
	DeliveredPerSecond float64 `json:"messages_delivered_per_second"`
}

// gatewayStats is one gateway's part.
type gatewayStats struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	Phase   string `json:"phase"`
	Ready   bool   `json:"ready"`
	Canary  string `json:"canary"`
	load
	UptimeSeconds int64 `json:"uptime_seconds"`
	// AgeSeconds is how old these figures are.
	AgeSeconds float64 `json:"age_seconds"`
}

// add counts another gateway's load in.
func (l *load) add(other load) {
	l.Connections += other.Connections
	l.Rooms += other.Rooms
	l.Users += other.Users
	l.MessagesReceived += other.MessagesReceived
	l.MessagesDelivered += other.MessagesDelivered
	l.ReceivedPerSecond = tenths(l.ReceivedPerSecond + other.ReceivedPerSecond)
	l.DeliveredPerSecond = tenths(l.DeliveredPerSecond + other.DeliveredPerSecond)
}

func tenths(x float64) float64 { return math.Round(x*10) / 10 }

// statsPatience is how long a request for figures waits for Redis; publishes wait as long.
const statsPatience = 2 * time.Second

// apiStats answers what the whole cluster carries, from what the gateways have told Redis. Old figures are worse than none to
// somebody who looks at them because something is wrong, so there is an error while Redis is away.
func (g *Gateway) apiStats(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statsPatience)
	defer cancel()
	nodes, err := g.fleetNodes(ctx)
	if err != nil {
		apiError(w, &protocol.Error{Code: protocol.CodeUnavailable, Message: "the gateways' figures cannot be read while Redis is away: try again"})
		return
	}
	apiAnswer(w, http.StatusOK, sumUp(nodes, time.Now()))
}

// sumUp adds the gateways' figures up.
func sumUp(nodes []fleetNode, now time.Time) fleetStats {
	s := fleetStats{Nodes: len(nodes), Gateways: make([]gatewayStats, 0, len(nodes))}
	for _, n := range nodes {
		one := gatewayStats{
			Node: n.Node, Version: n.Version, Phase: n.Phase, Ready: n.Ready, Canary: cmp.Or(n.CanaryState, canaryUnknown),
			load: load{
				Connections: n.Connections, Rooms: n.Rooms, Users: n.Users, MessagesReceived: n.Received, MessagesDelivered: n.Delivered,
				ReceivedPerSecond: tenths(n.ReceivedRate), DeliveredPerSecond: tenths(n.DeliveredRate),
			},
			UptimeSeconds: max(0, now.Unix()-n.Started), AgeSeconds: tenths(n.age.Seconds()),
		}
		if n.Ready {
			s.ReadyNodes++
		}
		s.load.add(one.load)
		s.Gateways = append(s.Gateways, one)
	}
	slices.SortFunc(s.Gateways, func(a, b gatewayStats) int { return cmp.Compare(a.Node, b.Node) })
	return s
}
