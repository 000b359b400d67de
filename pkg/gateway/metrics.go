package gateway

import (
	"regexp"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// metrics are the process's own counters. What happens for every message is counted in plain atomics, which the collector
// reads when it is scraped; no label grows with users or rooms.
type metrics struct {
	gateway  *Gateway
	registry *prometheus.Registry

	connects        [connectResultCount]atomic.Uint64
	disconnects     []atomic.Uint64 // by socket.Reason
	received        []atomic.Uint64 // by protocol.CommandType
	apiReceived     atomic.Uint64   // messages
	errors          map[protocol.Code]*atomic.Uint64
	publishDuration prometheus.Histogram
	drainHurried    prometheus.Gauge
}

// errorCodes are the codes that an error frame can carry.
var errorCodes = []protocol.Code{protocol.CodeBadRequest, protocol.CodeUnknownType, protocol.CodeUnauthorized, protocol.CodeForbidden, protocol.CodeNotJoined,
	protocol.CodeRateLimited, protocol.CodeRoomLimit, protocol.CodeConflict, protocol.CodeUnconfirmed, protocol.CodeUnavailable, protocol.CodeInternal}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		gateway: g, registry: prometheus.NewRegistry(),
		disconnects: make([]atomic.Uint64, len(socket.Reasons())),
		received:    make([]atomic.Uint64, len(protocol.CommandTypes())),
		errors:      map[protocol.Code]*atomic.Uint64{},
		publishDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wscluster_publish_duration_seconds", Help: "Time from a client's publish to the backplane's confirmation or failure.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
		drainHurried: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wscluster_drain_hurried", Help: "1 if this process drains faster than its drain rate because the drain timeout is too short for it.",
		}),
	}
	for _, code := range errorCodes {
		m.errors[code] = new(atomic.Uint64)
	}
	m.registry.MustRegister(m, m.publishDuration, m.drainHurried, runtimeCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// runtimeCollector tells of Go's runtime, also how much CPU time the collection of garbage takes.
func runtimeCollector() prometheus.Collector {
	return collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{
		Matcher: regexp.MustCompile(`^/cpu/classes/(gc/)?total:cpu-seconds$`),
	}))
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("wscluster_"+name, help, labels, nil)
}

var (
	connectionsDesc   = describe("connections", "Clients connected to this process.")
	roomsDesc         = describe("rooms", "Rooms with at least one member on this process.")
	usersDesc         = describe("users", "Users with at least one connection on this process.")
	connectsDesc      = describe("connects_total", "Connection attempts by how they ended.", "result")
	disconnectsDesc   = describe("disconnects_total", "Ended connections by the reason.", "reason")
	receivedDesc      = describe("messages_received_total", "Frames from clients by command; unknown: not decoded.", "type")
	apiReceivedDesc   = describe("api_messages_received_total", "Messages that backends gave to the server API of this process to publish.")
	fleetNodesDesc    = describe("fleet_nodes", "Gateways of the cluster, this one among them, when Redis was asked last; 0: it was not yet.")
	errorsDesc        = describe("errors_total", "Commands that failed, by the code that the client got.", "code")
	deliveredDesc     = describe("messages_delivered_total", "Messages handed to clients' sockets or queues.")
	droppedDesc       = describe("messages_dropped_total", "Messages that a room's backlog on this process had no space for.")
	lagDesc           = describe("delivery_lag_seconds", "Time from the publishing gateway's clock to this gateway's socket write; resolution 1 ms.")
	queueDesc         = describe("send_queue_bytes", "Bytes that wait for clients that read too slowly.")
	slowDesc          = describe("slow_consumers_total", "Connections closed because their send queue was full.")
	upDesc            = describe("backplane_up", "1 while the link to the backplane is up.")
	reconnectsDesc    = describe("backplane_reconnects_total", "Links to the backplane that were made anew after the first.")
	subscriptionsDesc = describe("backplane_subscriptions", "Rooms and users that this process is subscribed to.")
	repairsDesc       = describe("gap_repairs_total", "Reads of a room's log because messages of it may have been missed.")
	lostDesc          = describe("messages_lost_total", "Missed messages that a log had forgotten when it was read for them.")
	membersDesc       = describe("presence_members", "Users in rooms with presence by connections to this process, a user once for each room.")
	untoldDesc        = describe("presence_untold", "Those of them of which Redis does not know the newest state yet.")
	reassertedDesc    = describe("presence_reasserted_total", "Rooms whose members were told to Redis anew, because it had lost them or their lease.")
	usersUntoldDesc   = describe("users_untold", "Users with connections to this process of whom Redis does not know the newest state yet, where it counts them.")
	readyDesc         = describe("ready", "1 while /readyz succeeds.")
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	stats, link := m.gateway.hub.Stats(), m.gateway.backplane.Status()
	gauge(connectionsDesc, float64(stats.Connections))
	gauge(roomsDesc, float64(stats.Rooms))
	gauge(usersDesc, float64(stats.Users))
	for result := range m.connects {
		counter(connectsDesc, m.connects[result].Load(), connectResultNames[result])
	}
	for _, reason := range socket.Reasons() {
		counter(disconnectsDesc, m.disconnects[reason].Load(), reason.String())
	}
	for _, command := range protocol.CommandTypes() {
		counter(receivedDesc, m.received[command].Load(), command.String())
	}
	counter(apiReceivedDesc, m.apiReceived.Load())
	gauge(fleetNodesDesc, float64(m.gateway.fleet.nodes.Load()))
	for _, code := range errorCodes {
		counter(errorsDesc, m.errors[code].Load(), string(code))
	}
	counter(deliveredDesc, stats.Deliveries)
	counter(droppedDesc, stats.Dropped)
	count, sum, buckets := m.gateway.hub.Lag().Snapshot()
	ch <- prometheus.MustNewConstHistogram(lagDesc, count, sum, buckets)
	gauge(queueDesc, float64(m.gateway.reactor.QueuedBytes()))
	counter(slowDesc, m.disconnects[socket.SlowConsumer].Load())
	gauge(upDesc, number(link.Up))
	counter(reconnectsDesc, link.Reconnects)
	gauge(subscriptionsDesc, float64(link.Subscriptions))
	counter(repairsDesc, stats.Repairs)
	counter(lostDesc, stats.Lost)
	presence := m.gateway.hub.PresenceStatus()
	gauge(membersDesc, float64(presence.Members))
	gauge(untoldDesc, float64(presence.Untold))
	counter(reassertedDesc, presence.Reasserted)
	m.collectCanary(ch)
	gauge(usersUntoldDesc, float64(m.gateway.attendance.untold()))
	gauge(readyDesc, number(m.gateway.notReady() == ""))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
