package backplanetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// slack is how much over its bound a log may be: a store may trim in batches, of up to an eighth.
func slack(bound int) int { return bound + bound/8 }

func neverWritten(t *testing.T, s *store) {
	target := s.room("new")
	first := s.all(t, target)
	if first.Epoch == "" || first.Oldest != 1 || first.Newest != 0 || len(first.Messages) != 0 {
		t.Errorf("a new log reads as %+v, want an epoch, from 1 to 0, no messages", first)
	}
	if diff := cmp.Diff(first, s.all(t, target)); diff != "" {
		t.Errorf("it reads otherwise the second time (-first +second):\n%s", diff)
	}
	if receipt := s.publish(t, kept(target, "x")); receipt.Epoch != first.Epoch || receipt.Offset != 1 {
		t.Errorf("the first message got %+v, want offset 1 in the epoch %q", receipt, first.Epoch)
	}
}

func boundedBySize(t *testing.T, s *store) {
	target := s.room("small")
	const size = 16
	for published := 1; published <= 60; published++ {
		s.publish(t, &backplane.Message{Target: target, Body: []byte("x"), Keep: &backplane.Keep{Size: size, TTL: time.Hour}})
		page := s.all(t, target)
		if n := len(page.Messages); n < min(size, published) || n > slack(size) || page.Newest != int64(published) {
			t.Fatalf("after %d messages a log of %d holds %d, up to offset %d", published, size, n, page.Newest)
		}
	}
}

func boundedByBytes(t *testing.T, s *store) {
	target := s.room("light")
	const bound, body = 1000, 100
	k := &backplane.Keep{Size: 1000, TTL: time.Hour, MaxBytes: bound}
	for published := 1; published <= 40; published++ {
		s.publish(t, &backplane.Message{Target: target, Body: []byte(strings.Repeat("x", body)), Keep: k})
		page := s.all(t, target)
		if n := len(page.Messages); n < min(bound/body, published) || n*body > slack(bound) || page.Newest != int64(published) {
			t.Fatalf("after %d messages of %d bytes a log of %d bytes holds %d, up to offset %d", published, body, bound, n, page.Newest)
		}
	}
	s.publish(t, &backplane.Message{Target: target, Body: []byte(strings.Repeat("y", 950)), Keep: k})
	page := s.all(t, target)
	total := 0
	for i := range page.Messages {
		total += len(page.Messages[i].Body)
	}
	if n := len(page.Messages); n == 0 || total > slack(bound) || page.Newest != 41 {
		t.Errorf("after a message of 950 bytes a log of %d bytes holds %d messages of %d bytes, up to offset %d", bound, n, total, page.Newest)
	}
}

func overAllBytes(t *testing.T, s *store) {
	target := s.room("heavy")
	subscribe(s, s.sink, target)
	k := &backplane.Keep{Size: 10, TTL: time.Hour, MaxBytes: 100}
	s.fill(t, target, k, 3)
	heavy := strings.Repeat("x", 1000)
	if receipt := s.publish(t, &backplane.Message{Target: target, Body: []byte(heavy), Keep: k}); receipt.Offset != 4 {
		t.Errorf("it got offset %d, want 4", receipt.Offset)
	}
	// A subscriber that missed it must find it.
	if page := s.all(t, target); !slices.Equal(bodies(page), []string{heavy}) {
		t.Errorf("the log reaches from %d to %d, want only the last message", page.Oldest, page.Newest)
	}
	if receipt := s.publish(t, &backplane.Message{Target: target, Body: []byte("light"), Keep: k}); receipt.Offset != 5 {
		t.Errorf("the next one got offset %d, want 5", receipt.Offset)
	}
	if page := s.all(t, target); !slices.Equal(bodies(page), []string{"light"}) {
		t.Errorf("then the log is %+v, want only the last message", page)
	}
	if got, want := s.sink.AwaitBodies(target, 5), []string{"1", "2", "3", heavy, "light"}; !slices.Equal(got, want) {
		t.Errorf("delivered %.200q, want all five messages", got)
	}
}

func boundShrinks(t *testing.T, s *store) {
	target := s.room("shrinks")
	s.fill(t, target, keep(), 50)
	s.publish(t, &backplane.Message{Target: target, Body: []byte("x"), Keep: &backplane.Keep{Size: 8, TTL: time.Hour}})
	if page := s.all(t, target); len(page.Messages) < 8 || len(page.Messages) > slack(8) || page.Newest != 51 {
		t.Errorf("a log of 8 holds %d messages, up to offset %d", len(page.Messages), page.Newest)
	}
	s.publish(t, &backplane.Message{Target: target, Body: []byte("x"), Keep: &backplane.Keep{Size: 8, TTL: time.Hour, MaxBytes: 1}})
	if page := s.all(t, target); page.Newest != 52 || len(page.Messages) != 1 {
		t.Errorf("a log of one byte holds %d messages, up to offset %d", len(page.Messages), page.Newest)
	}
}

func ttl(t *testing.T, s *store) {
	target := s.room("short")
	const life = 300 * time.Millisecond
	begin := time.Now()
	epoch := s.fill(t, target, &backplane.Keep{Size: 10, TTL: life}, 3)
	var page backplane.Page
	for {
		page = s.all(t, target)
		if page.Epoch != epoch {
			break
		}
		if page.Newest != 3 || len(page.Messages) != 3 {
			t.Fatalf("before its end the log is %+v, want three messages", page)
		}
		if time.Since(begin) > patience {
			t.Fatalf("a log of %v still lives after %v", life, time.Since(begin))
		}
		time.Sleep(10 * time.Millisecond)
	}
	// A store's clock and ours may run a little apart.
	if after := time.Since(begin); after < life-20*time.Millisecond {
		t.Errorf("a log of %v ended after %v", life, after)
	}
	if page.Newest != 0 || page.Oldest != 1 || len(page.Messages) != 0 {
		t.Errorf("the next life begins as %+v, want it empty", page)
	}
	if receipt := s.publish(t, kept(target, "x")); receipt.Epoch != page.Epoch || receipt.Offset != 1 {
		t.Errorf("the next life's first message got %+v, want offset 1 in the epoch %q", receipt, page.Epoch)
	}
}

