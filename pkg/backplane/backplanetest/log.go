package backplanetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// RunLog tests that the backplanes made by open keep what package backplane promises of a Log; Run tests the rest. open returns
// one that is not started, and that is a Log; RunLog starts and closes it. No test uses a target that another has used.
func RunLog(t *testing.T, open func(t *testing.T) backplane.Backplane) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *store)
	}{
		{"offsets count without holes, in one order for receipts, delivery and log", offsetsOfManyPublishers},
		{"a reader beside busy publishers never sees a hole", readBesidePublishers},
		{"a publisher's own idea of a place in the log is ignored", placeIsGiven},
		{"a message that nobody subscribes to is kept", keptUnheard},
		{"rooms and users of one name have logs of their own", logsAreApart},
		{"messages without keep get no offset and use none up", unkept},
		{"exclude and body are kept byte for byte", keptWhole},
		{"what is published may be reused once it is confirmed", borrowed},
		{"a page is the reader's to change", pageIsTheReaders},
		{"a log that was never written to has an epoch and begins with it", neverWritten},
		{"a log holds the newest messages up to its size", boundedBySize},
		{"a log holds the newest messages up to its bytes", boundedByBytes},
		{"a message over the log's bytes is kept while it is the newest", overAllBytes},
		{"a smaller bound counts from the next message on", boundShrinks},
		{"a log ends its TTL after the last message, and the next life has a new epoch", ttl},
		{"a later message makes the log live longer", ttlIsExtended},
		{"pages are read forward, backward, since an offset and up to a limit", pages},
		{"a cursor before the oldest message begins with the oldest", cursorBeforeOldest},
		{"reading fails when there is no time for it, and after close", readingFails},
		{"a repeat is answered with the first result and changes nothing", repeated},
		{"of many repeats at once exactly one is published", repeatedAtOnce},
		{"a key works without a log", repeatedUnkept},
		{"a key with other data is a conflict and changes nothing", conflict},
		{"a key belongs to its publisher", keyOfPublisher},
		{"a key belongs to its target", keyOfTarget},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			l, ok := b.(backplane.Log)
			if !ok {
				t.Fatalf("%T keeps no logs", b)
			}
			s := &store{Backplane: b, Log: l, sink: NewSink(t), run: rand.Text()[:8]}
			b.Start(s.sink)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = b.Close(ctx) // closed already by the test that is about it
			})
			c.test(t, s)
		})
	}
}

// store is the backplane under test with its sink.
type store struct {
	backplane.Backplane
	backplane.Log
	sink *Sink
	run  string // makes the targets of this test its own
}

func (s *store) room(id string) backplane.Target { return room(id + " " + s.run) }

// keep is a log that no test fills or outlives.
func keep() *backplane.Keep { return &backplane.Keep{Size: 10_000, TTL: time.Hour} }

func kept(target backplane.Target, body string) *backplane.Message {
	return &backplane.Message{Target: target, Body: []byte(body), Keep: keep()}
}

// publish publishes m and fails the test when the store did not take it.
func (s *store) publish(t *testing.T, m *backplane.Message) backplane.Receipt {
	t.Helper()
	o := Publish(t, s, m)
	if o.Err != nil {
		t.Fatalf("publish to %v: %v", m.Target, o.Err)
	}
	return o.Receipt
}

func (s *store) read(t *testing.T, target backplane.Target, from backplane.Cursor) backplane.Page {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	page, err := s.ReadLog(ctx, target, from)
	if err != nil {
		t.Fatalf("read the log of %v: %v", target, err)
	}
	return page
}

// all reads everything in the log and checks that it is one run of offsets up to the newest.
func (s *store) all(t *testing.T, target backplane.Target) backplane.Page {
	t.Helper()
	page := s.read(t, target, backplane.Cursor{Limit: 100_000})
	if page.Epoch == "" {
		t.Error("the log has no epoch")
	}
	if got := page.Newest - page.Oldest + 1; got != int64(len(page.Messages)) {
		t.Errorf("a log from %d to %d gave %d messages, want %d", page.Oldest, page.Newest, len(page.Messages), got)
	}
	for i := range page.Messages {
		if got, want := page.Messages[i].Offset, page.Oldest+int64(i); got != want {
			t.Fatalf("message %d of the log has offset %d, want %d", i, got, want)
		}
	}
	return page
}

func bodies(page backplane.Page) (list []string) {
	for i := range page.Messages {
		list = append(list, string(page.Messages[i].Body))
	}
	return list
}

func offsets(page backplane.Page) (list []int64) {
	for i := range page.Messages {
		list = append(list, page.Messages[i].Offset)
	}
	return list
}

