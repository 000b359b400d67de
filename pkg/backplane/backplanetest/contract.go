package backplanetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// Run tests that the backplanes made by open keep what package backplane promises. open returns one that is not started;
// Run starts and closes it.
func Run(t *testing.T, open func(t *testing.T) backplane.Backplane) {
	for _, c := range []struct {
		name string
		test func(*testing.T, backplane.Backplane, *Sink)
	}{
		{"a message reaches the sink of a subscribed target, whole", messageIsWhole},
		{"rooms and users of one name are different targets", kindsAreApart},
		{"ids of any allowed characters and length work", idsOfAllKinds},
		{"a message to a target that nobody subscribes to is confirmed and not delivered", nobodySubscribed},
		{"after the last unsubscribe nothing is delivered", unsubscribeEnds},
		{"subscribing twice is subscribing once", subscribeTwice},
		{"every new subscription is confirmed again", subscribeAgain},
		{"quick changes of mind end as last asked", changesOfMind},
		{"messages of one goroutine to one target keep their order", orderOfOnePublisher},
		{"all subscribers' order of a target is one order", orderOfManyPublishers},
		{"the body may be reused once the publication is confirmed", bodyIsBorrowed},
		{"the sink may call back", sinkCallsBack},
		{"close confirms what was accepted and refuses what comes later", closeFlushes},
		{"status tells the link and the subscriptions", statusTells},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			sink := NewSink(t)
			if strings.HasPrefix(c.name, "the sink may call back") {
				prepareCallBack(b, sink)
			}
			b.Start(sink)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
				defer cancel()
				_ = b.Close(ctx) // closed already by the tests that are about closing
			})
			c.test(t, b, sink)
		})
	}
}

func room(id string) backplane.Target { return backplane.Target{Kind: backplane.Room, ID: id} }
func user(id string) backplane.Target { return backplane.Target{Kind: backplane.User, ID: id} }

func message(target backplane.Target, body string) *backplane.Message {
	return &backplane.Message{Target: target, Body: []byte(body)}
}

// Subscribe subscribes and waits for the confirmation; sink must not have seen target before.
func subscribe(b backplane.Backplane, sink *Sink, target backplane.Target) {
	sink.t.Helper()
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
}

func messageIsWhole(t *testing.T, b backplane.Backplane, sink *Sink) {
	target := room("lobby")
	subscribe(b, sink, target)
	body := `{"type":"message","data":"` + strings.Repeat("ü", 100_000) + `"}`
	// A place in a log is for the store to give: what a publisher says of it does not arrive.
	MustPublish(t, b, &backplane.Message{Target: target, Exclude: "c-1", Body: []byte(body), Epoch: "mine", Offset: 7})
	sink.AwaitBodies(target, 1)
	events := sink.Events()
	want := Event{Name: "deliver", Target: target, Exclude: "c-1", Body: body}
	if got := events[len(events)-1]; got != want {
		t.Errorf("delivered %.100v…, want %.100v…", got, want)
	}
}

func kindsAreApart(t *testing.T, b backplane.Backplane, sink *Sink) {
	subscribe(b, sink, room("alice"))
	subscribe(b, sink, user("alice"))
	MustPublish(t, b, message(user("alice"), "to the user"))
	MustPublish(t, b, message(room("alice"), "to the room"))
	if got, want := sink.AwaitBodies(room("alice"), 1), []string{"to the room"}; !slices.Equal(got, want) {
		t.Errorf("the room got %q, want %q", got, want)
	}
	if got, want := sink.AwaitBodies(user("alice"), 1), []string{"to the user"}; !slices.Equal(got, want) {
		t.Errorf("the user got %q, want %q", got, want)
	}
}

func idsOfAllKinds(t *testing.T, b backplane.Backplane, sink *Sink) {
	ids := []string{
		"a", "a b", "a:b", "{a}", "}{", "a%20b", "%", "*", "a*", "a?", "[a]", `\`, `"'`, "ä", "日本", "🙂", "A", "~", "..", "/",
		strings.Repeat("x", 256), strings.Repeat("x", 255), strings.Repeat("日", 85), "{r:a}:ch", "a\u00a0b",
	}
	for _, id := range ids {
		subscribe(b, sink, room(id))
	}
	for _, id := range ids {
		MustPublish(t, b, message(room(id), id))
	}
	for _, id := range ids {
		if got := sink.AwaitBodies(room(id), 1); !slices.Equal(got, []string{id}) {
			t.Errorf("room %q got %q, want only its own message", id, got)
		}
	}
}

func nobodySubscribed(t *testing.T, b backplane.Backplane, sink *Sink) {
	subscribe(b, sink, room("other"))
	MustPublish(t, b, message(room("empty"), "unheard"))
	MustPublish(t, b, message(room("other"), "heard"))
	sink.AwaitBodies(room("other"), 1)
	if got := sink.Bodies(room("empty")); got != nil {
		t.Errorf("a room without subscription got %q", got)
	}
}

