package faults

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// topology is how the Redis of a run is built.
type topology string

const (
	oneRedis topology = "one Redis"
	sentinel topology = "Sentinel"
	cluster  topology = "Redis Cluster"
)

// topologyOf has two runs of five find their Redis by other means than its address. number counts the seeds of a topology.
func topologyOf(seed uint64) (t topology, number uint64) {
	switch rest := seed % 5; rest {
	case 3:
		return sentinel, seed / 5
	case 4:
		return cluster, seed / 5
	default:
		return oneRedis, seed/5*3 + rest
	}
}

var topologies = []topology{oneRedis, sentinel, cluster}

// Faults of what is more than one Redis. Failovers there are decided by Redis and its sentinels, not by the test.
const (
	primaryKilled  kind = "primary killed, a replica promoted"
	primaryStopped kind = "primary stopped until a replica is promoted, continued"
	slotMoved      kind = "slot moved"
)

// kinds are those that can happen to a topology, its own first. Where Redis says where it is, there is no proxy before it.
func (t topology) kinds() []kind {
	gatewaysAndClients := []kind{gatewayKilled, gatewayDrained, clientLinkCut, clientLinkHalf}
	switch t {
	case sentinel:
		return append([]kind{primaryKilled, primaryStopped}, gatewaysAndClients...)
	case cluster:
		return append([]kind{primaryKilled, primaryStopped, slotMoved}, gatewaysAndClients...)
	}
	return kinds
}

// firsts is how many kinds can be the first of a run: where there is more than one Redis, only its own.
func (t topology) firsts() uint64 {
	switch t {
	case sentinel:
		return 2
	case cluster:
		return 3
	}
	return uint64(len(kinds))
}

// first is the kind of the first fault of a run.
func (t topology) first(number uint64) kind { return t.kinds()[number%t.firsts()] }

func (f fault) onStore() bool {
	return f.kind == primaryKilled || f.kind == primaryStopped || f.kind == slotMoved
}

// store is a Redis whose primaries change.
type store interface {
	// url is how gateways find it.
	url() string
	// primary returns the server that a room is on.
	primary(room int) *redistest.Server
	// awaitPromotion waits until all agree that another server than the one before is the primary of a room.
	awaitPromotion(room int, before *redistest.Server)
	logs() string
}

func startStore(t testing.TB, p plan) store {
	if p.topology == sentinel {
		return startSentinelStore(t)
	}
	return &clusterStore{Cluster: redistest.StartCluster(t, 3, 1, redistest.ClusterOptions{})}
}

// clusterStore is a Redis Cluster of three primaries with a replica each.
type clusterStore struct {
	*redistest.Cluster
	move *redistest.SlotMove
}

func (c *clusterStore) url() string { return c.URL() }

// slot is that of a room's keys, which gateways with the default cluster name give such names.
func (c *clusterStore) slot(room int) int {
	slot, _ := c.Do(c.Servers()[len(c.Servers())-1], "CLUSTER", "KEYSLOT", fmt.Sprintf("default:{r:%s}:log", roomName(room))).(int64)
	return int(slot)
}

func (c *clusterStore) primary(room int) *redistest.Server { return c.Owner(c.slot(room)) }

func (c *clusterStore) awaitPromotion(room int, before *redistest.Server) {
	c.AwaitFailover(c.slot(room), before)
}

// beginMove opens the slot of a room for its move to another primary; with keys they go at once, and otherwise at the end.
func (c *clusterStore) beginMove(room int, keys bool) {
	slot := c.slot(room)
	owner := c.Owner(slot)
	to := c.Primaries[(slices.Index(c.Primaries, owner)+1)%len(c.Primaries)]
	c.move = c.BeginMove(slot, to)
	if keys {
		c.move.Keys()
	}
}

func (c *clusterStore) logs() string {
	var b strings.Builder
	for _, s := range c.Servers() {
		fmt.Fprintf(&b, "== %s\n%s\n", s.Addr, s.Log())
	}
	return b.String()
}

// sentinelStore is a primary with a replica, and three sentinels.
type sentinelStore struct {
	t         testing.TB
	servers   []*redistest.Server
	sentinels []*redis.Client
	addrs     []string
}

func startSentinelStore(t testing.TB) *sentinelStore {
	t.Helper()
	s := &sentinelStore{t: t}
	first := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	second := redistest.Start(t, "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", fmt.Sprint(first.Port))
	s.servers = []*redistest.Server{first, second}
	for range 3 {
		addr := redistest.StartSentinel(t, "chat", first, 2).Addr
		client := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2}) // a list, not a map
		t.Cleanup(func() { _ = client.Close() })
		s.addrs, s.sentinels = append(s.addrs, addr), append(s.sentinels, client)
	}
	s.await("the sentinels to know each other and the replica", func(values map[string]string) bool {
		return values["num-other-sentinels"] == "2" && values["num-slaves"] == "1" && values["flags"] == "master"
	})
	return s
}

func (s *sentinelStore) url() string {
	return "redis+sentinel://" + strings.Join(s.addrs, ",") + "?master=chat"
}

func (s *sentinelStore) primary(int) *redistest.Server {
	s.t.Helper()
	addr, err := s.sentinels[0].Do(s.t.Context(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "chat").StringSlice()
	if err != nil {
		s.t.Fatalf("ask a sentinel for the primary: %v", err)
	}
	i := slices.IndexFunc(s.servers, func(server *redistest.Server) bool { return server.Addr == net.JoinHostPort(addr[0], addr[1]) })
	return s.servers[i]
}

func (s *sentinelStore) awaitPromotion(_ int, before *redistest.Server) {
	s.await("the sentinels to name another primary", func(values map[string]string) bool {
		return net.JoinHostPort(values["ip"], values["port"]) != before.Addr
	})
}

// await waits until what every sentinel says of the primary is right.
func (s *sentinelStore) await(what string, right func(map[string]string) bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * patience); ; time.Sleep(20 * time.Millisecond) {
		agreed := 0
		for _, client := range s.sentinels {
			list, err := client.Do(s.t.Context(), "SENTINEL", "MASTER", "chat").StringSlice()
			values := make(map[string]string)
			for pair := range slices.Chunk(list, 2) {
				values[pair[0]] = pair[len(pair)-1]
			}
			if err == nil && right(values) {
				agreed++
			}
		}
		if agreed == len(s.sentinels) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("waited %v in vain for %s", 2*patience, what)
		}
	}
}

func (s *sentinelStore) logs() string {
	return "== first\n" + s.servers[0].Log() + "\n== second\n" + s.servers[1].Log()
}

// breakStore carries out a fault of the store, and mendStore ends it.
func (f *fleet) breakStore(x fault) {
	f.t.Helper()
	switch x.kind {
	case primaryKilled, primaryStopped:
		f.struck = f.store.primary(x.room)
		if x.kind == primaryKilled {
			f.struck.Kill()
		} else {
			f.struck.Pause()
		}
	case slotMoved:
		f.store.(*clusterStore).beginMove(x.room, x.side == 1)
	}
}

func (f *fleet) mendStore(x fault) {
	f.t.Helper()
	switch x.kind {
	case primaryKilled:
		f.store.awaitPromotion(x.room, f.struck)
		f.struck.Restart() // it becomes the replica
	case primaryStopped:
		f.store.awaitPromotion(x.room, f.struck)
		f.struck.Resume() // believing for a moment that it is the primary
	case slotMoved:
		f.store.(*clusterStore).move.Finish()
	}
}
