package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestOverTheBoundOfTheQueuePublicationsEndAtOnce(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL(), QueueBytes: 100_000})
	server.Pause()
	var waiting []<-chan backplanetest.Outcome
	for range 8 {
		waiting = append(waiting, backplanetest.PublishAsync(t, b, text(room("a"), strings.Repeat("x", 10_000))))
	}
	wantUnavailable(t, backplanetest.Publish(t, b, text(room("a"), strings.Repeat("x", 20_000))), 0, 100*time.Millisecond)
	if c := b.Counters(); c.Failed[FailureQueueFull] != 1 || c.QueuedMessages != 8 || c.QueuedBytes < 80_000 {
		t.Errorf("counters are %+v, want 1 queue_full, 8 messages and their bytes queued", c)
	}
	server.Resume()
	for _, w := range waiting {
		if o := <-w; o.Err != nil {
			t.Errorf("a publication under the bound ended with %v", o.Err)
		}
	}
	if c := b.Counters(); c.QueuedMessages != 0 || c.QueuedBytes != 0 {
		t.Errorf("%d messages and %d bytes are counted as queued, want none", c.QueuedMessages, c.QueuedBytes)
	}
	backplanetest.MustPublish(t, b, text(room("a"), strings.Repeat("x", 90_000)))
}

func TestWhatComesWhileAPipelineIsOnItsWayMakesUpTheNext(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	server.Pause() // holds the first pipeline
	var waiting []<-chan backplanetest.Outcome
	for i := range 1000 {
		waiting = append(waiting, backplanetest.PublishAsync(t, b, text(room(fmt.Sprint(i%7)), "x")))
	}
	before := b.Counters().Pipelines
	server.Resume()
	for _, w := range waiting {
		if o := <-w; o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	if got := b.Counters().Pipelines - before; got > 5 {
		t.Errorf("1,000 publications took %d further pipelines, want at most 5 of 256", got)
	}
}

func TestCloseThatMayNotWaitEndsWhatIsLeft(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	server.Pause()
	var waiting []<-chan backplanetest.Outcome
	for range 1000 {
		waiting = append(waiting, backplanetest.PublishAsync(t, b, text(room("a"), "x")))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close says %v, want that its time was over", err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("close took %v, want little more than it was given", took)
	}
	for _, w := range waiting {
		select {
		case o := <-w:
			wantUnavailable(t, o, 0, time.Second)
		default:
			t.Fatal("a publication has no outcome though close has returned")
		}
	}
}

func TestCloseWaitsForRedisUntilTheDeadlineOfWhatIsQueued(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	server.Kill()
	awaitDown(t, b)
	outcome := backplanetest.PublishAsync(t, b, text(room("a"), "x"))
	closed := make(chan error)
	go func() { closed <- b.Close(t.Context()) }()
	server.Restart()
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if o := <-outcome; o.Err != nil {
		t.Errorf("the publication ended with %v though Redis came back before its deadline", o.Err)
	}
}

// The handshake and everything after it is known to the last command: nothing that go-redis adds by itself may appear.
func TestOnlyExpectedCommandsReachRedis(t *testing.T) {
	server := redistest.Start(t)
	stop := server.Monitor()
	b, sink := start(t, Options{URL: server.URL(), Cluster: "c", Timing: Timing{Ping: time.Hour}})
	for i := range 100 {
		b.Subscribe(room(fmt.Sprint(i)))
	}
	sink.Await(100, "confirmations", isSubscribed)
	backplanetest.MustPublish(t, b, text(room("1"), "x"))
	sink.AwaitBodies(room("1"), 1)
	b.Unsubscribe(room("1"))
	closeNow(b)
	counts := map[string]int{}
	for _, line := range stop() {
		_, command, _ := strings.Cut(line, `] "`)
		command, _, _ = strings.Cut(command, `"`)
		counts[strings.ToLower(command)]++
	}
	subscribes := counts["subscribe"]
	delete(counts, "subscribe")
	delete(counts, "unsubscribe") // close may come before it is sent
	// HELLO carries no password here and is followed by PING: once for publishing, once for reading, twice for each subscriber.
	if want := map[string]int{"hello": 4, "ping": 6, "publish": 1}; fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("Redis got %v besides subscriptions, want %v", counts, want)
	}
	if subscribes > 60 {
		t.Errorf("%d subscribe commands for 100 channels that were asked for at once", subscribes)
	}
}

