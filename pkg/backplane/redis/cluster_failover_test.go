package redis

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestAKilledPrimaryOfAClusterIsFollowedByItsReplicaAndTheOthersGoOn(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, redistest.ClusterOptions{})
	b, sink := start(t, Options{URL: cluster.URL()})
	hit, other := roomIn(0, 3, "hit"), roomIn(1, 3, "other")
	for _, target := range []backplane.Target{hit, other} {
		b.Subscribe(target)
		sink.AwaitSubscribed(target, 1)
	}
	load := startTraffic(t, b, 1, hit, other)
	load.awaitAcked(hit, time.Time{}, 100)
	load.awaitAcked(other, time.Time{}, 100)

	primary := cluster.Primaries[0]
	killed := time.Now()
	primary.Kill()
	awaitDown(t, b)
	if !b.Status().EverUp {
		t.Error("with one shard of three away the backplane counts as never connected")
	}
	cluster.AwaitFailover(slotOfRoom(hit), primary)
	// The replica had no replica of its own; until the old primary is one nothing can be confirmed by any.
	primary.Restart()
	load.awaitAcked(hit, killed, 100)
	awaitUp(t, b)
	sink.AwaitSubscribed(hit, 2)
	load.end()

	epochs := load.check(b)
	if len(epochs[hit]) != 2 {
		t.Errorf("the room of the shard that failed over has the epochs %v, want two", epochs[hit])
	}
	if len(epochs[other]) != 1 {
		t.Errorf("a room of another shard has the epochs %v, want one", epochs[other])
	}
	for _, s := range load.sentTo(other) {
		if s.err != nil && !errors.Is(s.err, backplane.ErrUnconfirmed) {
			t.Errorf("a message to another shard ended with %v", s.err)
		}
	}
	// What comes now is delivered by the new primary.
	before := len(sink.Bodies(hit))
	mustKeep(t, b, kept(hit, "the last"))
	if got := sink.AwaitBodies(hit, before+1); got[len(got)-1] != "the last" {
		t.Errorf("the last message delivered is %q", got[len(got)-1])
	}
}

func TestAPrimaryOfAClusterThatHungIsNotBelievedWhenItGoesOn(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, redistest.ClusterOptions{})
	b, _ := start(t, Options{URL: cluster.URL()})
	target := roomIn(0, 3, "stale")
	load := startTraffic(t, b, 0, target)
	load.awaitAcked(target, time.Time{}, 100)
	primary := cluster.Primaries[0]
	primary.Pause()
	cluster.AwaitFailover(slotOfRoom(target), primary)
	// It goes on in the very moment in which a gateway may not have heard of its successor yet.
	paused := time.Now()
	primary.Resume()
	load.awaitAcked(target, paused, 100)
	load.end()
	if epochs := load.check(b)[target]; len(epochs) != 2 {
		t.Errorf("the room has the epochs %v, want two", epochs)
	}
}

func TestASlotThatMovesUnderLoadLosesNothing(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{})
	b, sink := start(t, Options{URL: cluster.URL()})
	target, other := roomIn(0, 3, "moves"), roomIn(0, 3, "stays")
	slot := slotOfRoom(target)
	for _, target := range []backplane.Target{target, other} {
		b.Subscribe(target)
		sink.AwaitSubscribed(target, 1)
	}
	load := startTraffic(t, b, 0, target, other)
	for i, to := range []int{1, 2, 0} {
		begun := time.Now()
		load.awaitAcked(target, begun, 50)
		cluster.MoveSlot(slot, cluster.Primaries[to])
		moved := time.Now()
		load.awaitAcked(target, moved, 50)
		sink.AwaitSubscribed(target, i+2)
		// Whoever hears of the move hears what is published from then on.
		before := sink.Bodies(target)
		load.awaitAcked(target, time.Now(), 20)
		if after := sink.Bodies(target); len(after) < len(before)+20 {
			t.Errorf("after move %d only %d of 20 messages were delivered", i+1, len(after)-len(before))
		}
	}
	load.end()
	for _, target := range []backplane.Target{target, other} {
		for _, s := range load.sentTo(target) {
			if s.err != nil {
				t.Errorf("%s of %s ended with %v", s.body, target.ID, s.err)
			}
		}
	}
	if epochs := load.check(b); len(epochs[target]) != 4 || len(epochs[other]) != 1 {
		t.Errorf("after three moves the room has the epochs %v, and one that stayed %v", epochs[target], epochs[other])
	}
	if sink.Count(isInterrupted) < 3 {
		t.Error("the sink was not told that subscriptions were interrupted")
	}
	if !b.Status().Up || b.Status().Subscriptions != 2 {
		t.Errorf("the status is %+v", b.Status())
	}
}

