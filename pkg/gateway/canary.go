package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// canaryPatience is how long a canary may be out: what takes longer is unavailable to those who publish, too.
const canaryPatience = 2 * time.Second

// canary knows whether messages come back through every shard of Redis. All methods are safe for concurrent use.
type canary struct {
	// Fixed before Run.
	plane    backplane.Canary // nil: there is nothing between this process and itself
	patience time.Duration    // canaryPatience, and less in tests

	mu     sync.Mutex
	states map[string]canaryState // by shard
}

func newCanary(plane backplane.Backplane) *canary {
	c := &canary{patience: canaryPatience, states: map[string]canaryState{}}
	c.plane, _ = plane.(backplane.Canary)
	return c
}

// snapshot returns the state of every shard.
func (c *canary) snapshot() map[string]canaryState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.states)
}

// out returns the shard because of which this gateway is to get no new clients; empty: none.
func (c *canary) out() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, shard := range slices.Sorted(maps.Keys(c.states)) {
		if c.states[shard].out {
			return shard
		}
	}
	return ""
}

// verdict is failing if any shard is, and passing if all are.
func (c *canary) verdict() string {
	if c.plane == nil {
		return canaryNone
	}
	seen := map[string]bool{}
	for _, state := range c.snapshot() {
		seen[state.verdict()] = true
	}
	switch {
	case seen[canaryFailing]:
		return canaryFailing
	case seen[canaryUnknown] || len(seen) == 0:
		return canaryUnknown
	}
	return canaryPassing
}

// sendCanaries sends one through every shard at once, waits until all are back or late, and does what follows from it.
func (g *Gateway) sendCanaries(ctx context.Context) {
	c := g.canary
	if c.plane == nil {
		return
	}
	shards := c.plane.Shards()
	rounds := make([]canaryRound, len(shards))
	var out sync.WaitGroup
	for i, shard := range shards {
		out.Go(func() {
			patient, cancel := context.WithTimeout(ctx, c.patience)
			defer cancel()
			rounds[i].began = time.Now()
			rounds[i].err = c.plane.Probe(patient, shard)
			rounds[i].ended = time.Now()
			if rounds[i].err == nil {
				words, err := c.plane.Refusal(patient, shard)
				rounds[i].refusal, rounds[i].wrote = words, err == nil
			}
		})
	}
	out.Wait()
	if ctx.Err() != nil {
		return // it is this process that ends
	}
	g.askOthers(ctx, shards, rounds)
	c.mu.Lock()
	before := c.states
	c.states = make(map[string]canaryState, len(shards))
	var redial []string
	for i, shard := range shards {
		next, anew := before[shard].observe(rounds[i])
		c.states[shard] = next
		if anew {
			redial = append(redial, shard)
		}
		g.tellOfCanary(shard, before[shard], next)
	}
	c.mu.Unlock()
	for _, shard := range redial {
		c.plane.Redial(shard)
	}
}

// askOthers fills in what the other gateways' canaries did, where the decision needs it. It is one look at the registry, while
// something fails.
func (g *Gateway) askOthers(ctx context.Context, shards []string, rounds []canaryRound) {
	states := g.canary.snapshot()
	if !slices.ContainsFunc(shards, func(shard string) bool { return states[shard].asksOthers() }) ||
		!slices.ContainsFunc(rounds, func(r canaryRound) bool { return r.err != nil }) {
		return
	}
	patient, cancel := context.WithTimeout(ctx, g.canary.patience)
	defer cancel()
	nodes, err := g.fleetNodes(patient)
	if err != nil {
		return
	}
	now := time.Now()
	for i, shard := range shards {
		rounds[i].others = othersFailed
		for _, n := range nodes {
			last, ok := n.Canary[shard]
			passed := now.Add(-n.age - time.Duration(last.AgoMilliseconds)*time.Millisecond)
			if !n.own && ok && passed.After(states[shard].began) {
				rounds[i].others = othersPassed
			}
		}
	}
}

