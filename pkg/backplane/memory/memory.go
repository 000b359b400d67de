// Package memory is the backplane of a gateway that runs alone: what is published is delivered to this process's own sink,
// and nothing leaves the process. It needs no Redis. Logs, idempotency keys and who is in a room are kept in the process's memory, and
// end with it.
//
// Delivery happens inline, in the goroutine that publishes: the publisher must not hold a lock that the sink's Deliver takes.
// When two goroutines publish to one target at the same time, one of them delivers for both, so that a target's messages
// come in one order and never from two goroutines at once.
package memory

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// shardCount is how many locks share the topics; a power of two.
	shardCount = 64
	// maxWaitingBytes bounds the bodies that wait for another goroutine to deliver them, over all targets.
	maxWaitingBytes = 16 << 20
)

var (
	errClosed = fmt.Errorf("%w: it is closed", backplane.ErrUnavailable)
	errFull   = fmt.Errorf("%w: messages come faster than they can be delivered", backplane.ErrUnavailable)
)

// Backplane implements backplane.Backplane, backplane.Log and backplane.Presence within one process. All methods are safe for concurrent use.
type Backplane struct {
	// Fixed by New and Start.
	seed maphash.Seed
	sink backplane.Sink

	started       atomic.Bool
	closed        atomic.Bool
	subscriptions atomic.Int64
	waitingBytes  atomic.Int64
	members       atomic.Int64 // users in rooms, a user once for each room
	announced     atomic.Pointer[announcement]
	// busy counts goroutines that publish or tell of a subscription; idle is closed when it is 0 after Close.
	busy     atomic.Int64
	idle     chan struct{}
	idleOnce sync.Once

	// sweeping starts the one goroutine that forgets what has expired, stop ends it and swept is closed when it has ended.
	sweeping    sync.Once
	stop, swept chan struct{}

	shards [shardCount]shard
}

var (
	_ backplane.Backplane = (*Backplane)(nil)
	_ backplane.Log       = (*Backplane)(nil)
	_ backplane.Presence  = (*Backplane)(nil)
	_ backplane.Users     = (*Backplane)(nil)
	_ backplane.Registry  = (*Backplane)(nil)
)

// shard owns a part of the targets. The maps beside topics are nil while they would be empty.
type shard struct {
	mu       sync.Mutex
	topics   map[backplane.Target]*topic
	logs     map[backplane.Target]*log
	rosters  map[backplane.Target]*roster
	users    map[backplane.Target]*user
	keys     map[key]remembered
	expiring []remembering // the keys, soonest first
}

// topic is a target that is subscribed to or still being delivered to. Its fields are guarded by its shard's mutex.
type topic struct {
	subscribed bool
	// delivering is true while one goroutine hands over events; others leave theirs in waiting.
	delivering bool
	waiting    []event
}

// event is a message to deliver, or with a nil done the news that the target is subscribed.
type event struct {
	message backplane.Message
	done    backplane.Confirmation
	end     outcome
}

// outcome is how a publication ends.
type outcome struct {
	receipt backplane.Receipt
	err     error
}

// New returns a backplane that is usable after Start.
func New() *Backplane {
	b := &Backplane{seed: maphash.MakeSeed(), idle: make(chan struct{}), stop: make(chan struct{}), swept: make(chan struct{})}
	for i := range b.shards {
		b.shards[i].topics = make(map[backplane.Target]*topic)
	}
	return b
}

// Start sets the sink. It returns at once; the backplane is up from then on.
func (b *Backplane) Start(sink backplane.Sink) {
	b.sink = sink
	b.started.Store(true)
}

// Publish delivers m to the sink if its target is subscribed to, then confirms, both before it returns. Only when another
// goroutine is delivering to the same target at this moment, that one does both, soon. A message to a target without a
// subscription goes to the log, if it is to be kept, and is confirmed, as Redis does.
func (b *Backplane) Publish(m *backplane.Message, done backplane.Confirmation) {
	if !b.enter() {
		done.Published(backplane.Receipt{}, errClosed)
		return
	}
	defer b.leave()

	s := b.shard(m.Target)
	s.mu.Lock()
	if m.IdempotencyKey != "" {
		if end, repeated := s.answer(b.seed, m); repeated {
			s.mu.Unlock()
			done.Published(end.receipt, end.err)
			return
		}
	}
	t := s.topics[m.Target]
	subscribed := t != nil && t.subscribed
	waits := subscribed && t.delivering
	if waits && b.waitingBytes.Add(int64(len(m.Body))) > maxWaitingBytes {
		b.waitingBytes.Add(-int64(len(m.Body)))
		s.mu.Unlock()
		done.Published(backplane.Receipt{}, errFull)
		return
	}
	// From here on the store has taken it: its place in the log and its turn in the delivery are one decision, under one lock.
	placed, end := b.record(s, m)
	switch {
	case waits:
		t.waiting = append(t.waiting, event{message: *placed, done: done, end: end})
		s.mu.Unlock()
	case subscribed:
		t.delivering = true
		s.mu.Unlock()
		b.sink.Deliver(placed)
		done.Published(end.receipt, end.err)
		b.deliverWaiting(s, t, m.Target)
	default:
		s.mu.Unlock()
		done.Published(end.receipt, end.err)
	}
}

