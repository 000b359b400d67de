package redis

import (
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
