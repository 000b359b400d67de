package redis

import (
	"fmt"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestRegistryContract(t *testing.T) {
	server, clusters := redistest.Start(t), 0
	backplanetest.RunRegistry(t, func(t *testing.T) backplane.Backplane {
		clusters++
		return open(t, Options{URL: server.URL(), Cluster: fmt.Sprint("cluster-", clusters)})
	})
}

func TestRegistryContractOnAnEmbeddedServer(t *testing.T) {
	backplanetest.RunRegistry(t, func(t *testing.T) backplane.Backplane {
		return open(t, Options{URL: "redis://" + miniredis.RunT(t).Addr()})
	})
}

func announce(t *testing.T, b *Backplane, record string, want int) {
	t.Helper()
	if nodes, err := b.Announce(t.Context(), []byte(record)); err != nil || nodes != want {
		t.Fatalf("announcing %q returns %d nodes, %v, want %d", record, nodes, err, want)
	}
}

func TestNodesKnowEachOtherUntilTheyLeave(t *testing.T) {
	server := redistest.Start(t)
	a, _ := start(t, Options{URL: server.URL()})
	b, _ := start(t, Options{URL: server.URL()})
	other, _ := start(t, Options{URL: server.URL(), Cluster: "other"})
	announce(t, other, "of another cluster", 1)
	announce(t, a, "a", 1)
	announce(t, b, "b", 2)
	for _, node := range backplanetest.AwaitNodes(t, a, "a", "b") {
		if want := string(node.Record) == "a"; node.Own != want {
			t.Errorf("to node a the record %q is its own: %v, want %v", node.Record, node.Own, want)
		}
	}
	closeNow(b)
	backplanetest.AwaitNodes(t, a, "a")
	closeNow(a)
	if left := admin(t, server.Addr).Keys(t.Context(), "test:*").Val(); len(left) != 0 {
		t.Errorf("when all nodes have left there are the keys %q", left)
	}
}

func TestANodeThatDiesIsForgotten(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	a, _ := start(t, shortLived(server.URL()))
	dead, _ := start(t, shortLived("redis://"+proxy.Addr))
	announce(t, a, "a", 1)
	announce(t, dead, "dead", 2)
	proxy.Refuse() // it can neither renew its lease nor leave
	for nodes := 2; nodes != 1; {
		var err error
		if nodes, err = a.Announce(t.Context(), []byte("a")); err != nil {
			t.Fatal(err)
		}
	}
	backplanetest.AwaitNodes(t, a, "a")
	if records := admin(t, server.Addr).HLen(t.Context(), "test:{nodes}:records").Val(); records != 1 {
		t.Errorf("%d records are kept for one node", records)
	}
}

func TestNodesAreKnownInAFullRedisAndAfterARestart(t *testing.T) {
	server := redistest.Start(t)
	a, _ := start(t, Options{URL: server.URL()})
	if err := admin(t, server.Addr).ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	announce(t, a, "in a full Redis", 1)
	server.Kill()
	server.Restart()
	awaitUp(t, a)
	announce(t, a, "after a restart", 1)
	backplanetest.AwaitNodes(t, a, "after a restart")
}