// Subscribe counts at once: what is published after it returns is delivered. The sink is told by a goroutine of its own.
func (b *Backplane) Subscribe(target backplane.Target) {
	if !b.enter() {
		return
	}
	defer b.leave()

	s := b.shard(target)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[target]
	if t == nil {
		t = &topic{}
		s.topics[target] = t
	}
	if t.subscribed {
		return
	}
	t.subscribed = true
	b.subscriptions.Add(1)
	t.waiting = append(t.waiting, event{message: backplane.Message{Target: target}})
	if t.delivering {
		return
	}
	t.delivering = true
	b.busy.Add(1)
	go func() {
		defer b.leave()
		b.deliverWaiting(s, t, target)
	}()
}

// Unsubscribe ends the subscription; what waits for delivery is confirmed and dropped.
func (b *Backplane) Unsubscribe(target backplane.Target) {
	s := b.shard(target)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[target]
	if t == nil || !t.subscribed {
		return
	}
	t.subscribed = false
	b.subscriptions.Add(-1)
	if !t.delivering {
		delete(s.topics, target)
	}
}

// deliverWaiting hands over what others left while the caller delivered. The caller has set t.delivering.
func (b *Backplane) deliverWaiting(s *shard, t *topic, target backplane.Target) {
	for {
		s.mu.Lock()
		waiting := t.waiting
		if len(waiting) == 0 {
			t.delivering = false
			if !t.subscribed {
				delete(s.topics, target)
			}
			s.mu.Unlock()
			return
		}
		t.waiting = nil
		s.mu.Unlock()
		for i := range waiting {
			s.mu.Lock()
			subscribed := t.subscribed
			s.mu.Unlock()
			b.handOver(&waiting[i], subscribed)
		}
	}
}

// handOver ends one event: it reaches the sink if the target is still subscribed, and its publisher hears of it either way.
func (b *Backplane) handOver(e *event, subscribed bool) {
	if e.done == nil {
		if subscribed {
			b.sink.Subscribed(e.message.Target)
		}
		return
	}
	b.waitingBytes.Add(-int64(len(e.message.Body)))
	if subscribed {
		b.sink.Deliver(&e.message)
	}
	e.done.Published(e.end.receipt, e.end.err)
}

// withoutPosition returns m without the place in a log that its publisher says it has; m itself is not changed.
func withoutPosition(m *backplane.Message) *backplane.Message {
	if m.Epoch == "" && m.Offset == 0 {
		return m
	}
	plain := *m
	plain.Epoch, plain.Offset = "", 0
	return &plain
}

// Status is up from Start to Close.
func (b *Backplane) Status() backplane.Status {
	started := b.started.Load()
	status := backplane.Status{
		Up:            started && !b.closed.Load(),
		EverUp:        started,
		Subscriptions: int(b.subscriptions.Load()),
	}
	if !status.Up {
		status.LastError = "the backplane is closed"
		if !started {
			status.LastError = "the backplane is not started"
		}
	}
	return status
}

// Close refuses what is published from now on and waits until everything accepted is delivered, or ctx ends.
func (b *Backplane) Close(ctx context.Context) error {
	if b.closed.Swap(true) {
		return errors.New("the memory backplane is closed already")
	}
	if b.busy.Load() == 0 {
		b.idleOnce.Do(func() { close(b.idle) })
	}
	close(b.stop)
	select {
	case <-b.idle:
		b.sweeping.Do(func() { close(b.swept) }) // it never began, and now never will
		<-b.swept
		return nil
	case <-ctx.Done():
		return fmt.Errorf("deliver what was published: %w", context.Cause(ctx))
	}
}

// enter counts a goroutine in, or says that the backplane is closed. Counting before looking makes sure that Close waits for
// everybody who was let in.
func (b *Backplane) enter() bool {
	b.busy.Add(1)
	if b.closed.Load() {
		b.leave()
		return false
	}
	return true
}

func (b *Backplane) leave() {
	if b.busy.Add(-1) == 0 && b.closed.Load() {
		b.idleOnce.Do(func() { close(b.idle) })
	}
}

func (b *Backplane) shard(target backplane.Target) *shard {
	return &b.shards[maphash.Comparable(b.seed, target)%shardCount]
}
