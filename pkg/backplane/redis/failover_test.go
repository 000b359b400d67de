package redis

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// follow makes replica follow primary and waits until it has everything.
func follow(t *testing.T, replica, primary *redistest.Server) *goredis.Client {
	t.Helper()
	client := admin(t, replica.Addr)
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), "replicaof", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	of := admin(t, primary.Addr)
	deadline := time.Now().Add(20 * time.Second)
	for {
		// A write of its own, since WAIT counts for the writes of one connection.
		pipe := of.Pipeline()
		pipe.Set(t.Context(), "follow", "x", time.Minute)
		wait := pipe.Do(t.Context(), "wait", 1, 100)
		if _, err := pipe.Exec(t.Context()); err == nil && wait.Val() == int64(1) {
			return client
		}
		if time.Now().After(deadline) {
			t.Fatal("the replica does not follow")
		}
	}
}

func TestAPromotedReplicaBeginsANewEpochAndKeepsWhatSurvived(t *testing.T) {
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	replica := redistest.Start(t)
	replicaAdmin := follow(t, replica, primary)
	b, _ := start(t, Options{URL: primary.URL()})
	target := room("failover")
	before := mustKeep(t, b, kept(target, "one"))
	mustKeep(t, b, kept(target, "two"))
	follow(t, replica, primary)
	// What follows does not reach the replica: it is lost with the primary.
	if err := replicaAdmin.Do(t.Context(), "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	lost := mustKeep(t, b, kept(target, "lost"))
	if lost.Epoch != before.Epoch || lost.Offset != 3 {
		t.Fatalf("on the primary the third message got %+v", lost)
	}
	primary.Kill()

	promoted, _ := start(t, Options{URL: replica.URL()})
	page := readAll(t, promoted, target)
	if page.Epoch == before.Epoch || page.Newest != 2 || page.Previous != (backplane.PreviousEpoch{Epoch: before.Epoch, Offset: 2}) {
		t.Errorf("after the promotion the log is %+v, want a new epoch up to 2 and the old one named", page)
	}
	if got, want := bodiesOf(page), []string{"one", "two"}; !slices.Equal(got, want) {
		t.Errorf("%q survived, want %q", got, want)
	}
	if receipt := mustKeep(t, promoted, kept(target, "three")); receipt.Epoch != page.Epoch || receipt.Offset != 3 {
		t.Errorf("the next message got %+v, want offset 3 of the new epoch, which the lost one had in the old", receipt)
	}
	if again := readAll(t, promoted, target); again.Epoch != page.Epoch || again.Previous != page.Previous {
		t.Errorf("later the log is %+v, want the same epochs", again)
	}
}

// A connection that lives through a demotion and a promotion of its server must not go on in the old epoch.
func TestAServerThatIsPromotedAgainOnALivingConnectionIsNoticed(t *testing.T) {
	server := redistest.Start(t)
	other := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL(), Timing: Timing{Ping: 50 * time.Millisecond}})
	target := room("twice")
	before := mustKeep(t, b, kept(target, "one"))
	follow(t, other, server)
	if err := admin(t, other.Addr).Do(t.Context(), "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	client := follow(t, server, other)
	if o := backplanetest.Publish(t, b, kept(target, "to a replica")); !errors.Is(o.Err, backplane.ErrUnavailable) {
		t.Errorf("a publication to a replica ended with %v, want ErrUnavailable", o.Err)
	}
	if err := client.Do(t.Context(), "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	awaitUp(t, b)
	receipt := mustKeep(t, b, kept(target, "two"))
	if receipt.Epoch == before.Epoch || receipt.Offset != 2 {
		t.Errorf("after two promotions the next message got %+v, want offset 2 of a new epoch", receipt)
	}
}

func TestARestartWithAnAppendOnlyFileKeepsTheLogInANewEpoch(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--dir", t.TempDir())
	b, _ := start(t, Options{URL: server.URL()})
	target := room("durable")
	var before backplane.Receipt
	for i := range 5 {
		before = mustKeep(t, b, kept(target, fmt.Sprint(i+1)))
	}
	server.Kill()
	awaitDown(t, b)
	server.Restart()
	awaitUp(t, b)
	page := readAll(t, b, target)
	if len(page.Messages) != 5 || page.Epoch == before.Epoch || page.Previous != (backplane.PreviousEpoch{Epoch: before.Epoch, Offset: 5}) {
		t.Errorf("after the restart the log is %+v, want five messages in a new epoch", page)
	}
}

func TestMessagesAreConfirmedByAsManyReplicasAsAsked(t *testing.T) {
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	replica := redistest.Start(t)
	follow(t, replica, primary)
	proxy := faultproxy.Start(t, primary.Addr)
	// A quarter of this is what a replica may take: on a busy machine it is not scheduled for a while.
	const patience = 8 * PublishTimeout
	b, _ := start(t, Options{URL: "redis://" + proxy.Addr, Timing: Timing{Publish: patience}})
	target := room("replicated")
	keep := &backplane.Keep{Size: 100, TTL: time.Hour, MinReplicas: 1}
	for i := range 20 {
		if receipt := mustKeep(t, b, &backplane.Message{Target: target, Body: []byte("x"), Keep: keep}); receipt.Offset != int64(i+1) {
			t.Fatalf("message %d got %+v", i, receipt)
		}
	}
	replica.Pause()
	o := backplanetest.Publish(t, b, &backplane.Message{Target: target, Body: []byte("alone"), Keep: keep})
	if !errors.Is(o.Err, backplane.ErrUnconfirmed) || o.Receipt.Offset != 21 || o.Receipt.Epoch == "" {
		t.Errorf("without its replica a message ended with %+v, want ErrUnconfirmed and offset 21", o)
	}
	if o.After > patience {
		t.Errorf("it ended after %v, want less than the publish timeout", o.After)
	}
	// Whoever asks for none does not wait.
	if o := backplanetest.Publish(t, b, kept(target, "for myself")); o.Err != nil || o.After > patience/8 {
		t.Errorf("a message that needs no replica ended with %+v", o)
	}
	replica.Resume()
	if got := b.Counters().Unconfirmed; got != 1 {
		t.Errorf("%d unconfirmed are counted, want 1", got)
	}
}

func TestALostRedisBeginsANewEpoch(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	target := room("lost")
	before := mustKeep(t, b, kept(target, "one"))
	server.Kill()
	awaitDown(t, b)
	outcome := backplanetest.PublishAsync(t, b, kept(target, "waits"))
	server.Restart()
	o := <-outcome
	if o.Err != nil || o.Receipt.Epoch == before.Epoch || o.Receipt.Offset != 1 {
		t.Errorf("the message after the loss ended with %+v, want offset 1 of a new epoch", o)
	}
}
