package redistest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// ClusterNodeTimeout is how long a node of a test's cluster may be silent before the others take it for dead: short, so that tests
// need not wait, and long enough for a machine that does other things too.
const ClusterNodeTimeout = 1500 * time.Millisecond

// Slots is the number of slots of a Redis Cluster.
const Slots = 16384

// ClusterOptions says what is special about a cluster.
type ClusterOptions struct {
	// Args are further arguments of every process, as those of Start.
	Args []string
	// Client is how the tests' own commands get in: user, password, TLS; nil: as anybody does.
	Client *goredis.Options
}

// Cluster is a Redis Cluster of real processes on loopback. Its methods fail the test when they cannot do what they say. They are not
// safe for concurrent use.
type Cluster struct {
	// Primaries are those that were at the start, Replicas theirs, by primary. Both outlive any change of roles.
	Primaries []*Server
	Replicas  [][]*Server

	t       testing.TB
	options ClusterOptions
	clients map[*Server]*goredis.Client
	ids     map[*Server]string
}

// StartCluster runs a Redis Cluster of as many primaries, with as many replicas each, and waits until it serves all slots and every
// replica follows. Primary i of n has the i-th of n equal parts of the slots.
func StartCluster(t testing.TB, primaries, replicas int, o ClusterOptions) *Cluster {
	t.Helper()
	c := &Cluster{t: t, options: o, clients: make(map[*Server]*goredis.Client), ids: make(map[*Server]string)}
	start := func() *Server {
		s := Start(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-port", "0", "--cluster-announce-ip", "127.0.0.1",
			"--cluster-node-timeout", strconv.FormatInt(ClusterNodeTimeout.Milliseconds(), 10), "--cluster-replica-validity-factor", "0",
			"--cluster-require-full-coverage", "no", "--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0",
			"--dir", t.TempDir(), // where it finds its place in the cluster after a restart
		}, o.Args...)...)
		c.ids[s] = c.text(s, "CLUSTER", "MYID")
		return s
	}
	for i := range primaries {
		primary := start()
		c.Primaries = append(c.Primaries, primary)
		c.do(primary, "CLUSTER", "ADDSLOTSRANGE", i*Slots/primaries, (i+1)*Slots/primaries-1)
		// Without different epochs from the start, nodes may have to settle whose claim on a slot is newer.
		c.do(primary, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		var following []*Server
		for range replicas {
			following = append(following, start())
		}
		c.Replicas = append(c.Replicas, following)
	}
	first := c.Primaries[0]
	for _, s := range c.Servers()[1:] {
		c.do(first, "CLUSTER", "MEET", "127.0.0.1", s.Port, s.bus)
	}
	c.await("the nodes to know each other", func() bool { return !slices.ContainsFunc(c.Servers(), c.isStranger) })
	for i, following := range c.Replicas {
		for _, s := range following {
			c.do(s, "CLUSTER", "REPLICATE", c.ids[c.Primaries[i]])
		}
	}
	c.await("all slots to be served and all replicas to follow", func() bool {
		for _, s := range c.Servers() {
			if !strings.Contains(c.text(s, "CLUSTER", "INFO"), "cluster_state:ok") ||
				strings.Count(c.text(s, "CLUSTER", "NODES"), " slave ")+strings.Count(c.text(s, "CLUSTER", "NODES"), ",slave ") != primaries*replicas {
				return false
			}
		}
		for _, primary := range c.Primaries {
			if strings.Count(c.text(primary, "INFO", "replication"), "state=online") != replicas {
				return false
			}
		}
		return true
	})
	return c
}

// isStranger says whether a server does not know all others yet. One that it is still shaking hands with is there under a name that it has
// made up, which nobody can be told to follow.
func (c *Cluster) isStranger(s *Server) bool {
	known := 0
	for line := range strings.Lines(c.text(s, "CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		if len(fields) > 7 && c.server(fields[0]) != nil && fields[7] == "connected" {
			known++
		}
	}
	return known != len(c.ids)
}

// URL names the first primaries as redis+cluster:// or rediss+cluster://.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range c.Primaries {
		addrs = append(addrs, s.Addr)
	}
	scheme := "redis+cluster://"
	if c.Primaries[0].tls {
		scheme = "rediss+cluster://"
	}
	return scheme + strings.Join(addrs, ",")
}

// Servers returns all processes.
func (c *Cluster) Servers() []*Server {
	return append(slices.Clone(c.Primaries), slices.Concat(c.Replicas...)...)
}

// Owner returns the server that the others say serves a slot.
func (c *Cluster) Owner(slot int) *Server {
	c.t.Helper()
	for _, s := range c.Servers() {
		if s.cmd == nil || s.paused {
			continue
		}
		if owner := c.ownerBy(s, slot); owner != nil {
			return owner
		}
	}
	c.t.Fatalf("no node of the cluster says who serves slot %d", slot)
	return nil
}

// ownerBy returns who serves a slot as one server says, or nil.
func (c *Cluster) ownerBy(s *Server, slot int) *Server {
	nodes, err := c.client(s).ClusterNodes(c.t.Context()).Result()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(nodes) {
		fields := strings.Fields(line) // id, address, flags, primary, ping, pong, epoch, link, slots …
		if len(fields) > 8 && slices.ContainsFunc(fields[8:], func(r string) bool { return holds(r, slot) }) {
			return c.server(fields[0])
		}
	}
	return nil
}