// tellOfCanary logs what changed.
func (g *Gateway) tellOfCanary(shard string, before, now canaryState) {
	logger := g.logger.With("shard", shard)
	switch {
	case now.refusal != "" && before.refusal == "":
		logger.Warn("Redis takes no writes: what is to be kept cannot be published", "error", now.refusal)
	case now.refusal == "" && before.refusal != "":
		logger.Info("Redis takes writes again")
	}
	switch {
	case now.out && !before.out:
		logger.Error("not ready any more: messages do not come back through Redis, and those of other gateways do", "failures", now.failing, "error", now.lastError)
	case before.out && !now.out && now.failing == 0:
		logger.Info("messages come back through Redis again: ready for clients")
	case before.out && !now.out:
		logger.Warn("ready for clients though messages do not come back through Redis: those of no other gateway do either", "error", now.lastError)
	case now.redials > before.redials:
		logger.Warn("messages do not come back through Redis: connecting anew", "failures", now.failing, "error", now.lastError)
	case before.failing >= failingAfter && now.failing == 0:
		logger.Info("messages come back through Redis again", "failures", before.failing)
	}
}

// canaryRecord is what a gateway tells the others of its canaries through one shard.
type canaryRecord struct {
	// AgoMilliseconds is how long ago one came back last.
	AgoMilliseconds int64 `json:"ago"`
}

// record returns what to tell the others: shards through which a canary has ever come back.
func (c *canary) record(now time.Time) map[string]canaryRecord {
	records := map[string]canaryRecord{}
	for shard, state := range c.snapshot() {
		if !state.lastPass.IsZero() {
			records[shard] = canaryRecord{AgoMilliseconds: now.Sub(state.lastPass).Milliseconds()}
		}
	}
	return records
}

// CanaryStatus is the canaries' part of Status.
type CanaryStatus struct {
	// State is passing, failing or unknown.
	State string `json:"state"`
	// Shards are by name.
	Shards []ShardCanaryStatus `json:"shards,omitempty"`
}

// ShardCanaryStatus is what the canaries through one shard of Redis show.
type ShardCanaryStatus struct {
	Shard string `json:"shard"`
	State string `json:"state"`
	// Unready says that this gateway is not ready because of it.
	Unready bool `json:"unready,omitempty"`
	// FailingRounds counts those that failed since one has passed, Failures and Redials all since the start.
	FailingRounds int    `json:"failingRounds"`
	Failures      uint64 `json:"failures"`
	Redials       uint64 `json:"redials"`
	// LastPassSecondsAgo is -1 if none has ever come back.
	LastPassSecondsAgo    float64 `json:"lastPassSecondsAgo"`
	RoundTripMilliseconds float64 `json:"roundTripMilliseconds"`
	LastError             string  `json:"lastError,omitempty"`
	// Refusal is in which words the shard refuses to write, also while messages come back; empty: it does not.
	Refusal string `json:"refusal,omitempty"`
}

// status returns nil where there are no canaries.
func (c *canary) status(now time.Time) *CanaryStatus {
	if c.plane == nil {
		return nil
	}
	status, states := &CanaryStatus{State: c.verdict()}, c.snapshot()
	for _, shard := range slices.Sorted(maps.Keys(states)) {
		s := states[shard]
		one := ShardCanaryStatus{
			Shard: shard, State: s.verdict(), Unready: s.out, FailingRounds: s.failing, Failures: s.failures, Redials: s.redials,
			LastPassSecondsAgo: -1, RoundTripMilliseconds: float64(s.roundTrip.Microseconds()) / 1000, LastError: s.lastError,
			Refusal: s.refusal,
		}
		if !s.lastPass.IsZero() {
			one.LastPassSecondsAgo = tenths(now.Sub(s.lastPass).Seconds())
		}
		status.Shards = append(status.Shards, one)
	}
	return status
}
