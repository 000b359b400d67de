package redis

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// isInterrupted and isSubscribed match events of a sink.
func isInterrupted(e backplanetest.Event) bool { return e.Name == "interrupted" }
func isSubscribed(e backplanetest.Event) bool  { return e.Name == "subscribed" }

// wantUnavailable fails the test unless o ended as unavailable between least and most after Publish.
func wantUnavailable(t *testing.T, o backplanetest.Outcome, least, most time.Duration) {
	t.Helper()
	if !errors.Is(o.Err, backplane.ErrUnavailable) {
		t.Errorf("the publication ended with %v, want ErrUnavailable", o.Err)
	}
	if o.After < least || o.After > most {
		t.Errorf("the publication ended after %v, want %v to %v", o.After, least, most)
	}
}

func TestAfterARestartOfRedisSubscriptionsComeBackByThemselves(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b, sink := start(t, Options{URL: server.URL()})
	targets := []backplane.Target{room("a"), room("b"), room("c"), {Kind: backplane.User, ID: "a"}}
	for _, target := range targets {
		b.Subscribe(target)
		sink.AwaitSubscribed(target, 1)
	}

	server.Kill()
	awaitDown(t, b)
	// Redis is away: a publication waits for it, but no longer than the publish timeout.
	var waiting []<-chan backplanetest.Outcome
	for _, target := range targets {
		waiting = append(waiting, backplanetest.PublishAsync(t, b, text(target, "lost")))
	}
	for _, w := range waiting {
		wantUnavailable(t, <-w, PublishTimeout*9/10, PublishTimeout+500*time.Millisecond)
	}
	// What is asked for while Redis is away is done when it is back.
	b.Unsubscribe(room("b"))
	b.Subscribe(room("d"))

	server.Restart()
	awaitUp(t, b)
	for _, target := range []backplane.Target{room("a"), room("c"), {Kind: backplane.User, ID: "a"}} {
		sink.AwaitSubscribed(target, 2)
	}
	sink.AwaitSubscribed(room("d"), 1)
	for _, target := range append(targets, room("d")) {
		backplanetest.MustPublish(t, b, text(target, "back"))
	}
	for _, target := range []backplane.Target{room("a"), room("c"), room("d"), {Kind: backplane.User, ID: "a"}} {
		if got := sink.AwaitBodies(target, 1); got[0] != "back" {
			t.Errorf("%v got %q, want what was published after the restart", target, got)
		}
	}
	if got := sink.Bodies(room("b")); got != nil {
		t.Errorf("a room that was let go during the outage got %q", got)
	}
	if got := b.Status(); got.Reconnects != 1 || got.Subscriptions != 4 || got.LastError != "" {
		t.Errorf("status is %+v, want 1 reconnect, 4 subscriptions and no error", got)
	}
	if sink.Count(isInterrupted) == 0 {
		t.Error("the sink was not told of the interruption")
	}
	if got := b.Counters().Failed[FailureNoLink]; got != uint64(len(targets)) {
		t.Errorf("%d failures for want of a link, want %d", got, len(targets))
	}
}

func TestAPublicationThatRedisReturnsInTimeForIsPublished(t *testing.T) {
	server := redistest.Start(t)
	b, sink := start(t, Options{URL: server.URL()})
	target := room("patient")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)

	server.Kill()
	awaitDown(t, b)
	outcome := backplanetest.PublishAsync(t, b, text(target, "waits"))
	time.Sleep(300 * time.Millisecond) // an outage of some length, well under the publish timeout
	server.Restart()
	if o := <-outcome; o.Err != nil {
		t.Errorf("the publication ended with %v though Redis was back in time", o.Err)
	}
}

func TestAnIdleLinkThatRedisClosedLosesNoPublication(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	b, _ := start(t, Options{URL: "redis://" + proxy.Addr})
	// The connection dies while nobody uses it; the next publication must notice before it is written.
	proxy.Cut()
	time.Sleep(20 * time.Millisecond) // for the end of the stream to arrive; later than that changes nothing
	backplanetest.MustPublish(t, b, text(room("a"), "first after the cut"))
}

func TestAStartWithoutRedisConnectsWhenItComes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	b, sink := open(t, Options{URL: server.URL()}), backplanetest.NewSink(t)
	b.Start(sink)
	t.Cleanup(func() { closeNow(b) })
	target := room("early")
	b.Subscribe(target)
	wantUnavailable(t, backplanetest.Publish(t, b, text(target, "too early")), PublishTimeout*9/10, PublishTimeout+500*time.Millisecond)
	if got := b.Status(); got.Up || got.EverUp || !strings.Contains(got.LastError, "refused") {
		t.Errorf("status is %+v, want never up and the reason", got)
	}
	server.Restart()
	awaitUp(t, b)
	sink.AwaitSubscribed(target, 1)
	backplanetest.MustPublish(t, b, text(target, "now"))
	sink.AwaitBodies(target, 1)
	if got := sink.Count(isInterrupted); got != 0 {
		t.Errorf("%d interruptions of a link that never was", got)
	}
	if got := b.Status().Reconnects; got != 0 {
		t.Errorf("%d reconnects, want 0: the first link is none", got)
	}
}

