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

	publishers []*publisher
	// reader reads logs as a publisher publishes, over a link of its own: pages are large.
	reader      *publisher
	subscribers []*subscriber
	writer      *writer
	presence    *presence

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
		names:  newNames(o.Cluster),
		dialer: newDialer(e, o),
		health: newHealth(o.Publishers+1+o.Subscribers, o.Logger.With("redis", e.String())),
		budget: budget{limit: int64(o.QueueBytes)},
		writer: newWriter(),
	}
	b.presence = newPresence(b, o.Timing.Lease)
	b.publishing, b.stopPublishing = context.WithCancel(context.Background())
	b.receiving, b.stopReceiving = context.WithCancel(context.Background())
	for i := range o.Publishers + 1 {
		b.publishers = append(b.publishers, &publisher{
			index: i, dialer: b.dialer, queue: newQueue(), budget: &b.budget, health: b.health, counters: &b.counters,
			doubt: make(chan struct{}, 1), regroups: i < o.Publishers,
		})
	}
	b.reader, b.publishers = b.publishers[o.Publishers], b.publishers[:o.Publishers]
	for i := range o.Subscribers {
		b.subscribers = append(b.subscribers, &subscriber{
			index: o.Publishers + 1 + i, dialer: b.dialer, health: b.health, counters: &b.counters,
			subscriptions: newSubscriptions(), wake: make(chan struct{}, 1), suspect: b.suspectPublishers,
		})
	}
	return b, nil
}

func (b *Backplane) suspectPublishers() {
	for _, p := range b.publishers {
		p.suspect()
	}
	b.reader.suspect()
}

// Start connects in the background; Redis need not be there yet. It is called once.
func (b *Backplane) Start(sink backplane.Sink) {
	for _, p := range b.publishers {
		b.publishersDone.Go(func() { p.run(b.publishing) })
	}
	b.publishersDone.Go(func() { b.reader.run(b.publishing) })
	if s := b.dialer.sentinels; s != nil {
		b.receiversDone.Go(func() { s.watch(b.receiving) })
	}
	b.receiversDone.Go(func() { b.presence.run(b.receiving) })
	for _, s := range b.subscribers {
		s.sink = sink
		b.receiversDone.Go(func() { s.run(b.receiving) })
	}
}

// Publish copies m, which may be used again at once, and queues it. Publications to one target keep the order of their calls.
func (b *Backplane) Publish(m *backplane.Message, done backplane.Confirmation) {
	p := publicationPool.Get().(*publication)
	p.buf = b.names.appendTag(p.buf, m.Target)
	if m.Keep != nil || m.IdempotencyKey != "" {
		p.log = newLogRequest(b.writer, string(p.buf), m)
	}
	p.buf = append(p.buf, channelSuffix...)
	p.split = len(p.buf)
	p.buf = appendEnvelope(p.buf, m.Exclude, m.Body)
	b.enqueue(b.publishers[b.names.spread(p.buf[:p.split], len(b.publishers))], p, done)
}

// enqueue gives p to a publisher, or ends it when there is no room for it.
func (b *Backplane) enqueue(to *publisher, p *publication, done backplane.Confirmation) {
	p.deadline = time.Now().Add(b.dialer.options.Timing.Publish)
	p.done = done
	size := p.size()
	if !b.budget.take(size) {
		p.release()
		b.counters.failed[FailureQueueFull].Add(1)
		done.Published(backplane.Receipt{}, errQueueFull)
		return
	}
	if !to.queue.push(p) {
		b.budget.give(size)
		p.release()
		b.counters.failed[FailureClosed].Add(1)
		done.Published(backplane.Receipt{}, errClosed)
	}
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
	s := b.subscribers[b.names.spread(channel, len(b.subscribers))]
	if s.subscriptions.want(target, channel) {
		s.poke()
	}
}

// Unsubscribe ends the subscription.
func (b *Backplane) Unsubscribe(target backplane.Target) {
	var buf [nameBuffer]byte
	channel := b.names.appendChannel(buf[:0], target)
	s := b.subscribers[b.names.spread(channel, len(b.subscribers))]
	if s.subscriptions.drop(channel) {
		s.poke()
	}
}

// Status tells how the links are: up while all of them are.
func (b *Backplane) Status() backplane.Status {
	var s backplane.Status
	s.Up, s.EverUp, s.Reconnects, s.LastError = b.health.status()
	for _, subscriber := range b.subscribers {
		s.Subscriptions += subscriber.subscriptions.count()
	}
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
	for _, p := range b.publishers {
		p.queue.close()
	}
	b.reader.queue.close()
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
