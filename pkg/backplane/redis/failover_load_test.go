package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestARestartUnderLoadWithAnAppendOnlyFileLosesNothingThatWasAcked(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--dir", t.TempDir())
	b, sink := start(t, Options{URL: server.URL()})
	target := room("load")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	load := startTraffic(t, b, 0, target, room("more"))
	load.durable = true
	load.awaitAcked(target, time.Time{}, 100)
	killed := time.Now()
	server.Kill()
	awaitDown(t, b)
	server.Restart()
	load.awaitAcked(target, killed, 100)
	sink.AwaitSubscribed(target, 2)
	load.end()
	if epochs := load.check(b)[target]; len(epochs) != 2 {
		t.Errorf("the room has the epochs %v, want two", epochs)
	}
}

func TestAKilledPrimaryUnderLoadIsFollowedByTheSentinelsChoice(t *testing.T) {
	w := startWatched(t)
	b, sink := start(t, Options{URL: w.url})
	target := room("load")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	load := startTraffic(t, b, 1, target, room("more"))
	load.awaitAcked(target, time.Time{}, 100)
	killed := time.Now()
	w.primary.Kill()
	w.awaitSwitch(t)
	w.primary.Restart() // the new primary has no other replica to confirm anything
	load.awaitAcked(target, killed, 100)
	sink.AwaitSubscribed(target, 2)
	load.end()
	if epochs := load.check(b)[target]; len(epochs) != 2 {
		t.Errorf("the room has the epochs %v, want two", epochs)
	}
}

func TestAPrimaryThatHungIsNotBelievedWhenItGoesOnAfterTheSentinelsChoseAnother(t *testing.T) {
	w := startWatched(t)
	b, _ := start(t, Options{URL: w.url})
	target := room("load")
	load := startTraffic(t, b, 0, target)
	load.awaitAcked(target, time.Time{}, 100)
	w.primary.Pause()
	w.awaitSwitch(t)
	w.primary.Resume()
	load.awaitAcked(target, time.Now(), 100)
	load.end()
	if epochs := load.check(b)[target]; len(epochs) != 2 {
		t.Errorf("the room has the epochs %v, want two", epochs)
	}
}

// awaitSwitch waits until the sentinels name the replica as the primary.
func (w *watched) awaitSwitch(t *testing.T) {
	t.Helper()
	await(t, "the sentinels to choose the replica", func() bool {
		for _, addr := range w.sentinels {
			values, err := admin(t, addr).Do(t.Context(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "chat").StringSlice()
			if err != nil || strings.Join(values, ":") != w.replica.Addr {
				return false
			}
		}
		return true
	})
}

// The sentinels have chosen another, and nobody has told the gateway.
func TestWhatAPrimaryTakesWhenItGoesOnAfterTheSentinelsChoseAnotherIsNotAcked(t *testing.T) {
	first, second := redistest.Start(t, "--repl-diskless-sync-delay", "0"), redistest.Start(t)
	promoted := follow(t, second, first)
	c := startChorus(t, 3, first.Addr)
	b, _ := start(t, Options{URL: c.url(), Timing: Timing{Publish: 30 * time.Second, Silence: time.Minute}})
	target := room("stale")
	before := mustKeep(t, b, kept(target, "before"))
	follow(t, second, first)
	first.Pause()
	outcome := backplanetest.PublishAsync(t, b, kept(target, "meanwhile"))
	c.choose(second.Addr, false)
	if err := promoted.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // longer than a primary may be silent
	first.Resume()
	if o := <-outcome; o.Err != nil || o.Receipt.Epoch == before.Epoch || o.Receipt.Offset != 2 {
		t.Errorf("a message in the hands of a primary that was deposed ended with %+v, want offset 2 of another epoch than %s", o, before.Epoch)
	}
	if page := readAll(t, b, target); page.Previous != (backplane.PreviousEpoch{Epoch: before.Epoch, Offset: 1}) {
		t.Errorf("the log is %+v, want it to follow %s", page, before.Epoch)
	}
}
