package redis

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func addrs(servers ...*redistest.Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr)
	}
	slices.Sort(all)
	return all
}

func awaitShards(t testing.TB, b *Backplane, want []string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !slices.Equal(b.Shards(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the shards are %q, want %q", b.Shards(), want)
		}
	}
}

func TestCanariesProveEveryShardOfAClusterAndFollowItsSlots(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 1, redistest.ClusterOptions{})
	b, _ := start(t, Options{URL: cluster.URL(), Subscribers: 2})
	awaitShards(t, b, addrs(cluster.Primaries...))
	awaitProbe(t, b)
	perShard := func() (counts []int) {
		for _, s := range cluster.Primaries {
			counts = append(counts, len(cluster.Do(s, "PUBSUB", "SHARDCHANNELS", "test:{c:*").([]any)))
		}
		return counts
	}
	if diff := cmp.Diff([]int{2, 2, 2}, perShard()); diff != "" {
		t.Errorf("channels of canaries on each primary, whose links are two (-want +got):\n%s", diff)
	}

	t.Run("a slot that moves takes no link's canary away", func(t *testing.T) {
		from, to := cluster.Primaries[0], cluster.Primaries[1]
		for link := range 2 {
			b.canaries.mu.Lock()
			slot := int(b.canaries.cages[cagePlace{from.Addr, lane(link)}].slot)
			b.canaries.mu.Unlock()
			cluster.MoveSlot(slot, to)
		}
		for end := time.Now().Add(20 * time.Second); !slices.Equal(perShard(), []int{2, 2, 2}); {
			_ = probe(t, b) // finds out that the slots have moved
			if time.Now().After(end) {
				t.Fatalf("the primaries have %v channels of canaries, want two each", perShard())
			}
		}
		awaitProbe(t, b)
	})
	t.Run("after a failover the replica is the shard", func(t *testing.T) {
		dead := cluster.Primaries[2]
		slot := redistest.Slots - 1
		dead.Kill()
		if err := probe(t, b); err == nil {
			t.Error("a canary comes back through a shard whose primary was killed")
		}
		heir := cluster.AwaitFailover(slot, dead)
		awaitShards(t, b, addrs(cluster.Primaries[0], cluster.Primaries[1], heir))
		awaitProbe(t, b)
		if got := b.Status().Subscriptions; got != 0 {
			t.Errorf("%d subscriptions are counted, and nobody has subscribed to anything", got)
		}
	})
}

func TestRegistryContractOnACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{})
	names := []string{"a", "b", "c"}
	backplanetest.RunRegistry(t, func(t *testing.T) backplane.Backplane {
		name := names[0]
		names = names[1:]
		return open(t, Options{URL: cluster.URL(), Cluster: name})
	})
}
