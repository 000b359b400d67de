package gateway

import "github.com/prometheus/client_golang/prometheus"

var (
	canaryUpDesc        = describe("canary_up", "1 while messages to this process itself come back through the shard of Redis.", "shard")
	canaryFailuresDesc  = describe("canary_failures_total", "Messages to this process itself that did not come back in time.", "shard")
	canaryRedialsDesc   = describe("canary_redials_total", "How often links to the shard were made anew because of that.", "shard")
	canaryLastPassDesc  = describe("canary_last_success_timestamp_seconds", "When one came back last, in seconds since 1970; 0: never.", "shard")
	canaryRoundTripDesc = describe("canary_round_trip_seconds", "How long the one that came back last was out.", "shard")
	writableDesc        = describe("backplane_writable", "0 while the shard of Redis refuses to write, since its memory is full or it cannot save; else 1.", "shard")
)

// collectCanary shows what canaries have shown; the label grows with the shards of Redis.
func (m *metrics) collectCanary(ch chan<- prometheus.Metric) {
	c := m.gateway.canary
	if c.plane == nil {
		return
	}
	states := c.snapshot()
	for _, shard := range c.plane.Shards() {
		s := states[shard]
		lastPass := 0.0
		if !s.lastPass.IsZero() {
			lastPass = float64(s.lastPass.UnixMilli()) / 1000
		}
		ch <- prometheus.MustNewConstMetric(canaryUpDesc, prometheus.GaugeValue, number(s.verdict() == canaryPassing), shard)
		ch <- prometheus.MustNewConstMetric(canaryFailuresDesc, prometheus.CounterValue, float64(s.failures), shard)
		ch <- prometheus.MustNewConstMetric(canaryRedialsDesc, prometheus.CounterValue, float64(s.redials), shard)
		ch <- prometheus.MustNewConstMetric(canaryLastPassDesc, prometheus.GaugeValue, lastPass, shard)
		ch <- prometheus.MustNewConstMetric(canaryRoundTripDesc, prometheus.GaugeValue, s.roundTrip.Seconds(), shard)
		ch <- prometheus.MustNewConstMetric(writableDesc, prometheus.GaugeValue, number(s.refusal == ""), shard)
	}
}