func unsubscribeEnds(t *testing.T, b backplane.Backplane, sink *Sink) {
	target, other := room("left"), room("marker")
	subscribe(b, sink, target)
	b.Unsubscribe(target)
	b.Unsubscribe(target)      // once more changes nothing
	b.Unsubscribe(room("new")) // neither does one that was never subscribed
	subscribe(b, sink, other)
	AwaitStatus(t, b, "one subscription", func(s backplane.Status) bool { return s.Subscriptions == 1 })
	// Messages on their way may still come; what is published when the unsubscribe is through does not. An implementation
	// without a confirmation of it gets a moment: publish until a message is not delivered any more.
	for i := range 1000 {
		before := len(sink.Bodies(target))
		MustPublish(t, b, message(target, "to nobody"))
		MustPublish(t, b, message(other, "marker"))
		sink.AwaitBodies(other, i+1)
		if len(sink.Bodies(target)) == before {
			return
		}
	}
	t.Error("messages are delivered long after the unsubscribe")
}

func subscribeTwice(t *testing.T, b backplane.Backplane, sink *Sink) {
	target := room("twice")
	subscribe(b, sink, target)
	b.Subscribe(target)
	MustPublish(t, b, message(target, "once"))
	if got := sink.AwaitBodies(target, 1); len(got) != 1 {
		t.Errorf("delivered %d times, want 1", len(got))
	}
	if got := b.Status().Subscriptions; got != 1 {
		t.Errorf("status counts %d subscriptions, want 1", got)
	}
	b.Unsubscribe(target)
	if got := b.Status().Subscriptions; got != 0 {
		t.Errorf("after one unsubscribe status counts %d subscriptions, want 0", got)
	}
}

func subscribeAgain(t *testing.T, b backplane.Backplane, sink *Sink) {
	target := room("again")
	for i := range 50 {
		b.Subscribe(target)
		sink.AwaitSubscribed(target, i+1)
		MustPublish(t, b, message(target, fmt.Sprint(i)))
		if got := sink.AwaitBodies(target, i+1); got[i] != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got[i])
		}
		b.Unsubscribe(target)
	}
}

// changesOfMind does as the hub does: a lock of its own is held over Subscribe and Unsubscribe, so that they come in the order
// of its decisions, and Subscribed takes the same lock. A confirmation of an earlier subscription that arrives late must then
// be as good as the newest.
func changesOfMind(t *testing.T, b backplane.Backplane, sink *Sink) {
	targets := []backplane.Target{room("fickle 0"), room("fickle 1"), room("fickle 2"), room("fickle 3"), user("fickle")}
	var wg sync.WaitGroup
	for _, target := range targets {
		wg.Go(func() {
			delivered := 0
			for range 100 {
				for range rand.IntN(4) {
					decide(b, sink, target, make(chan struct{}, 1))
					decide(b, sink, target, nil)
				}
				waiter := make(chan struct{}, 1)
				decide(b, sink, target, waiter)
				select {
				case <-waiter:
				case <-time.After(patience):
					t.Errorf("the last subscription to %v is not confirmed", target)
					return
				}
				if o := Publish(t, b, message(target, "stays")); o.Err != nil {
					t.Errorf("publish: %v", o.Err)
				}
				delivered++
				if !sink.awaitCount(target, delivered) {
					t.Errorf("a message to %v, published after the confirmation, is not delivered", target)
					return
				}
				decide(b, sink, target, nil)
			}
		})
	}
	wg.Wait()
}

// decide subscribes, with a channel for the confirmation, or unsubscribes, without one.
func decide(b backplane.Backplane, sink *Sink, target backplane.Target, waiter chan struct{}) {
	sink.decisions.Lock()
	defer sink.decisions.Unlock()
	if waiter == nil {
		delete(sink.waiting, target)
		b.Unsubscribe(target)
		return
	}
	sink.waiting[target] = waiter
	b.Subscribe(target)
}

func orderOfOnePublisher(t *testing.T, b backplane.Backplane, sink *Sink) {
	const messages = 2000
	targets := []backplane.Target{room("order 1"), room("order 2"), user("order 1"), room("order 3")}
	for _, target := range targets {
		subscribe(b, sink, target)
	}
	var wg sync.WaitGroup
	for _, target := range targets {
		wg.Go(func() {
			var outcomes []<-chan Outcome
			for i := range messages {
				outcomes = append(outcomes, PublishAsync(t, b, message(target, fmt.Sprint(i))))
			}
			for _, o := range outcomes {
				if o := <-o; o.Err != nil {
					t.Errorf("publish: %v", o.Err)
				}
			}
		})
	}
	wg.Wait()
	for _, target := range targets {
		got := sink.AwaitBodies(target, messages)
		for i, body := range got {
			if body != fmt.Sprint(i) {
				t.Fatalf("%v: message %d is %q", target, i, body)
			}
		}
	}
}

