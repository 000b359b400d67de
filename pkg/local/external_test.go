package local_test

import (
	"fmt"
	"testing"

	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/local/localtest"
)

func TestARedisOfSomebodyElseServes(t *testing.T) {
	t.Parallel()
	for name, external := range map[string]func(t *testing.T) string{
		"one Redis": func(t *testing.T) string {
			return fmt.Sprintf("addresses: ['%s']", redistest.Start(t).Addr)
		},
		"a primary that a sentinel watches": func(t *testing.T) string {
			sentinel := redistest.StartSentinel(t, "chat-primary", redistest.Start(t), 1)
			return fmt.Sprintf("mode: Sentinel, masterName: chat-primary, addresses: ['%s']", sentinel.Addr)
		},
		"a Redis Cluster, of which one node is named": func(t *testing.T) string {
			return fmt.Sprintf("mode: Cluster, addresses: ['%s']", redistest.StartCluster(t, 3, 0, redistest.ClusterOptions{}).Primaries[1].Addr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}, redis: {type: External, external: {"+external(t)+"}}}")
			run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
			address := run.AwaitUp()
			alice, bob := connect(t, address, "alice", "127.0.0.1"), connect(t, address, "bob", "127.0.0.2")
			if alice.node == bob.node {
				t.Fatal("both clients are on one gateway, want two")
			}
			alice.joinLobby()
			bob.joinLobby()
			bob.hears(alice, frame{"room_id": "lobby", "echo": false})
			alice.hears(bob, frame{"target_user_id": "alice"})
		})
	}
}
