package gateway

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/version"
)

// fleetInterval is the time between two of a gateway's words to the others: half of what people who look at figures wait for
// without a thought, and a quarter of a lease, so that three may be lost. A thousand gateways cost Redis 400 short
// scripts a second: the word, and the write that goes with a canary.
const fleetInterval = 5 * time.Second

// nodeRecord is what a gateway tells the others of itself. Gateways of other versions read it: fields are added, and never
// change their meaning.
type nodeRecord struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	// Phase and Ready are those of Status.
	Phase string `json:"phase"`
	Ready bool   `json:"ready"`
	// Started is in seconds since 1970.
	Started int64 `json:"started"`

	Connections int64 `json:"connections"`
	Rooms       int64 `json:"rooms"`
	Users       int64 `json:"users"`
	// Received and Delivered count messages since the start; the rates are those of the last fleetInterval.
	Received      uint64  `json:"received"`
	Delivered     uint64  `json:"delivered"`
	ReceivedRate  float64 `json:"receivedRate"`
	DeliveredRate float64 `json:"deliveredRate"`

	// Canary is by shard of Redis, CanaryState what CanaryStatus says of all.
	Canary      map[string]canaryRecord `json:"canary,omitempty"`
	CanaryState string                  `json:"canaryState"`
}

// fleet is what this gateway tells the others of the cluster and knows of them.
type fleet struct {
	// Fixed before Run.
	registry backplane.Registry // nil: the backplane knows no others
	interval time.Duration      // fleetInterval, and less in tests

	// nodes is how many gateways there were when Redis was asked last, this one among them; 0: it was not yet.
	nodes atomic.Int64
	// traffic belongs to the goroutine that announces.
	traffic traffic
	// rates are the newest, for everybody else.
	rates atomic.Pointer[rates]
}

// traffic is the counters as they were when rates were taken last.
type traffic struct {
	at                  time.Time
	received, delivered uint64
}

// rates are messages a second.
type rates struct{ received, delivered float64 }

// since returns the rates from before to now; without any time between them none.
func (now traffic) since(before traffic) rates {
	seconds := now.at.Sub(before.at).Seconds()
	if seconds <= 0 {
		return rates{}
	}
	return rates{float64(now.received-before.received) / seconds, float64(now.delivered-before.delivered) / seconds}
}

func newFleet(plane backplane.Backplane) *fleet {
	f := &fleet{interval: fleetInterval, traffic: traffic{at: time.Now()}}
	f.registry, _ = plane.(backplane.Registry)
	f.rates.Store(&rates{})
	return f
}

// LiveNodes returns how many gateways the cluster has, this one among them: at least 1, and as last known while Redis is away.
func (g *Gateway) LiveNodes() int { return max(1, int(g.fleet.nodes.Load())) }

// keepAnnouncing sends canaries, and tells the other gateways of this one, until ctx ends.
func (g *Gateway) keepAnnouncing(ctx context.Context) {
	ticker := time.NewTicker(g.fleet.interval)
	defer ticker.Stop()
	for {
		g.sendCanaries(ctx)
		g.announce(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// announce tells the other gateways of this one, once.
func (g *Gateway) announce(ctx context.Context) {
	f := g.fleet
	now := traffic{at: time.Now(), received: g.metrics.messagesReceived(), delivered: g.hub.Stats().Deliveries}
	newest := now.since(f.traffic)
	f.rates.Store(&newest)
	f.traffic = now
	if f.registry == nil {
		return
	}
	record, err := json.Marshal(g.record())
	if err != nil {
		g.logger.Error("the record of this gateway cannot be encoded", "error", err)
		return
	}
	patient, cancel := context.WithTimeout(ctx, g.canary.patience)
	defer cancel()
	nodes, err := f.registry.Announce(patient, record)
	if err != nil {
		g.logger.Debug("the other gateways could not be told of this one", "error", err)
		return
	}
	f.nodes.Store(int64(nodes))
}

// record describes this gateway as it is now.
func (g *Gateway) record() nodeRecord {
	stats, rates := g.hub.Stats(), g.fleet.rates.Load()
	return nodeRecord{
		Node: g.settings.Node, Version: version.Version, Phase: phaseNames[g.phase.Load()], Ready: g.notReady() == "", Started: g.started.Unix(),
		Connections: stats.Connections, Rooms: stats.Rooms, Users: stats.Users,
		Received: g.metrics.messagesReceived(), Delivered: stats.Deliveries,
		ReceivedRate: rates.received, DeliveredRate: rates.delivered,
		Canary: g.canary.record(time.Now()), CanaryState: g.canary.verdict(),
	}
}

// fleetNode is what is known of one gateway.
type fleetNode struct {
	nodeRecord
	// own says that it is this one.
	own bool
	// age is how long ago it was heard of.
	age time.Duration
}

// fleetNodes returns every gateway of the cluster: this one as it is now, the others as they were at most fleetInterval ago, unless
// they are about to be missed. It asks Redis, not the gateways. A record that cannot be read is of a version to come, and left out.
func (g *Gateway) fleetNodes(ctx context.Context) ([]fleetNode, error) {
	all := []fleetNode{{nodeRecord: g.record(), own: true}}
	if g.fleet.registry == nil {
		return all, nil
	}
	announced, err := g.fleet.registry.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range announced {
		n := fleetNode{age: a.Age}
		if a.Own || json.Unmarshal(a.Record, &n.nodeRecord) != nil {
			continue
		}
		all = append(all, n)
	}
	return all, nil
}

// messagesReceived counts messages that clients and backends gave to this process to publish.
func (m *metrics) messagesReceived() uint64 {
	return m.received[protocol.CommandPublish].Load() + m.apiReceived.Load()
}
