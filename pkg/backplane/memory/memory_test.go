package memory_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
)

func TestContract(t *testing.T) {
	open := func(*testing.T) backplane.Backplane { return memory.New() }
	backplanetest.Run(t, open)
	backplanetest.RunLog(t, open)
	backplanetest.RunPresence(t, open)
	backplanetest.RunUsers(t, open)
}

func TestAMessageIsDeliveredAndConfirmedWhenPublishReturns(t *testing.T) {
	b, sink := memory.New(), backplanetest.NewSink(t)
	b.Start(sink)
	target := backplane.Target{Kind: backplane.Room, ID: "lobby"}
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	// A first message may still be delivered by the goroutine that told of the subscription.
	backplanetest.MustPublish(t, b, &backplane.Message{Target: target, Body: []byte("first")})
	outcome := backplanetest.PublishAsync(t, b, &backplane.Message{Target: target, Body: []byte("now")})
	select {
	case o := <-outcome:
		if o.Err != nil {
			t.Errorf("publish: %v", o.Err)
		}
	default:
		t.Error("the publication was not confirmed when publish returned")
	}
	if got := sink.Bodies(target); len(got) != 2 || got[1] != "now" {
		t.Errorf("when publish returned the sink had got %q, want both messages", got)
	}
}

func TestWhatIsPublishedAfterSubscribeReturnsIsDelivered(t *testing.T) {
	b, sink := memory.New(), backplanetest.NewSink(t)
	b.Start(sink)
	for i := range 1000 {
		target := backplane.Target{Kind: backplane.Room, ID: fmt.Sprint(i)}
		b.Subscribe(target)
		backplanetest.MustPublish(t, b, &backplane.Message{Target: target, Body: []byte("x")})
		if got := sink.Bodies(target); len(got) != 1 {
			t.Fatalf("%d messages delivered, want 1", len(got))
		}
	}
}

type silent struct{}

func (silent) Deliver(*backplane.Message)         {}
func (silent) Subscribed(backplane.Target)        {}
func (silent) Interrupted()                       {}
func (silent) Published(backplane.Receipt, error) {}

func BenchmarkPublish(b *testing.B) {
	m := memory.New()
	m.Start(silent{})
	target := backplane.Target{Kind: backplane.Room, ID: "lobby"}
	m.Subscribe(target)
	message := &backplane.Message{Target: target, Body: make([]byte, 128)}
	b.ReportAllocs()
	for b.Loop() {
		m.Publish(message, silent{})
	}
}

func TestMessagesThatWaitForAnotherGoroutineAreBounded(t *testing.T) {
	b, sink := memory.New(), backplanetest.NewSink(t)
	entered, release := make(chan struct{}), make(chan struct{})
	sink.OnDeliver = func(m *backplane.Message) {
		if string(m.Body) == "slow" {
			close(entered)
			<-release
		}
	}
	b.Start(sink)
	target := backplane.Target{Kind: backplane.Room, ID: "lobby"}
	b.Subscribe(target)
	slow := make(chan (<-chan backplanetest.Outcome))
	go func() {
		slow <- backplanetest.PublishAsync(t, b, &backplane.Message{Target: target, Body: []byte("slow")})
	}()
	<-entered

	mebibyte := make([]byte, 1<<20)
	var waiting []<-chan backplanetest.Outcome
	for range 16 {
		waiting = append(waiting, backplanetest.PublishAsync(t, b, &backplane.Message{Target: target, Body: mebibyte}))
	}
	over := backplanetest.Publish(t, b, &backplane.Message{Target: target, Body: mebibyte})
	if !errors.Is(over.Err, backplane.ErrUnavailable) {
		t.Errorf("a publication over the bound ended with %v, want ErrUnavailable", over.Err)
	}
	close(release)
	for _, outcome := range append(waiting, <-slow) {
		if o := <-outcome; o.Err != nil {
			t.Errorf("a publication under the bound ended with %v", o.Err)
		}
	}
	backplanetest.MustPublish(t, b, &backplane.Message{Target: target, Body: mebibyte})
	if got := len(sink.Bodies(target)); got != 18 {
		t.Errorf("%d messages were delivered, want 18", got)
	}
}
