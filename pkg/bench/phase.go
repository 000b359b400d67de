package bench

import "time"

// Phase is what came of one load. All counts are of messages; a delivery is a message that came on one connection.
type Phase struct {
	// PublishSeconds is the time of publishing, Seconds that with the wait for the last deliveries.
	PublishSeconds float64 `json:"publish_seconds"`
	Seconds        float64 `json:"seconds"`
	// Published were sent; Acked of them were taken; Failed got an error, by code.
	Published uint64            `json:"published"`
	Acked     uint64            `json:"acked"`
	Failed    map[string]uint64 `json:"failed,omitempty"`
	// Unsent found their publisher without a connection. LeftOut were skipped because the generator could not keep the rate.
	Unsent  uint64 `json:"unsent,omitempty"`
	LeftOut uint64 `json:"left_out,omitempty"`
	// Expected deliveries: for each message the members of its room when it was sent.
	Expected  uint64 `json:"expected"`
	Delivered uint64 `json:"delivered"`
	// Stalled messages were given up as outstanding, since not everybody got them.
	Stalled uint64 `json:"stalled,omitempty"`
	// DeliveredPerSecond is over Seconds.
	DeliveredPerSecond float64 `json:"delivered_per_second"`
	// Latency is from the publisher's send to a member's receipt, AckLatency to the publisher's ack.
	Latency    Quantiles `json:"latency"`
	AckLatency Quantiles `json:"ack_latency"`
	// MaxSendLag is how late the generator was at most, in milliseconds, against its own rate.
	MaxSendLag float64 `json:"max_send_lag_ms"`
	// LongestPause is the longest time without any delivery, in milliseconds.
	LongestPause float64 `json:"longest_pause_ms"`

	begin, published, end, lastDelivery time.Duration
	longestPause                        time.Duration
	latency, ackLatency                 histogram
	timeline                            []uint32
}

// TimelineStep is the time that one number of a Phase's timeline covers.
const TimelineStep = 10 * time.Millisecond

// maxTimeline bounds the timeline to its first ten minutes.
const maxTimeline = 60_000

func newPhase() *Phase { return &Phase{Failed: map[string]uint64{}} }

func (p *Phase) deliver(now, latency time.Duration) {
	p.Delivered++
	p.latency.add(latency)
	if p.lastDelivery != 0 {
		p.longestPause = max(p.longestPause, now-p.lastDelivery)
	}
	p.lastDelivery = now
	if step := int((now - p.begin) / TimelineStep); step >= 0 && step < maxTimeline {
		for len(p.timeline) <= step {
			p.timeline = append(p.timeline, 0)
		}
		p.timeline[step]++
	}
}

// Answered returns how many publishes were acked or refused.
func (p *Phase) Answered() uint64 {
	n := p.Acked
	for _, failed := range p.Failed {
		n += failed
	}
	return n
}

// Timeline returns the deliveries in each TimelineStep since the phase's begin, at most for ten minutes.
func (p *Phase) Timeline() []uint32 { return p.timeline }

func (p *Phase) finish() {
	if p.published == 0 {
		p.published = p.end
	}
	p.PublishSeconds = (p.published - p.begin).Seconds()
	p.Seconds = (p.end - p.begin).Seconds()
	if active := max(p.lastDelivery, p.published) - p.begin; active > 0 {
		p.Seconds = active.Seconds()
		p.DeliveredPerSecond = float64(p.Delivered) / p.Seconds
	}
	p.Latency, p.AckLatency = p.latency.quantiles(), p.ackLatency.quantiles()
	p.LongestPause = milliseconds(p.longestPause)
}