// unaware has a gateway hear of nothing by itself: what it does not believe a primary that was silent, it does not believe for that alone.
func unaware() Timing {
	return Timing{Publish: 30 * time.Second, Silence: time.Minute, Topology: time.Hour}
}

func TestWhatADeposedPrimaryOfAClusterTakesWhenItGoesOnIsNotAcked(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, redistest.ClusterOptions{})
	b, _ := start(t, Options{URL: cluster.URL(), Timing: unaware()})
	target := roomIn(0, 3, "stale")
	before := mustKeep(t, b, kept(target, "before"))
	mustReplicate(t, cluster, 0)
	primary := cluster.Primaries[0]
	primary.Pause()
	// It is in the sockets of the primary, and the first that it reads when it goes on.
	outcome := backplanetest.PublishAsync(t, b, kept(target, "meanwhile"))
	read := make(chan backplane.Page, 1)
	go func() {
		page, _ := b.ReadLog(t.Context(), target, backplane.Cursor{Limit: 10})
		read <- page
	}()
	cluster.AwaitFailover(slotOfRoom(target), primary)
	primary.Resume()
	o := <-outcome
	if o.Err != nil || o.Receipt.Epoch == before.Epoch || o.Receipt.Offset != 2 {
		t.Errorf("a message in the hands of a primary that was deposed ended with %+v, want offset 2 of another epoch than %s", o, before.Epoch)
	}
	if page := <-read; page.Epoch != o.Receipt.Epoch {
		t.Errorf("what was read from it is of epoch %s, want %s", page.Epoch, o.Receipt.Epoch)
	}
	if got := bodiesOf(readAll(t, b, target)); !slices.Equal(got, []string{"before", "meanwhile"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestAPrimaryOfAClusterThatOnlyHungGoesOn(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{})
	b, _ := start(t, Options{URL: cluster.URL(), Timing: unaware()})
	target := roomIn(0, 3, "hangs")
	before := mustKeep(t, b, kept(target, "before"))
	cluster.Primaries[0].Pause()
	outcome := backplanetest.PublishAsync(t, b, kept(target, "meanwhile"))
	time.Sleep(2 * time.Second) // longer than a primary may be silent
	cluster.Primaries[0].Resume()
	if o := <-outcome; o.Err != nil || o.Receipt.Epoch != before.Epoch || o.Receipt.Offset != 2 {
		t.Errorf("a message to a primary that hung ended with %+v, want offset 2 of the same epoch", o)
	}
}

// mustReplicate waits until the replica of a primary has everything.
func mustReplicate(t *testing.T, cluster *redistest.Cluster, i int) {
	t.Helper()
	await(t, "the replica to have everything", func() bool {
		primary, replica := cluster.Primaries[i], cluster.Replicas[i][0]
		return cluster.Offset(primary) == cluster.Offset(replica)
	})
}

func TestReplicasConfirmOnTheShardOfTheirRoom(t *testing.T) {
	cluster := redistest.StartCluster(t, 2, 1, redistest.ClusterOptions{})
	// A quarter of this is what a replica may take: on a busy machine it is not scheduled for a while.
	b, _ := start(t, Options{URL: cluster.URL(), Timing: Timing{Publish: 8 * PublishTimeout}})
	keep := &backplane.Keep{Size: 100, TTL: time.Hour, MinReplicas: 1}
	alone, whole := roomIn(0, 2, "alone"), roomIn(1, 2, "whole")
	for _, target := range []backplane.Target{alone, whole} {
		mustKeep(t, b, &backplane.Message{Target: target, Body: []byte("1"), Keep: keep})
	}
	cluster.Replicas[0][0].Pause()
	o := backplanetest.Publish(t, b, &backplane.Message{Target: alone, Body: []byte("2"), Keep: keep})
	if !errors.Is(o.Err, backplane.ErrUnconfirmed) || o.Receipt.Offset != 2 || o.Receipt.Epoch == "" {
		t.Errorf("without its replica a message ended with %+v, want ErrUnconfirmed and offset 2", o)
	}
	if receipt := mustKeep(t, b, &backplane.Message{Target: whole, Body: []byte("2"), Keep: keep}); receipt.Offset != 2 {
		t.Errorf("a message to the other shard got %+v, want offset 2", receipt)
	}
	cluster.Replicas[0][0].Resume()
}