// fill publishes n messages, whose bodies are their offsets if the log was empty, and returns their epoch.
func (s *store) fill(t *testing.T, target backplane.Target, k *backplane.Keep, n int) (epoch string) {
	t.Helper()
	for i := range n {
		epoch = s.publish(t, &backplane.Message{Target: target, Body: fmt.Append(nil, i+1), Keep: k}).Epoch
	}
	return epoch
}

func offsetsOfManyPublishers(t *testing.T, s *store) {
	const publishers, messages = 8, 300
	target := s.room("crowd")
	subscribe(s, s.sink, target)
	byOffset := make([]string, publishers*messages+1)
	epochs := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			var outcomes []<-chan Outcome
			for i := range messages {
				outcomes = append(outcomes, PublishAsync(t, s, kept(target, fmt.Sprintf("%d %d", p, i))))
			}
			last := int64(0)
			for i, outcome := range outcomes {
				o := <-outcome
				offset := o.Receipt.Offset
				if o.Err != nil || offset < 1 || offset > publishers*messages || offset <= last {
					t.Errorf("message %d of publisher %d ended with %+v after offset %d", i, p, o, last)
					return
				}
				last = offset
				mu.Lock()
				if byOffset[offset] != "" {
					t.Errorf("offset %d was given to two messages", offset)
				}
				byOffset[offset] = fmt.Sprintf("%d %d", p, i)
				epochs[o.Receipt.Epoch] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	s.sink.AwaitBodies(target, publishers*messages)
	page := s.all(t, target)
	if len(epochs) != 1 || !epochs[page.Epoch] {
		t.Errorf("receipts name the epochs %v, want only the log's, %q", epochs, page.Epoch)
	}
	if diff := cmp.Diff(byOffset[1:], bodies(page)); diff != "" {
		t.Errorf("the log's order is not that of the receipts (-receipts +log):\n%s", diff)
	}
	for i, e := range s.sink.Delivered(target) {
		if e.Offset != int64(i+1) || e.Epoch != page.Epoch || e.Body != byOffset[i+1] {
			t.Fatalf("delivery %d is %+v, want offset %d with body %q", i, e, i+1, byOffset[i+1])
		}
	}
}

func readBesidePublishers(t *testing.T, s *store) {
	target := s.room("busy")
	small := &backplane.Keep{Size: 20, TTL: time.Hour}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := range 200 {
				if o := Publish(t, s, &backplane.Message{Target: target, Body: fmt.Append(nil, i), Keep: small}); o.Err != nil {
					t.Errorf("publish: %v", o.Err)
				}
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	newest := int64(0)
	for reading := true; reading; {
		select {
		case <-done:
			reading = false // once more, at the end
		default:
		}
		page := s.all(t, target)
		if page.Newest < newest {
			t.Fatalf("the newest offset went from %d back to %d", newest, page.Newest)
		}
		newest = page.Newest
	}
	if newest != 600 {
		t.Errorf("at the end the newest offset is %d, want 600", newest)
	}
}

func placeIsGiven(t *testing.T, s *store) {
	target := s.room("claims")
	subscribe(s, s.sink, target)
	m := kept(target, "x")
	m.Epoch, m.Offset = "mine", 7
	receipt := s.publish(t, m)
	if receipt.Epoch == "mine" || receipt.Epoch == "" || receipt.Offset != 1 {
		t.Errorf("the receipt is %+v, want offset 1 in an epoch of the store", receipt)
	}
	s.sink.AwaitBodies(target, 1)
	want := []Event{{Name: "deliver", Target: target, Body: "x", Epoch: receipt.Epoch, Offset: 1}}
	if diff := cmp.Diff(want, s.sink.Delivered(target)); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
}

func keptUnheard(t *testing.T, s *store) {
	target := s.room("empty")
	receipt := s.publish(t, kept(target, "for later"))
	page := s.all(t, target)
	if diff := cmp.Diff([]string{"for later"}, bodies(page)); diff != "" || receipt.Offset != 1 || receipt.Epoch != page.Epoch {
		t.Errorf("the log is %+v after %+v (-want +got):\n%s", page, receipt, diff)
	}
}

func logsAreApart(t *testing.T, s *store) {
	inRoom := s.room("alice")
	inbox := user(inRoom.ID)
	s.fill(t, inRoom, keep(), 3)
	if receipt := s.publish(t, kept(inbox, "to alice")); receipt.Offset != 1 {
		t.Errorf("the inbox's first message got offset %d", receipt.Offset)
	}
	if a, b := s.all(t, inRoom), s.all(t, inbox); a.Newest != 3 || b.Newest != 1 || a.Epoch == b.Epoch {
		t.Errorf("the room's log ends at %d, the inbox at %d, with epochs %q and %q; want 3, 1 and two epochs", a.Newest, b.Newest, a.Epoch, b.Epoch)
	}
}

func unkept(t *testing.T, s *store) {
	target := s.room("mixed")
	subscribe(s, s.sink, target)
	if receipt := s.publish(t, message(target, "plain")); receipt != (backplane.Receipt{}) {
		t.Errorf("a message without keep got the receipt %+v, want an empty one", receipt)
	}
	if page := s.all(t, target); page.Newest != 0 {
		t.Errorf("a message without keep is in the log: %+v", page)
	}
	first := s.publish(t, kept(target, "one"))
	s.publish(t, message(target, "plain"))
	second := s.publish(t, kept(target, "two"))
	s.sink.AwaitBodies(target, 4)
	var got []Event
	for _, e := range s.sink.Delivered(target) {
		got = append(got, Event{Body: e.Body, Epoch: e.Epoch, Offset: e.Offset})
	}
	want := []Event{{Body: "plain"}, {Body: "one", Epoch: first.Epoch, Offset: 1}, {Body: "plain"}, {Body: "two", Epoch: first.Epoch, Offset: 2}}
	if diff := cmp.Diff(want, got); diff != "" || second.Offset != 2 {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
}

func keptWhole(t *testing.T, s *store) {
	target := s.room("bytes")
	subscribe(s, s.sink, target)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	wanted := []backplane.Logged{
		{Offset: 1, Body: every},
		{Offset: 2, Exclude: "c-1", Body: []byte(`{"type":"message","data":"` + strings.Repeat("ü\r\n", 50_000) + `"}`)},
		{Offset: 3, Exclude: "7:ü c", Body: []byte(":")},
		{Offset: 4, Body: []byte("c-1:x")},
	}
	for _, w := range wanted {
		s.publish(t, &backplane.Message{Target: target, Exclude: w.Exclude, Body: w.Body, Keep: keep()})
	}
	page := s.all(t, target)
	if diff := cmp.Diff(wanted, page.Messages); diff != "" {
		t.Errorf("the log differs (-want +got):\n%.2000s", diff)
	}
	s.sink.AwaitBodies(target, len(wanted))
	for i, e := range s.sink.Delivered(target) {
		want := Event{Name: "deliver", Target: target, Exclude: wanted[i].Exclude, Body: string(wanted[i].Body), Epoch: page.Epoch, Offset: int64(i + 1)}
		if e != want {
			t.Errorf("delivered %.300v, want %.300v", e, want)
		}
	}
}

func borrowed(t *testing.T, s *store) {
	target := s.room("buffer")
	buffer := make([]byte, 8)
	m := &backplane.Message{Target: target, Body: buffer, ID: buffer, Data: buffer, Keep: keep()}
	const messages = 200
	var want []string
	for i := range messages {
		want = append(want, fmt.Sprintf("%08d", i))
		copy(buffer, want[i])
		m.IdempotencyKey = want[i]
		s.publish(t, m)
		copy(buffer, "garbage!")
	}
	if diff := cmp.Diff(want, bodies(s.all(t, target))); diff != "" {
		t.Errorf("the log differs (-want +got):\n%s", diff)
	}
	copy(buffer, want[7])
	m.IdempotencyKey, m.ID = want[7], []byte("again")
	if receipt := s.publish(t, m); receipt.MessageID != want[7] || receipt.Offset != 8 {
		t.Errorf("the repeat of message 8 got %+v, want its id %q", receipt, want[7])
	}
}

func pageIsTheReaders(t *testing.T, s *store) {
	target := s.room("scribble")
	s.fill(t, target, keep(), 5)
	want := bodies(s.all(t, target))
	page := s.all(t, target)
	for i := range page.Messages {
		copy(page.Messages[i].Body, "XXXX")
		page.Messages[i] = backplane.Logged{}
	}
	if got := bodies(s.all(t, target)); !slices.Equal(got, want) {
		t.Errorf("after a reader changed its page the log is %q, want %q", got, want)
	}
}

func readingFails(t *testing.T, s *store) {
	target := s.room("closed")
	s.fill(t, target, keep(), 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.ReadLog(ended, target, backplane.Cursor{Limit: 1}); !errors.Is(err, backplane.ErrUnavailable) {
		t.Errorf("reading with an ended context: %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatalf("close: %v", err)
	}
	if _, err := s.ReadLog(ctx, target, backplane.Cursor{Limit: 1}); !errors.Is(err, backplane.ErrUnavailable) {
		t.Errorf("reading after close: %v, want ErrUnavailable", err)
	}
}
