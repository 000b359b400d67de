package redis

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// While a slot is on its way, its keys are with one shard or the other, and subscribers are with the old one.
func TestWhileASlotMovesEverythingIsStoredAndDelivered(t *testing.T) {
	cluster := redistest.StartCluster(t, 2, 0, redistest.ClusterOptions{})
	b, sink := start(t, Options{URL: cluster.URL()})
	target := roomIn(0, 2, "on-its-way")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	once := func(key, body string) *backplane.Message {
		return &backplane.Message{Target: target, Body: []byte(body), ID: []byte("id-" + key), IdempotencyKey: key, Data: []byte(body)}
	}
	first := mustKeep(t, b, kept(target, "1"))
	backplanetest.MustPublish(t, b, once("a", "2"))

	move := cluster.BeginMove(slotOfRoom(target), cluster.Primaries[1])
	if receipt := mustKeep(t, b, kept(target, "3")); receipt.Epoch != first.Epoch || receipt.Offset != 2 {
		t.Errorf("with its keys still on the old shard a message got %+v, want offset 2 of %s", receipt, first.Epoch)
	}
	if n := move.Keys(); n != 3 {
		t.Fatalf("%d keys were moved, want log, meta and once", n)
	}
	second := mustKeep(t, b, kept(target, "4"))
	if second.Epoch == first.Epoch || second.Offset != 3 {
		t.Errorf("with its keys on the new shard a message got %+v, want offset 3 of a new epoch", second)
	}
	if receipt := mustKeep(t, b, kept(target, "5")); receipt.Epoch != second.Epoch || receipt.Offset != 4 {
		t.Errorf("the next got %+v, want offset 4 of %s", receipt, second.Epoch)
	}
	backplanetest.MustPublish(t, b, text(target, "6"))
	backplanetest.MustPublish(t, b, once("b", "7"))
	if o := backplanetest.Publish(t, b, once("a", "2")); o.Err != nil || o.Receipt.MessageID != "id-a" {
		t.Errorf("a repetition of what was published before the move ended with %+v, want the first one's id", o)
	}
	if got := bodiesOf(readAll(t, b, target)); !slices.Equal(got, []string{"1", "3", "4", "5"}) {
		t.Errorf("the log holds %q", got)
	}
	if got, want := sink.AwaitBodies(target, 7), []string{"1", "2", "3", "4", "5", "6", "7"}; !slices.Equal(got, want) {
		t.Errorf("delivered was %q, want %q", got, want)
	}
	for i, m := range sink.Delivered(target) {
		if want := []int64{1, 0, 2, 3, 4, 0, 0}[i]; m.Offset != want {
			t.Errorf("%q was delivered with offset %d, want %d", m.Body, m.Offset, want)
		}
	}

	move.Finish()
	sink.AwaitSubscribed(target, 2)
	if receipt := mustKeep(t, b, kept(target, "8")); receipt.Epoch != second.Epoch || receipt.Offset != 5 {
		t.Errorf("after the move a message got %+v, want offset 5 of %s", receipt, second.Epoch)
	}
	sink.AwaitBodies(target, 8)
}

// A room that is new while its slot moves has all its keys nowhere: no shard may say what they hold until the move is over.
func TestWhatNoShardCanDecideWhileASlotMovesWaitsForItsEnd(t *testing.T) {
	cluster := redistest.StartCluster(t, 2, 0, redistest.ClusterOptions{})
	b, _ := start(t, Options{URL: cluster.URL()})
	moves, stays := roomIn(0, 2, "new"), roomIn(0, 2, "old")
	move := cluster.BeginMove(slotOfRoom(moves), cluster.Primaries[1])
	wantUnavailable(t, backplanetest.Publish(t, b, kept(moves, "too long")), 1500*time.Millisecond, 2500*time.Millisecond)
	var outcomes []<-chan backplanetest.Outcome
	for i := range 10 {
		outcomes = append(outcomes, backplanetest.PublishAsync(t, b, kept(moves, fmt.Sprint(i))))
	}
	for range 50 { // others of the same shard need not wait
		if o := backplanetest.Publish(t, b, kept(stays, "x")); o.Err != nil || o.After > time.Second {
			t.Fatalf("a message for another slot ended with %+v", o)
		}
	}
	move.Finish()
	for i, outcome := range outcomes {
		if o := <-outcome; o.Err != nil || o.Receipt.Offset != int64(i+1) {
			t.Errorf("message %d ended with %+v, want offset %d", i, o, i+1)
		}
	}
}

func TestPresenceFollowsASlotThatMoves(t *testing.T) {
	cluster := redistest.StartCluster(t, 2, 0, redistest.ClusterOptions{})
	a, sink := start(t, Options{URL: cluster.URL()})
	b, _ := start(t, Options{URL: cluster.URL()})
	target := roomIn(0, 2, "present")
	a.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	a.Enter(target, "ann")
	b.Enter(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "ann=1 bob=1")
	cluster.MoveSlot(slotOfRoom(target), cluster.Primaries[1])
	sink.AwaitSubscribed(target, 2)
	backplanetest.AwaitMembers(t, b, target, "ann=1 bob=1")
	b.Leave(target, "bob")
	b.Enter(target, "cem")
	backplanetest.AwaitMembers(t, a, target, "ann=1 cem=1")
	sink.Await(1, "news that cem came", func(e backplanetest.Event) bool { return e.Name == "changes" && e.Changes == "cem=1" })
}

func TestWithoutTheClusterThereIsNoLinkAndWithItThereIs(t *testing.T) {
	wantNoLink(t, Options{URL: "redis+cluster://127.0.0.1:1,127.0.0.1:2"}, "no node of the Redis Cluster says where its slots are")
	single := redistest.Start(t)
	wantNoLink(t, Options{URL: "redis+cluster://" + single.Addr}, "cluster support disabled")
	cluster := redistest.StartCluster(t, 2, 0, redistest.ClusterOptions{})
	// One node that answers is enough.
	roundTrip(t, Options{URL: "redis+cluster://127.0.0.1:1," + cluster.Primaries[1].Addr})
}

func TestAShardThatIsAwayTakesOnlyItsRoomsAlong(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{})
	cluster.Primaries[2].Pause()
	// A gateway that starts meanwhile serves the others.
	b, sink := open(t, Options{URL: cluster.URL()}), backplanetest.NewSink(t)
	b.Start(sink)
	t.Cleanup(func() { closeNow(b) })
	backplanetest.AwaitStatus(t, b, "up but for a shard", func(s backplane.Status) bool { return s.EverUp && !s.Up && s.LastError != "" })
	for i := range 2 {
		target := roomIn(i, 3, "here")
		b.Subscribe(target)
		sink.AwaitSubscribed(target, 1)
		mustKeep(t, b, kept(target, "x"))
		sink.AwaitBodies(target, 1)
	}
	away := roomIn(2, 3, "away")
	b.Subscribe(away)
	wantUnavailable(t, backplanetest.Publish(t, b, kept(away, "x")), time.Second, 3*time.Second)
	if _, err := b.ReadLog(t.Context(), away, backplane.Cursor{}); !errors.Is(err, backplane.ErrUnavailable) {
		t.Errorf("reading a log of it ended with %v, want ErrUnavailable", err)
	}
	cluster.Primaries[2].Resume()
	awaitUp(t, b)
	sink.AwaitSubscribed(away, 1)
	mustKeep(t, b, kept(away, "x"))
}
