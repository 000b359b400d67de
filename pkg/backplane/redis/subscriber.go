package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
)

var errSilent = errors.New("nothing came from Redis for too long, not even the answer to a ping")

// subscriber keeps one link subscribed to what is wanted, and delivers what comes. Its link is one of several.
type subscriber struct {
	// Fixed at start.
	index    int
	dialer   *dialer
	sink     backplane.Sink
	health   *health
	counters *counters
	// suspect is called when the link broke: the others are likely broken too.
	suspect func()

	subscriptions *subscriptions
	// wake has room for one: there may be commands to send.
	wake chan struct{}
}

// run keeps a link until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	timing := s.dialer.options.Timing
	down := time.Now()
	for ctx.Err() == nil {
		start := time.Now()
		wasUp, err := s.serve(ctx)
		s.subscriptions.lost()
		if ctx.Err() != nil {
			break
		}
		// A link that breaks as soon as it is up, say for want of a right, must not be tried without a growing pause.
		if wasUp && time.Since(start) > timing.Ping {
			down = time.Now()
		}
		s.health.down(s.index, err)
		if wasUp {
			s.suspect()
			s.counters.interruptions.Add(1)
			s.sink.Interrupted()
		}
		select {
		case <-time.After(timing.backoff(down, time.Now())):
		case <-ctx.Done():
		}
	}
	s.health.down(s.index, errClosed)
}

// subscriberLink is one life of the subscriber's connection.
type subscriberLink struct {
	*link
	pubsub *goredis.PubSub
	// received counts what came; the writer looks whether it has grown.
	received atomic.Uint64
	// cause is why the writer cut the link.
	cause atomic.Pointer[error]
}

// serve makes a link and uses it until its first error. wasUp says whether it was subscribed to all that was wanted.
func (s *subscriber) serve(ctx context.Context) (wasUp bool, err error) {
	l := &subscriberLink{link: s.dialer.open()}
	defer l.close()
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()

	l.pubsub = l.client.Subscribe(ctx)
	defer l.pubsub.Close()
	// The first use dials.
	if err := l.pubsub.Ping(ctx); err != nil {
		return false, fmt.Errorf("connect to Redis: %w", err)
	}

	writing, stopWriting := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { s.write(writing, l) })
	wasUp, err = s.receive(ctx, l)
	l.cut()
	stopWriting()
	writer.Wait()
	if cause := l.cause.Load(); cause != nil {
		err = *cause
	}
	return wasUp, err
}

// receive delivers until the link breaks. It reads without a timeout, since one that ran out in the middle of a message would
// leave the rest of it to be read as the next; the writer cuts the link when nothing comes.
func (s *subscriber) receive(ctx context.Context, l *subscriberLink) (wasUp bool, err error) {
	// One message serves all deliveries, since it is only borrowed.
	var m backplane.Message
	pongs := 0
	for {
		received, err := l.pubsub.Receive(ctx)
		if err != nil {
			return wasUp, fmt.Errorf("receive from Redis: %w", err)
		}
		l.received.Add(1)
		switch received := received.(type) {
		case *goredis.Message:
			s.deliver(&m, received)
		case *goredis.Subscription:
			s.confirm(received)
		case *goredis.Pong:
			// The second ping follows the first subscriptions: its answer says that Redis has taken them all.
			if pongs++; pongs == 2 {
				wasUp = true
				s.health.up(s.index)
			}
		}
	}
}

func (s *subscriber) deliver(m *backplane.Message, received *goredis.Message) {
	s.counters.received.Add(1)
	target, ok := s.subscriptions.deliverable(received.Channel)
	if !ok {
		return // came after the unsubscribe
	}
	e, err := decodeEnvelope(received.Payload)
	if err != nil {
		if errors.Is(err, errEnvelopeVersion) {
			s.counters.skippedUnknown.Add(1)
		} else {
			s.counters.skippedBroken.Add(1)
		}
		return
	}
	// go-redis allocated the payload for this message alone, so the body may be had as bytes without a copy.
	body := unsafe.Slice(unsafe.StringData(e.body), len(e.body))
	*m = backplane.Message{Target: target, Exclude: e.exclude, Body: body, Epoch: e.epoch, Offset: e.offset}
	s.sink.Deliver(m)
}

func (s *subscriber) confirm(c *goredis.Subscription) {
	if c.Kind != "subscribe" {
		if s.subscriptions.unsubscribed(c.Channel) {
			s.poke()
		}
		return
	}
	sub, since, changed := s.subscriptions.subscribed(c.Channel)
	if sub != nil {
		s.counters.subscribeWait(time.Since(since))
		s.sink.Subscribed(sub.target)
		changed = s.subscriptions.told(sub)
	}
	if changed {
		s.poke()
	}
}

// poke makes the writer look for commands to send.
func (s *subscriber) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write sends what subscriptions ask for and a ping each second, and cuts the link on an error or when nothing comes.
func (s *subscriber) write(ctx context.Context, l *subscriberLink) {
	timing := s.dialer.options.Timing
	ticker := time.NewTicker(timing.Ping)
	defer ticker.Stop()
	allowed := max(1, int(timing.Silence/timing.Ping))
	silent, seen := 0, uint64(0)
	err := s.flush(ctx, l)
	if err == nil {
		err = l.pubsub.Ping(ctx)
	}
	for {
		if err != nil {
			l.fail(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			err = s.flush(ctx, l)
		case <-ticker.C:
			if now := l.received.Load(); now != seen {
				silent, seen = 0, now
			} else if silent++; silent >= allowed {
				l.fail(errSilent)
				return
			}
			err = l.pubsub.Ping(ctx)
		}
	}
}

// flush sends commands until there are none left.
func (s *subscriber) flush(ctx context.Context, l *subscriberLink) error {
	for {
		subscribe, unsubscribe := s.subscriptions.commands()
		if len(subscribe) == 0 && len(unsubscribe) == 0 {
			return nil
		}
		if len(subscribe) > 0 {
			s.counters.subscribeCommands.Add(1)
			if err := l.pubsub.Subscribe(ctx, subscribe...); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
		}
		if len(unsubscribe) > 0 {
			s.counters.unsubscribeCommands.Add(1)
			if err := l.pubsub.Unsubscribe(ctx, unsubscribe...); err != nil {
				return fmt.Errorf("unsubscribe: %w", err)
			}
		}
	}
}

// fail cuts the link for a reason that the reader does not see.
func (l *subscriberLink) fail(err error) {
	if l.spentByReader() {
		return
	}
	l.cause.Store(&err)
	l.cut()
}

// spentByReader says whether the link was cut already, so that a writer's error is only the echo of that.
func (l *subscriberLink) spentByReader() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}
