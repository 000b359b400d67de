package memory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
)

// started returns a backplane that is closed at the end of the test. Within a bubble of synctest that end is also a check that
// the sweeper ends.
func started(t testing.TB) *memory.Backplane {
	b := memory.New()
	b.Start(silent{})
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func read(t testing.TB, b *memory.Backplane, target backplane.Target) backplane.Page {
	t.Helper()
	page, err := b.ReadLog(t.Context(), target, backplane.Cursor{Limit: 1000})
	if err != nil {
		t.Fatalf("read the log: %v", err)
	}
	return page
}

func TestALogExpiresItsTTLAfterTheLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := started(t)
		target := backplane.Target{Kind: backplane.Room, ID: "lobby"}
		keep := &backplane.Keep{Size: 10, TTL: time.Minute}
		publish := func(body string) backplane.Receipt {
			return backplanetest.Publish(t, b, &backplane.Message{Target: target, Body: []byte(body), Keep: keep}).Receipt
		}
		first := publish("one")
		time.Sleep(59 * time.Second)
		if second := publish("two"); second.Epoch != first.Epoch || second.Offset != 2 {
			t.Fatalf("a message within the TTL got %+v after %+v, want offset 2 of the same epoch", second, first)
		}
		time.Sleep(59 * time.Second)
		if page := read(t, b, target); len(page.Messages) != 2 || page.Epoch != first.Epoch {
			t.Errorf("within the TTL of the last message the log is %+v, want both messages", page)
		}
		time.Sleep(time.Second)
		page := read(t, b, target)
		if page.Epoch == first.Epoch || page.Newest != 0 || page.Oldest != 1 || len(page.Messages) != 0 {
			t.Errorf("after the TTL the log is %+v, want an empty one in a new epoch", page)
		}
		if next := publish("three"); next.Epoch != page.Epoch || next.Offset != 1 {
			t.Errorf("the next life begins with %+v, want offset 1 of the epoch %q that was read", next, page.Epoch)
		}
	})
}

func TestAnUnusedLogKeepsItsEpochWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := started(t)
		target := backplane.Target{Kind: backplane.Room, ID: "quiet"}
		epoch := read(t, b, target).Epoch
		for range 10 {
			time.Sleep(59 * time.Minute)
			if page := read(t, b, target); page.Epoch != epoch {
				t.Fatalf("the epoch of a log that is read became %q, was %q", page.Epoch, epoch)
			}
		}
	})
}

func TestAnIdempotencyKeyIsRememberedForItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := started(t)
		m := &backplane.Message{
			Target: backplane.Target{Kind: backplane.Room, ID: "lobby"}, Body: []byte("b"), Data: []byte("d"), ID: []byte("m-1"),
			IdempotencyKey: "k", Publisher: "alice", Keep: &backplane.Keep{Size: 10, TTL: time.Hour},
		}
		first := backplanetest.Publish(t, b, m).Receipt
		m.ID = []byte("m-2")
		time.Sleep(backplane.IdempotencyWindow - time.Nanosecond)
		want := backplane.Receipt{Epoch: first.Epoch, Offset: 1, MessageID: "m-1"}
		if got := backplanetest.Publish(t, b, m).Receipt; got != want {
			t.Errorf("within the window the repeat got %+v, want %+v", got, want)
		}
		time.Sleep(time.Nanosecond)
		want = backplane.Receipt{Epoch: first.Epoch, Offset: 2}
		if got := backplanetest.Publish(t, b, m).Receipt; got != want {
			t.Errorf("after the window it got %+v, want to be new: %+v", got, want)
		}
	})
}

func TestExpiryFreesMemoryWithoutARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := started(t)
		before := heap()
		body := make([]byte, 1<<10)
		for i := range 20_000 {
			backplanetest.MustPublish(t, b, &backplane.Message{
				Target: backplane.Target{Kind: backplane.Room, ID: fmt.Sprint(i % 5000)}, Body: body,
				IdempotencyKey: fmt.Sprint(i), Keep: &backplane.Keep{Size: 10, TTL: time.Minute},
			})
			if i%1000 == 0 { // a log that is only read expires too
				read(t, b, backplane.Target{Kind: backplane.User, ID: fmt.Sprint(i)})
			}
		}
		if held := heap() - before; held < 20<<20 {
			t.Fatalf("20,000 messages of 1 KiB are held in %d bytes: the test measures nothing", held)
		}
		time.Sleep(time.Hour + 10*time.Second)
		synctest.Wait()
		if held := heap() - before; held > 1<<20 {
			t.Errorf("%d bytes are held after everything has expired, want less than 1 MiB", held)
		}
	})
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestReplicasThatAreAskedForAreMissed(t *testing.T) {
	b := started(t)
	m := &backplane.Message{
		Target: backplane.Target{Kind: backplane.Room, ID: "lobby"}, Body: []byte("b"), IdempotencyKey: "k",
		Keep: &backplane.Keep{Size: 10, TTL: time.Hour, MinReplicas: 1},
	}
	for _, attempt := range []string{"the first publication", "its repeat"} {
		o := backplanetest.Publish(t, b, m)
		if !errors.Is(o.Err, backplane.ErrUnconfirmed) || o.Receipt.Offset != 1 || o.Receipt.Epoch == "" {
			t.Errorf("%s ended with %+v, want ErrUnconfirmed and offset 1", attempt, o)
		}
	}
	if page := read(t, b, m.Target); len(page.Messages) != 1 {
		t.Errorf("the log is %+v, want the one message", page)
	}
}

func BenchmarkPublishKept(b *testing.B) {
	m := started(b)
	target := backplane.Target{Kind: backplane.Room, ID: "lobby"}
	m.Subscribe(target)
	message := &backplane.Message{Target: target, Body: make([]byte, 128), Keep: &backplane.Keep{Size: 1000, TTL: time.Hour}}
	b.ReportAllocs()
	for b.Loop() {
		m.Publish(message, silent{})
	}
}
