package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// Backplane implements backplane.Backplane over Redis Pub/Sub. All methods are safe for concurrent use.
type Backplane struct {
	// Fixed by New.
	names    names
	dialer   *dialer
	health   *health
	counters counters
	budget   budget

	router *router
	// reader is the lane in which logs are read as others publish, over a link of its own: pages are large.
	reader   lane
	writer   *writer
	presence *presence
	canaries *canaries
	sink     backplane.Sink

	closed    atomic.Bool
	announced atomic.Bool // the other processes know of this one
	// stopPublishing and stopReceiving end the goroutines of publishing and receiving.
	publishing, receiving         context.Context
	stopPublishing, stopReceiving context.CancelFunc
	publishersDone, receiversDone sync.WaitGroup
}

var _ backplane.Backplane = (*Backplane)(nil)

// New returns a backplane that connects once it is started. An error is one sentence that says which option is wrong.
func New(o Options) (*Backplane, error) {
	e, err := o.check()
	if err != nil {
		return nil, err
	}
	b := &Backplane{
		names:  newNames(o.Cluster, e.sharded),
		dialer: newDialer(e, o),
		health: newHealth(o.Logger.With("redis", e.String())),
		budget: budget{limit: int64(o.QueueBytes)},
		reader: lane(o.Publishers),
		writer: newWriter(),
	}
	b.presence, b.canaries = newPresence(b, o.Timing.Lease), newCanaries(b)
	b.publishing, b.stopPublishing = context.WithCancel(context.Background())
	b.receiving, b.stopReceiving = context.WithCancel(context.Background())
	b.router = &router{backplane: b}
	if e.sharded {
		b.useCluster()
	} else {
		b.router.only = b.newShard("", b.dialer, b.health.add("", o.links()))
	}
	return b, nil
}

// Start connects in the background; Redis need not be there yet. It is called once.
func (b *Backplane) Start(sink backplane.Sink) {
	b.sink = canarySink{sink, b.canaries}
	for _, s := range b.router.all() {
		s.start(b)
	}
	if s := b.dialer.sentinels; s != nil {
		b.receiversDone.Go(func() { s.watch(b.receiving) })
	}
	if c := b.router.cluster; c != nil {
		b.receiversDone.Go(func() { c.run(b.receiving) })
	}
	b.receiversDone.Go(func() { b.presence.run(b.receiving) })
}

// Publish copies m, which may be used again at once, and queues it. Publications to one target keep the order of their calls.
func (b *Backplane) Publish(m *backplane.Message, done backplane.Confirmation) {
	p := blankPublication()
	p.buf = b.names.appendTag(p.buf, m.Target)
	p.slot = b.names.slot(p.buf)
	if m.Keep != nil || m.IdempotencyKey != "" {
		p.log = newLogRequest(b.writer, string(p.buf), m)
	}
	p.buf = append(p.buf, channelSuffix...)
	p.split = len(p.buf)
	p.buf = appendEnvelope(p.buf, m.Exclude, m.Body)
	p.deadline = m.Deadline
	b.enqueue(lane(b.names.spread(p.buf[:p.split], b.dialer.options.Publishers)), p, done)
}

// enqueue gives p to a publisher, or ends it when there is no room for it.
func (b *Backplane) enqueue(to lane, p *publication, done backplane.Confirmation) {
	latest := time.Now().Add(b.dialer.options.Timing.Publish)
	if p.deadline.IsZero() || p.deadline.After(latest) {
		p.deadline = latest
	}
	p.done = done
	b.router.enqueue(to, p)
}

// nameBuffer holds any channel's name on the stack: a cluster of up to 253 bytes, an id of up to 256, each encoded as three.
const nameBuffer = 253 + 3*256 + 16

// Subscribe asks for the target's messages. The sink is told when Redis has confirmed, and again after each broken link.
func (b *Backplane) Subscribe(target backplane.Target) {
	if b.closed.Load() {
		return
	}
	var buf [nameBuffer]byte
	channel := b.names.appendChannel(buf[:0], target)
	slot := b.names.slot(channel)
	b.router.subscriber(b.subscriberOf(channel), slot, func(s *subscriber) {
		if s.subscriptions.want(target, channel, slot) {
			s.poke()
		}
	})
}

// Unsubscribe ends the subscription.
func (b *Backplane) Unsubscribe(target backplane.Target) {
	var buf [nameBuffer]byte
	channel := b.names.appendChannel(buf[:0], target)
	b.router.subscriber(b.subscriberOf(channel), b.names.slot(channel), func(s *subscriber) {
		if s.subscriptions.drop(channel) {
			s.poke()
		}
	})
}

var _ backplane.Liveness = (*Backplane)(nil)

// IsLive implements backplane.Liveness.
func (b *Backplane) IsLive(target backplane.Target) (live bool) {
	var buf [nameBuffer]byte
	channel := b.names.appendChannel(buf[:0], target)
	b.router.subscriber(b.subscriberOf(channel), b.names.slot(channel), func(s *subscriber) { live = s.subscriptions.isLive(channel) })
	return live
}

func (b *Backplane) subscriberOf(channel []byte) lane {
	return lane(b.names.spread(channel, b.dialer.options.Subscribers))
}

// Status tells how the links are: up while all of them are, in a cluster those to all shards.
func (b *Backplane) Status() backplane.Status {
	var s backplane.Status
	s.Up, s.EverUp, s.Reconnects, s.LastError = b.health.status()
	for _, shard := range b.router.all() {
		for _, subscriber := range shard.subscribers {
			s.Subscriptions += subscriber.subscriptions.count()
		}
	}
	s.Subscriptions -= b.canaries.count()
	return s
}

// Counters returns what happened so far, for metrics.
func (b *Backplane) Counters() Counters {
	c := b.counters.snapshot()
	c.QueuedMessages, c.QueuedBytes = b.budget.messages.Load(), b.budget.bytes.Load()
	return c
}

// Close takes everybody out of all rooms, then refuses what is published from now on, publishes what waits, and lets go of all
// connections. When ctx ends before everything is confirmed, the rest ends as unavailable and Close returns ctx's error. Messages
// are delivered until everything is published, and none after Close has returned.
func (b *Backplane) Close(ctx context.Context) error {
	if b.closed.Swap(true) {
		return errors.New("the Redis backplane is closed already")
	}
	b.presence.close(ctx)
	b.withdraw()
	b.router.finish(ctx)
	flushed := make(chan struct{})
	go func() {
		b.publishersDone.Wait()
		close(flushed)
	}()
	var err error
	select {
	case <-flushed:
	case <-ctx.Done():
		err = fmt.Errorf("publish what is waiting: %w", context.Cause(ctx))
	}
	b.stopPublishing()
	<-flushed
	b.stopReceiving()
	b.receiversDone.Wait()
	return err
}
