package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestTheContractHoldsOnACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{})
	backplanetest.RunLog(t, func(t *testing.T) backplane.Backplane { return open(t, Options{URL: cluster.URL()}) })
	backplanetest.RunPresence(t, func(t *testing.T) backplane.Backplane {
		return open(t, Options{URL: cluster.URL(), Timing: Timing{Lease: 2 * time.Second}})
	})
	for _, c := range []struct {
		name                    string
		subscribers, publishers int
	}{
		{"defaults", 0, 0},
		{"several connections to each shard", 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			backplanetest.Run(t, func(t *testing.T) backplane.Backplane {
				return open(t, Options{URL: cluster.URL(), Subscribers: c.subscribers, Publishers: c.publishers})
			})
		})
	}
}

// What waits at the close may have to go from one shard to another first: here nothing is known of the shards when it is published, and
// most of them have nothing to do when the process is to end.
func TestCloseWaitsForWhatHasYetToFindItsShard(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{})
	for turn := range 20 {
		b, sink := open(t, Options{URL: cluster.URL(), Publishers: 2}), backplanetest.NewSink(t)
		b.Start(sink)
		var outcomes []<-chan backplanetest.Outcome
		for i := range 100 {
			target := backplane.Target{Kind: backplane.Room, ID: fmt.Sprint(turn, i)}
			outcomes = append(outcomes, backplanetest.PublishAsync(t, b, &backplane.Message{Target: target, Body: []byte("x")}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		err := b.Close(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		for i, outcome := range outcomes {
			if o := <-outcome; o.Err != nil {
				t.Fatalf("publication %d, accepted before the close: %v", i, o.Err)
			}
		}
	}
}