func TestEnvelopesOfALaterVersionAreSkippedAndCounted(t *testing.T) {
	server := redistest.Start(t)
	b, sink := start(t, Options{URL: server.URL(), Cluster: "c"})
	b.Subscribe(room("a"))
	sink.AwaitSubscribed(room("a"), 1)
	client := b.dialer.open()
	defer client.close()
	for _, payload := range []string{"\x03\x00{}", "\x01\x80{}", "\x01\x01\xff", ""} {
		if err := client.client.Publish(t.Context(), "c:{r:a}:ch", payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	backplanetest.MustPublish(t, b, text(room("a"), "ours"))
	if got := sink.AwaitBodies(room("a"), 1); !slices.Equal(got, []string{"ours"}) {
		t.Errorf("delivered %q, want only ours", got)
	}
	if c := b.Counters(); c.SkippedUnknown != 2 || c.SkippedBroken != 2 || c.Received != 5 {
		t.Errorf("counters are %+v, want 2 unknown and 2 broken of 5", c)
	}
}

func TestTheQueueKeepsItsOrder(t *testing.T) {
	q := newQueue()
	var all []*publication
	now := time.Now()
	for i := range 10 {
		p := &publication{buf: make([]byte, 10), deadline: now.Add(time.Duration(i) * time.Second)}
		all = append(all, p)
		q.push(p)
	}
	first := q.take(nil, 3, 1000)
	if !slices.Equal(first, all[:3]) {
		t.Fatal("take does not give the first three")
	}
	q.putBack(first)
	if got := q.take(nil, 100, 45); !slices.Equal(got, all[:4]) {
		t.Fatalf("take gives %d of 45 bytes, want the first four", len(got))
	}
	q.putBack(all[:4])
	if got := q.takeDue(nil, now.Add(5*time.Second)); !slices.Equal(got, all[:6]) {
		t.Fatalf("%d are due after 5 s, want 6", len(got))
	}
	if got := q.take(nil, 100, 5); !slices.Equal(got, all[6:7]) {
		t.Fatalf("take gives %d when one is larger than the bound, want that one", len(got))
	}
	if got := q.take(nil, 100, 1000); !slices.Equal(got, all[7:]) {
		t.Fatal("take does not give the rest")
	}
	q.putBack(all[7:])
	last := &publication{}
	q.push(last)
	if got := q.take(nil, 100, 1000); !slices.Equal(got, append(all[7:], last)) {
		t.Fatal("what is pushed after putBack does not come last")
	}
	q.close()
	if q.push(last) || !q.drained() {
		t.Error("a closed queue takes more, or is not drained")
	}
}

func TestFailuresHaveStableNames(t *testing.T) {
	var names []string
	for _, f := range Failures() {
		names = append(names, f.String())
	}
	if want := []string{"no_link", "no_reply", "refused", "queue_full", "closed"}; !slices.Equal(names, want) {
		t.Errorf("failures are %v, want %v", names, want)
	}
}

func TestThePauseBetweenAttemptsGrowsWithTheOutage(t *testing.T) {
	timing := Timing{}.withDefaults()
	begun := time.Now()
	for _, c := range []struct{ outage, least, most time.Duration }{
		{0, 10 * time.Millisecond, 20 * time.Millisecond},
		{2 * time.Second, 50 * time.Millisecond, 100 * time.Millisecond},
		{time.Hour, 500 * time.Millisecond, time.Second},
	} {
		for range 1000 {
			if d := timing.backoff(begun, begun.Add(c.outage)); d < c.least || d > c.most {
				t.Fatalf("after %v the pause is %v, want %v to %v", c.outage, d, c.least, c.most)
			}
		}
	}
}