// faults are ways to break a link without closing it.
type fault struct {
	name       string
	begin, end func(*redistest.Server, *faultproxy.Proxy)
}

func silentFaults() []fault {
	return []fault{
		{
			name:  "Redis is stopped (SIGSTOP)",
			begin: func(s *redistest.Server, _ *faultproxy.Proxy) { s.Pause() },
			end:   func(s *redistest.Server, _ *faultproxy.Proxy) { s.Resume() },
		},
		{
			name:  "the link swallows everything",
			begin: func(_ *redistest.Server, p *faultproxy.Proxy) { p.Blackhole() },
			end:   func(_ *redistest.Server, p *faultproxy.Proxy) { p.Restore() },
		},
	}
}

func TestALinkThatGoesSilentIsNoticedAndReplaced(t *testing.T) {
	t.Parallel()
	for _, f := range silentFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := faultproxy.Start(t, server.Addr)
			b, sink := start(t, Options{URL: "redis://" + proxy.Addr})
			target := room("quiet")
			b.Subscribe(target)
			sink.AwaitSubscribed(target, 1)
			backplanetest.MustPublish(t, b, text(target, "before"))
			sink.AwaitBodies(target, 1)

			begun := time.Now()
			f.begin(server, proxy)
			// One publication is written into the void, others follow while it waits.
			var outcomes []<-chan backplanetest.Outcome
			for i := range 20 {
				outcomes = append(outcomes, backplanetest.PublishAsync(t, b, text(target, fmt.Sprint("lost ", i))))
				time.Sleep(5 * time.Millisecond)
			}
			for _, outcome := range outcomes {
				wantUnavailable(t, <-outcome, 0, PublishTimeout+500*time.Millisecond)
			}
			sink.Await(2, "interruptions, one for each connection", isInterrupted)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("the silence was noticed after %v, want 3 s and a ping", took)
			}
			if b.Status().Up {
				t.Error("status says up")
			}

			f.end(server, proxy)
			awaitUp(t, b)
			sink.AwaitSubscribed(target, 2)
			backplanetest.MustPublish(t, b, text(target, "after"))
			sink.Await(1, "messages published after the fault", func(e backplanetest.Event) bool { return e.Body == "after" })
		})
	}
}

func TestASlowLinkIsNotGivenUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	b, sink := start(t, Options{URL: "redis://" + proxy.Addr})
	target := room("far")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	proxy.Delay(150 * time.Millisecond)
	for range 6 {
		backplanetest.MustPublish(t, b, text(target, "slow"))
	}
	sink.AwaitBodies(target, 6)
	if got := b.Status(); !got.Up || got.Reconnects != 0 {
		t.Errorf("status is %+v, want up without a reconnect", got)
	}
}

func TestTenThousandSubscriptionsComeBackInFewCommands(t *testing.T) {
	const rooms = 10_000
	server := redistest.Start(t)
	b, sink := start(t, Options{URL: server.URL()})
	for i := range rooms {
		b.Subscribe(room(fmt.Sprint("room ", i)))
	}
	sink.Await(rooms, "confirmations", isSubscribed)
	before := b.Counters().SubscribeCommands
	server.Kill()
	awaitDown(t, b)
	server.Restart()
	restarted := time.Now()
	sink.Await(2*rooms, "confirmations after the restart", isSubscribed)
	t.Logf("%d subscriptions were back %v after Redis was", rooms, time.Since(restarted))
	// Two connections, about 5,000 channels each, 1,000 a command; a first attempt may break off.
	if commands := b.Counters().SubscribeCommands - before; commands > 40 {
		t.Errorf("%d subscribe commands for %d channels, want at most 40", commands, rooms)
	}
	for i := range rooms {
		if i%100 == 0 {
			backplanetest.MustPublish(t, b, text(room(fmt.Sprint("room ", i)), "here"))
		}
	}
	sink.Await(rooms/100, "messages", func(e backplanetest.Event) bool { return e.Name == "deliver" })
}

func TestSubscribingDuringAnOutageAndAFlappingLinkEndsRight(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	b, sink := start(t, Options{URL: "redis://" + proxy.Addr})
	const rooms = 200
	// Every third room is wanted in the end; the link is cut again and again while minds change.
	for round := range 10 {
		for i := range rooms {
			b.Subscribe(room(fmt.Sprint(i)))
			if i%3 != 0 {
				b.Unsubscribe(room(fmt.Sprint(i)))
			}
		}
		for i := range rooms {
			if i%3 == 0 && round < 9 {
				b.Unsubscribe(room(fmt.Sprint(i)))
			}
		}
		proxy.Cut()
		time.Sleep(time.Duration(round) * 7 * time.Millisecond)
	}
	awaitUp(t, b)
	backplanetest.AwaitStatus(t, b, "67 subscriptions", func(s backplane.Status) bool { return s.Subscriptions == 67 })
	for i := range rooms {
		for {
			// A cut may still be noticed late; retry until one publication is confirmed after the last.
			if o := backplanetest.Publish(t, b, text(room(fmt.Sprint(i)), "end")); o.Err == nil {
				break
			}
		}
	}
	for i := range rooms {
		if i%3 == 0 {
			sink.AwaitBodies(room(fmt.Sprint(i)), 1)
		} else if got := sink.Bodies(room(fmt.Sprint(i))); got != nil {
			t.Errorf("room %d is not wanted and got %q", i, got)
		}
	}
}

