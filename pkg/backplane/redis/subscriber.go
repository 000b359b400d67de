package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/wscluster/wscluster/pkg/backplane"
)

var errSilent = errors.New("nothing came from Redis for too long, not even the answer to a ping")

// subscriber keeps one link subscribed to what is wanted, and delivers what comes. Its link is one of several.
type subscriber struct {
	// Fixed at start.
	index    int // of its link in health
	lane     lane
	shard    *shard
	router   *router
	dialer   *dialer
	sink     backplane.Sink
	health   *shardHealth
	counters *counters
	commands subscriptionCommands
	// suspect is called when the link broke: the others are likely broken too.
	suspect func()

	subscriptions *subscriptions
	// wake has room for one: there may be commands to send.
	wake chan struct{}
	// moved has room for one: slots may belong to other shards now.
	moved chan struct{}
	// seen is the version of the router's table that was followed. The goroutine's that receives.
	seen uint64
	// told is true once the sink was told that subscriptions were lost, until others are made. That goroutine's too.
	told bool

	current currentLink
}

// subscriptionCommands are the names of the commands that subscribe and unsubscribe.
type subscriptionCommands struct {
	subscribe, unsubscribe string
	// single says that a command takes channels of one slot only.
	single bool
}

func commandsOf(sharded bool) subscriptionCommands {
	if sharded {
		return subscriptionCommands{"SSUBSCRIBE", "SUNSUBSCRIBE", true}
	}
	return subscriptionCommands{"SUBSCRIBE", "UNSUBSCRIBE", false}
}

// run keeps a link until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	timing := s.dialer.options.Timing
	down := time.Now()
	for ctx.Err() == nil {
		s.handOver()
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
		s.pause(ctx, timing.backoff(down, time.Now()))
	}
	s.health.down(s.index, errClosed)
}

// pause waits for d, and hands over what moves meanwhile.
func (s *subscriber) pause(ctx context.Context, d time.Duration) {
	s.shard.broken(s.router)
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return
		case <-s.moved:
			s.handOver()
		case <-ctx.Done():
			return
		}
	}
}

// handOver gives what belongs to other shards now to them. Only the goroutine that receives calls it: nothing is being delivered.
func (s *subscriber) handOver() {
	if s.router.version.Load() == s.seen {
		return
	}
	if s.router.handOverSubscriptions(s) {
		s.interrupted()
	}
	s.told = false
}

// interrupted tells the sink, once for all subscriptions that are lost together.
func (s *subscriber) interrupted() {
	if s.told {
		return
	}
	s.told = true
	s.counters.interruptions.Add(1)
	s.sink.Interrupted()
}

// subscriberLink is one life of the subscriber's connection.
type subscriberLink struct {
	*link
	conn net.Conn
	// arrivals counts what was read, whole messages or parts; the writer looks whether it has grown.
	arrivals atomic.Uint64
	// command is the writer's buffer.
	command []byte
	// cause is why the writer cut the link.
	cause atomic.Pointer[error]
}

// serve makes a link and uses it until its first error. wasUp says whether it was subscribed to all that was wanted.
func (s *subscriber) serve(ctx context.Context) (wasUp bool, err error) {
	l := &subscriberLink{link: s.dialer.open()}
	s.current.Store(l.link)
	defer l.close()
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()

	if l.conn, err = l.connect(ctx); err != nil {
		return false, err
	}

	writing, stopWriting := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { s.write(writing, l) })
	wasUp, err = s.receive(l) //nolint:contextcheck // a shard that is found now outlives this link
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
func (s *subscriber) receive(l *subscriberLink) (wasUp bool, err error) {
	// One message serves all deliveries, since it is only borrowed.
	var m backplane.Message
	reader := newRESPReader(l)
	for {
		s.handOver()
		received, err := reader.push()
		if err != nil && s.redirected(err) {
			continue
		}
		if err != nil {
			return wasUp, fmt.Errorf("receive from Redis: %w", err)
		}
		switch received.kind {
		case pushMessage:
			s.deliver(&m, received.channel, received.payload)
		case pushOversized:
			s.counters.received.Add(1)
			s.counters.skippedBroken.Add(1)
		case pushSubscribed:
			s.subscribed(received.channel)
		case pushUnsubscribed:
			changed, taken := s.subscriptions.unsubscribed(received.channel)
			if taken {
				s.interrupted()
			}
			if changed {
				s.poke()
			}
		case pushPong:
			// The writer's first ping follows the first subscriptions: its answer says that Redis has taken them all.
			if !wasUp {
				wasUp = true
				s.health.up(s.index)
			}
		}
	}
}

