package redis

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// traffic publishes numbered messages into rooms, in each one after the other, and keeps how each ended.
type traffic struct {
	t *testing.T
	// durable says that what is acked must survive: replicas have confirmed it, or it is in a file.
	durable     bool
	minReplicas int
	stop        chan struct{}
	running     sync.WaitGroup

	mu    sync.Mutex
	rooms map[backplane.Target][]sent
}

// sent is one message and how it ended.
type sent struct {
	body    string
	receipt backplane.Receipt
	err     error
	at      time.Time
}

func startTraffic(t *testing.T, b *Backplane, minReplicas int, rooms ...backplane.Target) *traffic {
	x := &traffic{t: t, durable: minReplicas > 0, minReplicas: minReplicas, stop: make(chan struct{}), rooms: make(map[backplane.Target][]sent)}
	for _, target := range rooms {
		x.running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-x.stop:
					return
				case <-time.After(time.Millisecond):
				}
				m := &backplane.Message{
					Target: target, Body: []byte(fmt.Sprint(i)), Keep: &backplane.Keep{Size: 100_000, TTL: time.Hour, MinReplicas: minReplicas},
				}
				o := <-backplanetest.PublishAsync(t, b, m)
				x.mu.Lock()
				x.rooms[target] = append(x.rooms[target], sent{fmt.Sprint(i), o.Receipt, o.Err, time.Now()})
				x.mu.Unlock()
			}
		})
	}
	t.Cleanup(x.end)
	return x
}

// end stops publishing and waits until everything has ended; ending twice is fine.
func (x *traffic) end() {
	select {
	case <-x.stop:
	default:
		close(x.stop)
	}
	x.running.Wait()
}

// sentTo returns what was sent to a room so far.
func (x *traffic) sentTo(target backplane.Target) []sent {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.rooms[target])
}

// awaitAcked waits until n messages to a room that were sent after begin are acked.
func (x *traffic) awaitAcked(target backplane.Target, begin time.Time, n int) {
	x.t.Helper()
	await(x.t, fmt.Sprintf("%d messages to %s to be acked", n, target.ID), func() bool {
		acked := 0
		for _, s := range x.sentTo(target) {
			if s.err == nil && s.at.After(begin) {
				acked++
			}
		}
		return acked >= n
	})
}

// check compares what was acked with what the logs hold: everything that a replica, or a file, was said to have is there, in order
// and once, and no place of an epoch was given to two messages. It returns the epochs of each room in their order.
func (x *traffic) check(b *Backplane) map[backplane.Target][]string {
	x.t.Helper()
	all := make(map[backplane.Target][]string)
	for target := range x.rooms {
		all[target] = x.checkRoom(b, target)
	}
	return all
}

func (x *traffic) checkRoom(b *Backplane, target backplane.Target) (epochs []string) {
	t := x.t
	t.Helper()
	page, err := b.ReadLog(t.Context(), target, backplane.Cursor{Limit: 100_000})
	if err != nil {
		t.Fatalf("read the log of %s: %v", target.ID, err)
	}
	at := make(map[string]int)
	last := -1
	for i, m := range page.Messages {
		var number int
		if _, err := fmt.Sscan(string(m.Body), &number); err != nil || number <= last {
			t.Errorf("in the log of %s %q comes after %d", target.ID, m.Body, last)
		}
		if want := page.Oldest + int64(i); m.Offset != want {
			t.Errorf("in the log of %s is offset %d where %d belongs", target.ID, m.Offset, want)
		}
		last, at[string(m.Body)] = number, i
	}
	places := make(map[string]string)
	for _, s := range x.sentTo(target) {
		if s.err != nil && !errors.Is(s.err, backplane.ErrUnconfirmed) {
			continue
		}
		place := fmt.Sprint(s.receipt.Epoch, ":", s.receipt.Offset)
		if other, taken := places[place]; taken {
			t.Errorf("in %s the place %s was given to %s and to %s", target.ID, place, other, s.body)
		}
		places[place] = s.body
		if len(epochs) == 0 || epochs[len(epochs)-1] != s.receipt.Epoch {
			if slices.Contains(epochs, s.receipt.Epoch) {
				t.Errorf("in %s the epoch %s came back", target.ID, s.receipt.Epoch)
			}
			epochs = append(epochs, s.receipt.Epoch)
		}
		i, found := at[s.body]
		switch {
		case !found && s.err == nil && x.durable:
			t.Errorf("%s of %s was acked with %+v and is lost", s.body, target.ID, s.receipt)
		case !found && s.receipt.Epoch == page.Epoch:
			t.Errorf("%s of %s is lost without a new epoch", s.body, target.ID)
		case found && page.Messages[i].Offset != s.receipt.Offset && s.receipt.Epoch == page.Epoch:
			t.Errorf("%s of %s was acked with %+v and is at %d", s.body, target.ID, s.receipt, page.Messages[i].Offset)
		}
	}
	if len(epochs) > 0 && epochs[len(epochs)-1] != page.Epoch {
		epochs = append(epochs, page.Epoch)
	}
	return epochs
}

// roomIn returns a room whose slot is among those that primary i of n had at the start.
func roomIn(i, n int, name string) backplane.Target {
	for k := 0; ; k++ {
		target := room(fmt.Sprintf("%s-%d", name, k))
		if slot := slotOfRoom(target); slot >= i*redistest.Slots/n && slot < (i+1)*redistest.Slots/n {
			return target
		}
	}
}

func slotOfRoom(target backplane.Target) int {
	return int(slotOf(newNames("test", true).appendTag(nil, target)))
}