// holds tells whether a slot is in a range such as 7 or 0-5460; one in brackets is on its way and no range.
func holds(text string, slot int) bool {
	first, last, two := strings.Cut(text, "-")
	if !two {
		last = first
	}
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	return err1 == nil && err2 == nil && from <= slot && slot <= to
}

func (c *Cluster) server(id string) *Server {
	for s, name := range c.ids {
		if name == id {
			return s
		}
	}
	return nil
}

// AwaitFailover waits until all servers that run agree that another than before serves a slot, and returns it.
func (c *Cluster) AwaitFailover(slot int, before *Server) *Server {
	c.t.Helper()
	var now *Server
	c.await(fmt.Sprintf("slot %d to be served by another node", slot), func() bool {
		now = nil
		for _, s := range c.Servers() {
			if s.cmd == nil || s.paused {
				continue
			}
			owner := c.ownerBy(s, slot)
			if owner == nil || owner == before || now != nil && owner != now {
				return false
			}
			now = owner
		}
		return now != nil
	})
	return now
}

// SlotMove is a slot on its way from one primary to another.
type SlotMove struct {
	c        *Cluster
	Slot     int
	From, To *Server
}

// BeginMove opens a slot for its move. Until it is finished Redis redirects what is not there any more.
func (c *Cluster) BeginMove(slot int, to *Server) *SlotMove {
	c.t.Helper()
	m := &SlotMove{c: c, Slot: slot, From: c.Owner(slot), To: to}
	c.do(m.To, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[m.From])
	c.do(m.From, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[m.To])
	return m
}

// Keys moves the slot's keys that are there now, each by itself, and returns how many there were.
func (m *SlotMove) Keys() int {
	m.c.t.Helper()
	moved := 0
	for {
		keys, err := m.c.client(m.From).ClusterGetKeysInSlot(m.c.t.Context(), m.Slot, 100).Result()
		if err != nil {
			m.c.t.Fatalf("list the keys of slot %d: %v", m.Slot, err)
		}
		if len(keys) == 0 {
			return moved
		}
		for _, key := range keys {
			args := []any{"MIGRATE", "127.0.0.1", m.To.Port, key, 0, 5000}
			if o := m.c.options.Client; o != nil && o.Username != "" {
				args = append(args, "AUTH2", o.Username, o.Password)
			}
			m.c.do(m.From, args...)
			moved++
		}
	}
}

// Finish has the slot belong to its new primary, and waits until all that run say so.
func (m *SlotMove) Finish() {
	m.c.t.Helper()
	m.Keys()
	m.c.do(m.To, "CLUSTER", "SETSLOT", m.Slot, "NODE", m.c.ids[m.To])
	m.c.do(m.From, "CLUSTER", "SETSLOT", m.Slot, "NODE", m.c.ids[m.To])
	m.c.AwaitFailover(m.Slot, m.From)
}

// MoveSlot moves a slot with its keys.
func (c *Cluster) MoveSlot(slot int, to *Server) {
	c.t.Helper()
	c.BeginMove(slot, to).Finish()
}

// Do runs a command on one server past everything.
func (c *Cluster) Do(s *Server, args ...any) any {
	c.t.Helper()
	return c.do(s, args...)
}

func (c *Cluster) client(s *Server) *goredis.Client {
	if client := c.clients[s]; client != nil {
		return client
	}
	o := &goredis.Options{}
	if c.options.Client != nil {
		*o = *c.options.Client
	}
	o.Addr, o.MaxRetries, o.DialTimeout, o.ReadTimeout = s.Addr, 5, 2*time.Second, 10*time.Second
	c.clients[s] = goredis.NewClient(o)
	c.t.Cleanup(func() { _ = c.clients[s].Close() })
	return c.clients[s]
}

func (c *Cluster) do(s *Server, args ...any) any {
	c.t.Helper()
	reply, err := c.client(s).Do(context.WithoutCancel(c.t.Context()), args...).Result()
	if err != nil {
		c.t.Fatalf("%v on the cluster's node %s: %v", args, s.Addr, err)
	}
	return reply
}

func (c *Cluster) text(s *Server, args ...any) string {
	c.t.Helper()
	text, _ := c.do(s, args...).(string)
	return text
}

func (c *Cluster) await(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(2 * patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited %v in vain for %s", 2*patience, what)
		}
	}
}

// Offset returns how far a server is in the replication of its shard.
func (c *Cluster) Offset(s *Server) int {
	c.t.Helper()
	for line := range strings.Lines(c.text(s, "INFO", "replication")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "slave_repl_offset" {
			offset, _ := strconv.Atoi(value)
			return offset // a replica has both
		}
		if name == "master_repl_offset" && !strings.Contains(c.text(s, "INFO", "replication"), "role:slave") {
			offset, _ := strconv.Atoi(value)
			return offset
		}
	}
	c.t.Fatalf("%s does not say how far its replication is", s.Addr)
	return 0
}