func TestCutLinksNeitherDoubleNorReorderMessages(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	// Whoever listens has a link that holds, so that what is missing there was not published.
	_, sink := func() (*Backplane, *backplanetest.Sink) {
		b, sink := start(t, Options{URL: server.URL()})
		b.Subscribe(room("cut"))
		sink.AwaitSubscribed(room("cut"), 1)
		return b, sink
	}()
	b, _ := start(t, Options{URL: "redis://" + proxy.Addr})
	var outcomes []<-chan backplanetest.Outcome
	for i := range 3000 {
		outcomes = append(outcomes, backplanetest.PublishAsync(t, b, text(room("cut"), fmt.Sprint(i))))
		if i%300 == 150 {
			proxy.Cut()
		}
		if i%20 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	confirmed := make(map[string]bool)
	for i, outcome := range outcomes {
		if o := <-outcome; o.Err == nil {
			confirmed[fmt.Sprint(i)] = true
		}
	}
	if len(confirmed) < 1000 {
		t.Fatalf("%d of 3000 publications were confirmed in spite of waiting for new links", len(confirmed))
	}
	sink.Await(len(confirmed), "messages that were confirmed", func(e backplanetest.Event) bool { return confirmed[e.Body] })
	last := -1
	for _, body := range sink.Bodies(room("cut")) {
		n, err := strconv.Atoi(body)
		if err != nil || n <= last {
			t.Fatalf("message %q came after %d", body, last)
		}
		last = n
	}
	t.Logf("%d confirmed, %d delivered of 3000", len(confirmed), len(sink.Bodies(room("cut"))))
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	before := runtime.NumGoroutine()
	for _, during := range []string{"up", "cut", "blackhole", "refused"} {
		b := open(t, Options{URL: "redis://" + proxy.Addr})
		sink := backplanetest.NewSink(t)
		b.Start(sink)
		b.Subscribe(room("a"))
		awaitUp(t, b)
		sink.AwaitSubscribed(room("a"), 1)
		switch during {
		case "cut":
			proxy.Cut()
		case "blackhole":
			proxy.Blackhole()
			backplanetest.PublishAsync(t, b, text(room("a"), "into the void"))
		case "refused":
			proxy.Refuse()
			awaitDown(t, b)
		}
		start := time.Now()
		closeNow(b)
		if took := time.Since(start); took > PublishTimeout+500*time.Millisecond {
			t.Errorf("%s: close took %v", during, took)
		}
		proxy.Restore()
		proxy.Cut()
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAPublicationThatHasWaitedElsewhereEndsAtItsOwnDeadline(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	server.Kill()
	awaitDown(t, b)
	first := backplanetest.PublishAsync(t, b, text(room("a"), "new"))
	waited := text(room("a"), "has waited")
	waited.Deadline = time.Now().Add(500 * time.Millisecond)
	second := backplanetest.PublishAsync(t, b, waited)
	patient := text(room("a"), "asks for more than there is")
	patient.Deadline = time.Now().Add(time.Hour)
	third := backplanetest.PublishAsync(t, b, patient)
	wantUnavailable(t, <-second, 400*time.Millisecond, 1900*time.Millisecond)
	wantUnavailable(t, <-first, 1900*time.Millisecond, 3*time.Second)
	wantUnavailable(t, <-third, 1900*time.Millisecond, 3*time.Second)
}

func TestATargetIsLiveWhileItsSubscriptionIsConfirmed(t *testing.T) {
	server := redistest.Start(t)
	b, sink := start(t, Options{URL: server.URL()})
	if b.IsLive(room("a")) {
		t.Error("a room that nobody has subscribed to is live")
	}
	b.Subscribe(room("a"))
	sink.AwaitSubscribed(room("a"), 1)
	if !b.IsLive(room("a")) || b.IsLive(room("b")) {
		t.Errorf("after the confirmation the room is live: %v, another one: %v", b.IsLive(room("a")), b.IsLive(room("b")))
	}
	server.Kill()
	await(t, "the room not to be live", func() bool { return !b.IsLive(room("a")) })
	server.Restart()
	sink.AwaitSubscribed(room("a"), 2)
	if !b.IsLive(room("a")) {
		t.Error("when the link is back the room is not live")
	}
	b.Unsubscribe(room("a"))
	if b.IsLive(room("a")) {
		t.Error("a room that is not wanted any more is live")
	}
}