func ttlIsExtended(t *testing.T, s *store) {
	const life = 500 * time.Millisecond
	for attempt := range 10 {
		target := s.room(fmt.Sprint("extended ", attempt))
		epoch := s.fill(t, target, &backplane.Keep{Size: 10, TTL: life}, 1)
		begin := time.Now()
		if receipt := s.publish(t, kept(target, "x")); receipt.Epoch != epoch {
			continue // this machine was busy for longer than the log's life: once more
		}
		time.Sleep(life + 100*time.Millisecond)
		if page := s.all(t, target); page.Epoch != epoch || len(page.Messages) != 2 {
			t.Errorf("%v after its last message, with a TTL of an hour, the log is %+v, want two messages in the epoch %q", time.Since(begin), page, epoch)
		}
		return
	}
	t.Errorf("a log of %v never lived until a second publication", life)
}

func pages(t *testing.T, s *store) {
	target := s.room("book")
	epoch := s.fill(t, target, keep(), 10)
	for _, c := range []struct {
		name string
		from backplane.Cursor
		want []int64
	}{
		{"everything", backplane.Cursor{Limit: 100}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"the first three", backplane.Cursor{Limit: 3}, []int64{1, 2, 3}},
		{"three after the fourth", backplane.Cursor{Since: 4, Limit: 3}, []int64{5, 6, 7}},
		{"up to the end", backplane.Cursor{Since: 8, Limit: 100}, []int64{9, 10}},
		{"exactly up to the end", backplane.Cursor{Since: 8, Limit: 2}, []int64{9, 10}},
		{"after the newest", backplane.Cursor{Since: 10, Limit: 100}, nil},
		{"long after the newest", backplane.Cursor{Since: 1 << 52, Limit: 100}, nil},
		{"none, just the position", backplane.Cursor{}, nil},
		{"none after the fourth", backplane.Cursor{Since: 4}, nil},
		{"backward from the newest", backplane.Cursor{Reverse: true, Limit: 3}, []int64{10, 9, 8}},
		{"backward, everything", backplane.Cursor{Reverse: true, Limit: 100}, []int64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		{"backward before the fourth", backplane.Cursor{Reverse: true, Since: 4, Limit: 100}, []int64{3, 2, 1}},
		{"two backward before the fourth", backplane.Cursor{Reverse: true, Since: 4, Limit: 2}, []int64{3, 2}},
		{"backward before the newest", backplane.Cursor{Reverse: true, Since: 10, Limit: 1}, []int64{9}},
		{"backward from just behind the newest", backplane.Cursor{Reverse: true, Since: 11, Limit: 1}, []int64{10}},
		{"backward from long behind the newest", backplane.Cursor{Reverse: true, Since: 1 << 52, Limit: 2}, []int64{10, 9}},
		{"backward before the oldest", backplane.Cursor{Reverse: true, Since: 1, Limit: 100}, nil},
		{"backward, just the position", backplane.Cursor{Reverse: true}, nil},
	} {
		page := s.read(t, target, c.from)
		if diff := cmp.Diff(c.want, offsets(page)); diff != "" {
			t.Errorf("%s, %+v (-want +got):\n%s", c.name, c.from, diff)
		}
		for i := range page.Messages {
			if got, want := string(page.Messages[i].Body), fmt.Sprint(page.Messages[i].Offset); got != want {
				t.Errorf("%s: the message with offset %s is %q", c.name, want, got)
			}
		}
		page.Messages = nil
		if diff := cmp.Diff(backplane.Page{Epoch: epoch, Oldest: 1, Newest: 10}, page); diff != "" {
			t.Errorf("%s: the position (-want +got):\n%s", c.name, diff)
		}
	}
}

func cursorBeforeOldest(t *testing.T, s *store) {
	target := s.room("trimmed")
	s.fill(t, target, &backplane.Keep{Size: 8, TTL: time.Hour}, 30)
	oldest := s.all(t, target).Oldest
	if oldest < 20 {
		t.Fatalf("a log of 8 after 30 messages begins at %d", oldest)
	}
	for _, c := range []struct {
		from backplane.Cursor
		want []int64
	}{
		{backplane.Cursor{Limit: 2}, []int64{oldest, oldest + 1}},
		{backplane.Cursor{Since: 5, Limit: 2}, []int64{oldest, oldest + 1}},
		{backplane.Cursor{Since: oldest - 1, Limit: 1}, []int64{oldest}},
		{backplane.Cursor{Since: oldest, Limit: 1}, []int64{oldest + 1}},
		{backplane.Cursor{Since: oldest + 1, Limit: 100, Reverse: true}, []int64{oldest}},
		{backplane.Cursor{Since: oldest, Limit: 100, Reverse: true}, nil},
		{backplane.Cursor{Since: 5, Limit: 100, Reverse: true}, nil},
	} {
		page := s.read(t, target, c.from)
		if diff := cmp.Diff(c.want, offsets(page)); diff != "" {
			t.Errorf("%+v of a log from %d to 30 (-want +got):\n%s", c.from, oldest, diff)
		}
	}
}
