package redis

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

const (
	// settledAfter is how long what a node has told of a slot's place is not changed by what another one says in turn: a moment in
	// which two nodes each name the other.
	settledAfter = 20 * time.Millisecond
	// refreshPause is the least time between two questions for the topology.
	refreshPause = 100 * time.Millisecond
	// unusedShard is how long a shard without slots is kept.
	unusedShard = 10 * time.Second
)

// cluster keeps the router's table as the nodes of a Redis Cluster say it is. Its goroutine, run, asks them.
type cluster struct {
	backplane *Backplane
	seeds     []string
	controls  *controls
	// coverage is up while every slot has a shard.
	coverage *shardHealth
	// wake has room for one: something says that the table is old.
	wake chan struct{}
	// asked are those who wait for the next answer.
	asked chan chan *topology
	// known are all nodes that were there at the last look, claims what was found. The goroutine's.
	known  []string
	claims claims
}

func newCluster(b *Backplane) *cluster {
	return &cluster{
		backplane: b, seeds: b.dialer.endpoint.hosts, controls: newControls(b.dialer), coverage: b.health.addVirtual(),
		wake: make(chan struct{}, 1), asked: make(chan chan *topology),
	}
}

// useCluster has the backplane's router know no shard yet.
func (b *Backplane) useCluster() {
	r := b.router
	r.shards, r.learned, r.cluster = make(map[string]*shard), make(map[uint16]time.Time), newCluster(b)
	// What becomes of the links to nowhere is nobody's concern: the coverage speaks for them.
	quiet := newHealth(slog.New(slog.DiscardHandler))
	r.nowhere = b.newShard("", b.dialer.to(""), quiet.add("", b.dialer.options.links()))
	table := func() []*shard { return slices.Repeat([]*shard{r.nowhere}, slotCount) }
	r.wanted = table()
	for range b.dialer.options.Publishers + 1 {
		r.publishing = append(r.publishing, table())
	}
	for range b.dialer.options.Subscribers {
		r.subscribing = append(r.subscribing, table())
	}
}

// refresh has the topology looked at soon. It does not block.
func (c *cluster) refresh() { poke(c.wake) }

// run looks at the topology when something says that it has changed, and from time to time, until ctx ends.
func (c *cluster) run(ctx context.Context) {
	defer c.controls.close()
	timing := c.backplane.dialer.options.Timing
	down, up := time.Now(), false
	var waiting []chan *topology
	for ctx.Err() == nil {
		addrs := c.nodes()
		c.controls.keep(addrs)
		t, err := c.controls.ask(ctx, addrs)
		if err == nil {
			c.known = t.nodes
			c.claims.uphold(t, time.Now())
			err = c.backplane.router.apply(t) //nolint:contextcheck // a shard lives until the backplane is closed
		}
		for _, answered := range waiting {
			answered <- t
		}
		waiting = waiting[:0]
		switch {
		case err == nil:
			c.coverage.up(0)
			up = true
		case up:
			up, down = false, time.Now()
			fallthrough
		default:
			c.coverage.down(0, err)
		}
		pause := timing.Topology
		if !up {
			pause = max(refreshPause, timing.backoff(down, time.Now()))
		}
		waiting = c.wait(ctx, pause, waiting)
	}
	for _, answered := range waiting {
		answered <- nil
	}
}

// wait returns after d, or when the topology is to be looked at, but not too soon; and who waits for that.
func (c *cluster) wait(ctx context.Context, d time.Duration, waiting []chan *topology) []chan *topology {
	early, late := time.NewTimer(min(d, refreshPause)), time.NewTimer(d)
	defer early.Stop()
	defer late.Stop()
	wake := c.wake
	for soon := false; ; {
		var over <-chan time.Time
		if soon {
			over = early.C
		}
		select {
		case <-wake:
			soon, wake = true, nil
		case answered := <-c.asked:
			return append(waiting, answered)
		case <-over:
			return waiting
		case <-late.C:
			return waiting
		case <-ctx.Done():
			return waiting
		}
	}
}

// nodes returns the nodes to ask: those that are known, and those that the URL names.
func (c *cluster) nodes() []string {
	addrs := slices.Clone(c.seeds)
	for _, addr := range c.known {
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// confirm asks for the topology now and returns an error unless another node than the shard's own has answered, if there is any, and
// the shard serves what the batch is for.
func (c *cluster) confirm(ctx context.Context, s *shard, batch []*publication) error {
	answered := make(chan *topology, 1)
	deadline, _ := ctx.Deadline()
	patience := time.NewTimer(time.Until(deadline))
	defer patience.Stop()
	select {
	case c.asked <- answered:
	case <-patience.C:
		return errNotConfirmed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case t := <-answered:
		if t == nil || !t.isConfirmed(s.addr) {
			return errNotConfirmed
		}
	case <-patience.C:
		return errNotConfirmed
	}
	r := c.backplane.router
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range batch {
		if !p.asking && r.wanted[p.slot] != s {
			return errOtherPrimary
		}
	}
	return nil
}

// errNotConfirmed means that nobody could say in time whether a primary that was silent is still the primary.
var errNotConfirmed = errors.New("it could not be confirmed in time that this Redis, which was silent, is still the primary")

// errUncovered means that some slots have no shard.
var errUncovered = errors.New("some slots of the Redis Cluster are served by no node")
