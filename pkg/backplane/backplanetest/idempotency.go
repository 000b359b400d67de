package backplanetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// keyed is a kept message with an idempotency key; its data is its body.
func keyed(target backplane.Target, publisher, key, id, data string) *backplane.Message {
	m := kept(target, data)
	m.Publisher, m.IdempotencyKey, m.ID, m.Data = publisher, key, []byte(id), []byte(data)
	return m
}

func repeated(t *testing.T, s *store) {
	target := s.room("orders")
	subscribe(s, s.sink, target)
	first := s.publish(t, keyed(target, "alice", "k", "m-1", "buy"))
	if first.MessageID != "" || first.Offset != 1 {
		t.Errorf("the first got %+v, want offset 1 and no message id", first)
	}
	s.publish(t, kept(target, "other"))
	want := backplane.Receipt{Epoch: first.Epoch, Offset: 1, MessageID: "m-1"}
	for i := range 3 {
		// A repeat is another message around the same data: its id and time are its own.
		repeat := keyed(target, "alice", "k", fmt.Sprint("r-", i), "buy")
		repeat.Body = []byte("buy, once more")
		if got := s.publish(t, repeat); got != want {
			t.Errorf("repeat %d got %+v, want %+v", i, got, want)
		}
	}
	s.publish(t, kept(target, "last"))
	published := []string{"buy", "other", "last"}
	if got := s.sink.AwaitBodies(target, 3); !slices.Equal(got, published) {
		t.Errorf("delivered %q, want %q", got, published)
	}
	if got := bodies(s.all(t, target)); !slices.Equal(got, published) {
		t.Errorf("the log is %q, want %q", got, published)
	}
}

func repeatedAtOnce(t *testing.T, s *store) {
	const keys, repeats = 20, 16
	target := s.room("thunder")
	subscribe(s, s.sink, target)
	outcomes := make([][repeats]Outcome, keys)
	var wg sync.WaitGroup
	for r := range repeats {
		wg.Go(func() {
			for k := range keys {
				o := <-PublishAsync(t, s, keyed(target, "alice", fmt.Sprint(k), fmt.Sprintf("%d %d", k, r), fmt.Sprint("data ", k)))
				outcomes[k][r] = o
			}
		})
	}
	wg.Wait()
	for k := range outcomes {
		first := -1
		for r, o := range outcomes[k] {
			if o.Err != nil {
				t.Fatalf("repeat %d of key %d: %v", r, k, o.Err)
			}
			if o.Receipt.MessageID == "" {
				if first >= 0 {
					t.Fatalf("key %d was published by two", k)
				}
				first = r
			}
		}
		if first < 0 {
			t.Fatalf("nobody was the first with key %d", k)
		}
		want := outcomes[k][first].Receipt
		want.MessageID = fmt.Sprintf("%d %d", k, first)
		for r, o := range outcomes[k] {
			if r != first && o.Receipt != want {
				t.Errorf("repeat %d of key %d got %+v, want %+v", r, k, o.Receipt, want)
			}
		}
	}
	s.publish(t, kept(target, "end"))
	if page := s.all(t, target); page.Newest != keys+1 {
		t.Errorf("the log goes up to %d, want %d", page.Newest, keys+1)
	}
	if got := len(s.sink.AwaitBodies(target, keys+1)); got != keys+1 {
		t.Errorf("%d messages were delivered, want %d", got, keys+1)
	}
}

func repeatedUnkept(t *testing.T, s *store) {
	target := s.room("no log")
	subscribe(s, s.sink, target)
	publish := func(id, data string) Outcome {
		m := keyed(target, "alice", "k", id, data)
		m.Keep = nil
		return Publish(t, s, m)
	}
	if o := publish("m-1", "x"); o.Err != nil || o.Receipt != (backplane.Receipt{}) {
		t.Errorf("the first ended with %+v, want an empty receipt", o)
	}
	if o, want := publish("m-2", "x"), (backplane.Receipt{MessageID: "m-1"}); o.Err != nil || o.Receipt != want {
		t.Errorf("the repeat ended with %+v, want %+v", o, want)
	}
	if o := publish("m-3", "y"); !errors.Is(o.Err, backplane.ErrConflict) {
		t.Errorf("other data ended with %+v, want ErrConflict", o)
	}
	s.publish(t, message(target, "end"))
	if got, want := s.sink.AwaitBodies(target, 2), []string{"x", "end"}; !slices.Equal(got, want) {
		t.Errorf("delivered %q, want %q", got, want)
	}
}

func conflict(t *testing.T, s *store) {
	target := s.room("conflict")
	subscribe(s, s.sink, target)
	first := s.publish(t, keyed(target, "alice", "k", "m-1", "one"))
	for _, other := range []string{"two", "", "one ", "ONE"} {
		if o := Publish(t, s, keyed(target, "alice", "k", "m-2", other)); !errors.Is(o.Err, backplane.ErrConflict) || o.Receipt != (backplane.Receipt{}) {
			t.Errorf("the key with data %q ended with %+v, want ErrConflict and no receipt", other, o)
		}
	}
	want := backplane.Receipt{Epoch: first.Epoch, Offset: 1, MessageID: "m-1"}
	if got := s.publish(t, keyed(target, "alice", "k", "m-3", "one")); got != want {
		t.Errorf("after conflicts the true repeat got %+v, want %+v", got, want)
	}
	if got := s.publish(t, keyed(target, "alice", "k2", "m-4", "two")); got.Offset != 2 {
		t.Errorf("the next message got %+v, want offset 2", got)
	}
	published := []string{"one", "two"}
	if got := s.sink.AwaitBodies(target, 2); !slices.Equal(got, published) {
		t.Errorf("delivered %q, want %q", got, published)
	}
	if got := bodies(s.all(t, target)); !slices.Equal(got, published) {
		t.Errorf("the log is %q, want %q", got, published)
	}
}

// keyOfPublisher has names and keys that run into each other when they are joined without care.
func keyOfPublisher(t *testing.T, s *store) {
	target := s.room("publishers")
	for i, c := range []struct{ publisher, key string }{
		{"alice", "k"}, {"bob", "k"}, {"", "k"}, {"a", "lice k"}, {"alice ", "k"}, {"a:b", "c"}, {"a", "b:c"}, {"", "a:b:c"}, {"a\x00", "b"}, {"a", "\x00b"},
	} {
		if got := s.publish(t, keyed(target, c.publisher, c.key, fmt.Sprint("m-", i), fmt.Sprint(i))); got.MessageID != "" || got.Offset != int64(i+1) {
			t.Errorf("the key %q of %q got %+v, want to be new, with offset %d", c.key, c.publisher, got, i+1)
		}
	}
}

func keyOfTarget(t *testing.T, s *store) {
	first := s.room("one")
	for _, target := range []backplane.Target{first, s.room("two"), user(first.ID)} {
		if got := s.publish(t, keyed(target, "alice", "k", "m", "x")); got.MessageID != "" || got.Offset != 1 {
			t.Errorf("the key in %v got %+v, want to be new", target, got)
		}
	}
}
