package redis

import (
	"context"
	"time"
)

// lane numbers the queues of publications of a shard. A target has the same lane on every shard, so that its publications keep their
// order when its slot moves from one to the other: each lane hands over what it holds while nothing of it is on its way.
type lane int

// shard is one primary as this process uses it: links for publishing, one for reading logs, and links for subscriptions. Where Redis
// is no cluster there is one, which leads to the primary wherever that is.
type shard struct {
	// Fixed when it is made. addr is empty for the one shard of a Redis that is no cluster, and for what leads nowhere.
	addr        string
	dialer      *dialer
	health      *shardHealth
	publishers  []*publisher // by lane; the last one reads logs
	subscribers []*subscriber
	// stop ends its goroutines.
	stop context.CancelFunc

	// used is when it was last seen to serve something, asked when it was last given something that it does not serve yet. The
	// router's lock guards them.
	used, asked time.Time
}

// newShard makes a shard that a dialer leads to; its goroutines run once it is started.
func (b *Backplane) newShard(addr string, d *dialer, h *shardHealth) *shard {
	o := d.options
	s := &shard{addr: addr, dialer: d, health: h}
	for i := range o.Publishers + 1 {
		s.publishers = append(s.publishers, &publisher{
			index: i, lane: lane(i), shard: s, router: b.router, dialer: d, queue: newQueue(), budget: &b.budget, health: h, counters: &b.counters,
			verb: b.names.publish, doubt: make(chan struct{}, 1), moved: make(chan struct{}, 1), regroups: i < o.Publishers,
		})
	}
	for i := range o.Subscribers {
		s.subscribers = append(s.subscribers, &subscriber{
			index: o.Publishers + 1 + i, lane: lane(i), shard: s, router: b.router, dialer: d, health: h, counters: &b.counters,
			subscriptions: newSubscriptions(), commands: commandsOf(b.names.sharded), wake: make(chan struct{}, 1), moved: make(chan struct{}, 1),
			suspect: s.suspect,
		})
	}
	return s
}

// links is how many links there are to a shard.
func (o *Options) links() int { return o.Publishers + 1 + o.Subscribers }

// broken notes that a link to the shard broke, or could not be made: in a cluster another node may have taken its place.
func (s *shard) broken(r *router) {
	if s.addr != "" {
		r.refresh()
	}
}

// suspect has publishers try their links soon.
func (s *shard) suspect() {
	for _, p := range s.publishers {
		p.suspect()
	}
}

// start runs the shard's goroutines until stop, or publishers until what waits is published after close.
func (s *shard) start(b *Backplane) {
	publishing, stopPublishing := context.WithCancel(b.publishing)
	receiving, stopReceiving := context.WithCancel(b.receiving)
	s.stop = func() {
		stopPublishing()
		stopReceiving()
	}
	for _, p := range s.publishers {
		b.publishersDone.Go(func() { p.run(publishing) })
	}
	for _, sub := range s.subscribers {
		sub.sink = b.sink
		b.receiversDone.Go(func() { sub.run(receiving) })
	}
}

// close lets nobody publish any more.
func (s *shard) close() {
	for _, p := range s.publishers {
		p.queue.close()
	}
}

// tellMoved has every goroutine look for what belongs to other shards now.
func (s *shard) tellMoved() {
	for _, p := range s.publishers {
		poke(p.moved)
	}
	for _, sub := range s.subscribers {
		poke(sub.moved)
	}
}

// poke puts something into a channel with room for one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
