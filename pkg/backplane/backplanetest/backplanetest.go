// Package backplanetest holds the tests that every backplane must pass, whatever carries its messages, and the recording sink
// that they use. It owns what package backplane promises; what only one implementation promises is tested beside it.
package backplanetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// patience bounds every wait of these tests; it is only used up by a test that fails.
const patience = 10 * time.Second

// Event is one call of a sink's method.
type Event struct {
	// Name is "deliver", "changes", "subscribed" or "interrupted".
	Name   string
	Target backplane.Target
	// Exclude, Body, Epoch and Offset are those of a delivered message.
	Exclude, Body, Epoch string
	Offset               int64
	// Changes are those of a message with changes, as user=connections, a line each.
	Changes string
}

// Sink records what a backplane tells it, and fails the test when a promise of backplane.Sink is broken.
// It is safe for concurrent use.
type Sink struct {
	t testing.TB
	// OnDeliver and OnSubscribed, if set before Start, are called within Deliver and Subscribed.
	OnDeliver    func(*backplane.Message)
	OnSubscribed func(backplane.Target)

	// decisions guards waiting: whom to tell that a target's subscription is confirmed, while it is wanted.
	decisions sync.Mutex
	waiting   map[backplane.Target]chan struct{}

	mu     sync.Mutex
	events []Event
	inside map[backplane.Target]bool
	change chan struct{}
}

var _ backplane.Sink = (*Sink)(nil)

// NewSink returns an empty sink.
func NewSink(t testing.TB) *Sink {
	return &Sink{
		t: t, waiting: make(map[backplane.Target]chan struct{}),
		inside: make(map[backplane.Target]bool), change: make(chan struct{}),
	}
}

// Deliver records a message.
func (s *Sink) Deliver(m *backplane.Message) {
	s.enter(m.Target)
	defer s.leave(m.Target)
	if s.OnDeliver != nil {
		s.OnDeliver(m)
	}
	if m.Changes != nil {
		s.record(Event{Name: "changes", Target: m.Target, Changes: membersText(m.Changes, "\n")})
		return
	}
	s.record(Event{Name: "deliver", Target: m.Target, Exclude: m.Exclude, Body: string(m.Body), Epoch: m.Epoch, Offset: m.Offset})
}

// Subscribed records a confirmed subscription.
func (s *Sink) Subscribed(target backplane.Target) {
	s.enter(target)
	defer s.leave(target)
	if s.OnSubscribed != nil {
		s.OnSubscribed(target)
	}
	s.decisions.Lock()
	if waiter := s.waiting[target]; waiter != nil {
		select {
		case waiter <- struct{}{}:
		default: // told already
		}
	}
	s.decisions.Unlock()
	s.record(Event{Name: "subscribed", Target: target})
}

// Interrupted records a broken link.
func (s *Sink) Interrupted() { s.record(Event{Name: "interrupted"}) }

func (s *Sink) enter(target backplane.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inside[target] {
		s.t.Errorf("the sink was called from two goroutines at once for %v", target)
	}
	s.inside[target] = true
}

func (s *Sink) leave(target backplane.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inside, target)
}

func (s *Sink) record(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	close(s.change)
	s.change = make(chan struct{})
}

// Events returns a copy of everything recorded so far.
func (s *Sink) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Count returns how many events match.
func (s *Sink) Count(match func(Event) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.events {
		if match(e) {
			n++
		}
	}
	return n
}

// Await waits until n events match, and fails the test, saying what was expected, when they do not come.
func (s *Sink) Await(n int, what string, match func(Event) bool) {
	s.t.Helper()
	if !s.await(n, match) {
		s.t.Fatalf("after %v: %d of %d expected: %s", patience, s.Count(match), n, what)
	}
}

// awaitCount is for goroutines, which must not end the test.
func (s *Sink) awaitCount(target backplane.Target, n int) bool {
	return s.await(n, func(e Event) bool { return e.Name == "deliver" && e.Target == target })
}

func (s *Sink) await(n int, match func(Event) bool) bool {
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		change := s.change
		s.mu.Unlock()
		if s.Count(match) >= n {
			return true
		}
		select {
		case <-change:
		case <-deadline:
			return false
		}
	}
}

// AwaitSubscribed waits until target has been confirmed n times.
func (s *Sink) AwaitSubscribed(target backplane.Target, n int) {
	s.t.Helper()
	s.Await(n, fmt.Sprintf("confirmations of the subscription to %v", target), func(e Event) bool {
		return e.Name == "subscribed" && e.Target == target
	})
}

// Bodies returns the bodies delivered for target, in order.
func (s *Sink) Bodies(target backplane.Target) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var bodies []string
	for _, e := range s.events {
		if e.Name == "deliver" && e.Target == target {
			bodies = append(bodies, e.Body)
		}
	}
	return bodies
}

// Delivered returns the messages delivered for target, in order.
func (s *Sink) Delivered(target backplane.Target) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var delivered []Event
	for _, e := range s.events {
		if e.Name == "deliver" && e.Target == target {
			delivered = append(delivered, e)
		}
	}
	return delivered
}

// AwaitBodies waits until n messages were delivered for target and returns their bodies.
func (s *Sink) AwaitBodies(target backplane.Target, n int) []string {
	s.t.Helper()
	s.Await(n, fmt.Sprintf("messages for %v", target), func(e Event) bool {
		return e.Name == "deliver" && e.Target == target
	})
	return s.Bodies(target)
}

// Outcome is how one publication ended.
type Outcome struct {
	Receipt backplane.Receipt
	Err     error
	// After is the time from Publish to the confirmation.
	After time.Duration
}

type confirmation struct {
	t       testing.TB
	start   time.Time
	once    sync.Once
	outcome chan Outcome
}

func (c *confirmation) Published(receipt backplane.Receipt, err error) {
	first := false
	c.once.Do(func() { first = true })
	if !first {
		c.t.Error("a publication was confirmed twice")
		return
	}
	c.outcome <- Outcome{Receipt: receipt, Err: err, After: time.Since(c.start)}
}

// PublishAsync publishes m; the channel gets how it ended, once.
func PublishAsync(t testing.TB, b backplane.Backplane, m *backplane.Message) <-chan Outcome {
	c := &confirmation{t: t, start: time.Now(), outcome: make(chan Outcome, 1)}
	b.Publish(m, c)
	return c.outcome
}

// Publish publishes m and waits for how it ended.
func Publish(t testing.TB, b backplane.Backplane, m *backplane.Message) Outcome {
	t.Helper()
	select {
	case o := <-PublishAsync(t, b, m):
		return o
	case <-time.After(patience):
		t.Fatalf("a publication to %v was not confirmed within %v", m.Target, patience)
		return Outcome{}
	}
}

// MustPublish publishes m and fails the test when the store did not take it.
func MustPublish(t testing.TB, b backplane.Backplane, m *backplane.Message) {
	t.Helper()
	if o := Publish(t, b, m); o.Err != nil {
		t.Fatalf("publish to %v: %v", m.Target, o.Err)
	}
}

// AwaitStatus waits until the status of b matches, and fails the test, saying what was expected, when it does not.
func AwaitStatus(t testing.TB, b backplane.Backplane, what string, match func(backplane.Status) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !match(b.Status()) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v status is %+v, expected: %s", patience, b.Status(), what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