func orderOfManyPublishers(t *testing.T, b backplane.Backplane, sink *Sink) {
	const publishers, messages = 8, 500
	target := room("crowd")
	subscribe(b, sink, target)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			var outcomes []<-chan Outcome
			for i := range messages {
				outcomes = append(outcomes, PublishAsync(t, b, message(target, fmt.Sprintf("%d %d", p, i))))
			}
			for _, o := range outcomes {
				if o := <-o; o.Err != nil {
					t.Errorf("publish: %v", o.Err)
				}
			}
		})
	}
	wg.Wait()
	got := sink.AwaitBodies(target, publishers*messages)
	if len(got) != publishers*messages {
		t.Fatalf("%d messages, want %d", len(got), publishers*messages)
	}
	next := [publishers]int{}
	for _, body := range got {
		var p, i int
		if _, err := fmt.Sscanf(body, "%d %d", &p, &i); err != nil {
			t.Fatal(err)
		}
		if i != next[p] {
			t.Fatalf("message %d of publisher %d came when %d was due", i, p, next[p])
		}
		next[p]++
	}
}

func bodyIsBorrowed(t *testing.T, b backplane.Backplane, sink *Sink) {
	target := room("buffer")
	subscribe(b, sink, target)
	buffer := make([]byte, 8)
	const messages = 500
	for i := range messages {
		copy(buffer, fmt.Sprintf("%08d", i))
		MustPublish(t, b, &backplane.Message{Target: target, Body: buffer})
		copy(buffer, "garbage!")
	}
	for i, body := range sink.AwaitBodies(target, messages) {
		if want := fmt.Sprintf("%08d", i); body != want {
			t.Fatalf("message %d is %q, want %q", i, body, want)
		}
	}
}

type ignore struct{}

func (ignore) Published(backplane.Receipt, error) {}

func prepareCallBack(b backplane.Backplane, sink *Sink) {
	sink.OnSubscribed = func(target backplane.Target) {
		if target.ID == "first" {
			b.Subscribe(room("second"))
		}
	}
	sink.OnDeliver = func(m *backplane.Message) {
		switch string(m.Body) {
		case "start":
			b.Publish(message(m.Target, "same target"), ignore{})
			b.Publish(message(room("second"), "other target"), ignore{})
		case "same target":
			b.Unsubscribe(m.Target)
			b.Subscribe(room("third"))
		}
	}
}

func sinkCallsBack(t *testing.T, b backplane.Backplane, sink *Sink) {
	subscribe(b, sink, room("first"))
	sink.AwaitSubscribed(room("second"), 1)
	MustPublish(t, b, message(room("first"), "start"))
	if got, want := sink.AwaitBodies(room("first"), 2), []string{"start", "same target"}; !slices.Equal(got, want) {
		t.Errorf("first room got %q, want %q", got, want)
	}
	sink.AwaitBodies(room("second"), 1)
	sink.AwaitSubscribed(room("third"), 1)
}

func closeFlushes(t *testing.T, b backplane.Backplane, sink *Sink) {
	target := room("last words")
	subscribe(b, sink, target)
	var outcomes []<-chan Outcome
	for i := range 500 {
		outcomes = append(outcomes, PublishAsync(t, b, message(target, fmt.Sprint(i))))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	for i, outcome := range outcomes {
		select {
		case o := <-outcome:
			if o.Err != nil {
				t.Fatalf("publication %d, accepted before close: %v", i, o.Err)
			}
		default:
			t.Fatalf("publication %d was not confirmed when close returned", i)
		}
	}
	if o := Publish(t, b, message(target, "too late")); !errors.Is(o.Err, backplane.ErrUnavailable) {
		t.Errorf("a publication after close ended with %v, want ErrUnavailable", o.Err)
	}
	b.Subscribe(room("too late")) // must not panic or block
	b.Unsubscribe(target)
	if b.Status().Up {
		t.Error("status says up after close")
	}
	if err := b.Close(ctx); err == nil {
		t.Error("a second close says nothing")
	}
	events := len(sink.Events())
	time.Sleep(20 * time.Millisecond)
	if now := len(sink.Events()); now != events {
		t.Errorf("the sink was called %d times after close", now-events)
	}
}

func statusTells(t *testing.T, b backplane.Backplane, sink *Sink) {
	subscribe(b, sink, room("one"))
	subscribe(b, sink, room("two"))
	AwaitStatus(t, b, "up with two subscriptions", func(s backplane.Status) bool {
		return s.Up && s.EverUp && s.Subscriptions == 2 && s.LastError == "" && s.Reconnects == 0
	})
}