// Read reads from the connection, and notes that something came.
func (l *subscriberLink) Read(p []byte) (int, error) {
	n, err := l.conn.Read(p)
	if n > 0 {
		l.arrivals.Add(1)
	}
	return n, err
}

// deliver hands a message on. Its body stays where it was read to; what the sink may keep is copied.
func (s *subscriber) deliver(m *backplane.Message, channel, payload []byte) {
	s.counters.received.Add(1)
	sub := s.subscriptions.deliverable(channel)
	if sub == nil {
		return // came after the unsubscribe
	}
	// No part of this string outlives the call.
	e, err := decodeEnvelope(unsafe.String(unsafe.SliceData(payload), len(payload)))
	if err != nil {
		if errors.Is(err, errEnvelopeVersion) {
			s.counters.skippedUnknown.Add(1)
		} else {
			s.counters.skippedBroken.Add(1)
		}
		return
	}
	if e.changes {
		s.deliverChanges(m, sub.target, e.body)
		return
	}
	if e.epoch != sub.epoch {
		sub.epoch = strings.Clone(e.epoch)
	}
	*m = backplane.Message{
		Target: sub.target, Exclude: strings.Clone(e.exclude), Body: payload[len(payload)-len(e.body):],
		Epoch: sub.epoch, Offset: e.offset,
	}
	s.sink.Deliver(m)
}

// deliverChanges hands on who came to a room and who left it.
func (s *subscriber) deliverChanges(m *backplane.Message, room backplane.Target, text string) {
	changes, err := parseChanges(text)
	if err != nil {
		s.counters.skippedBroken.Add(1)
		return
	}
	*m = backplane.Message{Target: room, Changes: changes}
	s.sink.Deliver(m)
}

// subscribed takes a confirmation of Redis and tells the sink.
func (s *subscriber) subscribed(channel []byte) {
	s.told = false
	sub, since, changed := s.subscriptions.subscribed(channel)
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
	err := s.flush(l)
	if err == nil {
		err = l.send(timing.Dial, "PING")
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
			err = s.flush(l)
		case <-s.moved: // have the reader come out of its waiting
			err = l.send(timing.Dial, "PING")
		case <-ticker.C:
			if now := l.arrivals.Load(); now != seen {
				silent, seen = 0, now
			} else if silent++; silent >= allowed {
				l.fail(errSilent)
				return
			}
			err = l.send(timing.Dial, "PING")
		}
	}
}

// flush sends commands until there are none left.
func (s *subscriber) flush(l *subscriberLink) error {
	for {
		subscribe, unsubscribe := s.subscriptions.commands()
		if len(subscribe) == 0 && len(unsubscribe) == 0 {
			return nil
		}
		if len(subscribe) > 0 {
			s.counters.subscribeCommands.Add(1)
			if err := s.send(l, s.commands.subscribe, subscribe); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
		}
		if len(unsubscribe) > 0 {
			s.counters.unsubscribeCommands.Add(1)
			if err := s.send(l, s.commands.unsubscribe, unsubscribe); err != nil {
				return fmt.Errorf("unsubscribe: %w", err)
			}
		}
	}
}

// send writes a command for all channels, or one for each.
func (s *subscriber) send(l *subscriberLink, name string, channels []string) error {
	l.command = l.command[:0]
	if !s.commands.single {
		l.append(name, channels...)
	} else {
		for _, channel := range channels {
			l.append(name, channel)
		}
	}
	return l.flush(s.dialer.options.Timing.Dial)
}

// send writes a command without arguments, whose answer the reader gets. Only the writer calls it.
func (l *subscriberLink) send(patience time.Duration, name string) error {
	l.command = l.command[:0]
	l.append(name)
	return l.flush(patience)
}

// append appends a command to what is to be written.
func (l *subscriberLink) append(name string, channels ...string) {
	l.command = appendBulk(appendHead(l.command, '*', 1+len(channels)), name)
	for _, channel := range channels {
		l.command = appendBulk(l.command, channel)
	}
}

// flush writes what was appended.
func (l *subscriberLink) flush(patience time.Duration) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := l.conn.Write(l.command)
	if cap(l.command) > keptBufferBytes {
		l.command = nil // do not keep the memory of a whole resubscription
	}
	return err
}

// fail cuts the link for a reason that the reader does not see.
func (l *subscriberLink) fail(err error) {
	if l.isGone() {
		return // a writer's error is only the echo of that
	}
	l.cause.Store(&err)
	l.cut()
}
