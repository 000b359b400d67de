package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
)

// maxAsked bounds the nodes that are asked for the topology at a time.
const maxAsked = 7

// topology is what several nodes of a cluster say of it together.
type topology struct {
	// slots says where the primary of each slot is: an address, or empty where nobody serves the slot.
	slots [slotCount]string
	// epochs are those of the claims that slots follows.
	epochs [slotCount]int64
	// nodes are the addresses of all primaries and replicas; ids are their names.
	nodes []string
	ids   map[string]string
	// voices are the names of those who answered.
	voices []string
}

// hasAnswered says whether the node at addr is one of those who answered.
func (t *topology) hasAnswered(addr string) bool { return slices.Contains(t.voices, t.ids[addr]) }

// isConfirmed says whether another node than the one at addr has answered, or there is none.
func (t *topology) isConfirmed(addr string) bool {
	return len(t.nodes) == 1 || slices.ContainsFunc(t.voices, func(id string) bool { return id != t.ids[addr] })
}

// view is what one node of a cluster says of the slots.
type view struct {
	id     string
	ranges []slotRange
	err    error
}

// slotRange is a run of slots with the node that serves them.
type slotRange struct {
	from, to int
	// nodes are the primary and its replicas.
	nodes []node
	// epoch is the primary's configuration epoch: of two nodes that claim a slot the one with the greater epoch has it.
	epoch int64
}

type node struct{ addr, id string }

// ask asks nodes for the topology and joins what those say that answer first: a majority of them, or as many as can be had in
// half the time of a dial. A primary that was away while its replica was promoted, and has not heard of it, is outvoted that way.
func (c *controls) ask(ctx context.Context, addrs []string) (*topology, error) {
	addrs = slices.Clone(addrs)
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	addrs = addrs[:min(len(addrs), maxAsked)]
	ctx, cancel := context.WithTimeout(ctx, c.dialer.options.Timing.Dial/2)
	defer cancel()
	answers := make(chan view, len(addrs))
	for _, addr := range addrs {
		go func() { answers <- c.view(ctx, addr) }()
	}
	var views []view
	var reason error
	for failed := 0; len(views) <= len(addrs)/2 && len(views)+failed < len(addrs); {
		v := <-answers
		if v.err == nil {
			views = append(views, v)
			continue
		}
		failed++
		// What a node answers says more than that another cannot be reached.
		if _, ok := errors.AsType[wrongAnswer](v.err); ok || reason == nil {
			reason = v.err
		}
	}
	if len(views) == 0 {
		return nil, fmt.Errorf("no node of the Redis Cluster says where its slots are: %w", reason)
	}
	return join(views), nil
}

// join takes, for each slot, the claim with the greatest epoch.
func join(views []view) *topology {
	t := &topology{ids: make(map[string]string)}
	for _, v := range views {
		t.voices = append(t.voices, v.id)
		for _, r := range v.ranges {
			for _, n := range r.nodes {
				t.ids[n.addr] = n.id
			}
			for slot := r.from; slot <= r.to; slot++ {
				if t.slots[slot] == "" || r.epoch > t.epochs[slot] {
					t.slots[slot], t.epochs[slot] = r.nodes[0].addr, r.epoch
				}
			}
		}
	}
	t.nodes = slices.Sorted(maps.Keys(t.ids))
	return t
}

// wrongAnswer is an answer of Redis that says nothing of the slots.
type wrongAnswer struct{ error }

// view asks one node. It ends with ctx.
func (c *controls) view(ctx context.Context, addr string) view {
	l := c.take(addr)
	slots, err := l.client.Do(ctx, "CLUSTER", "SLOTS").Result()
	var nodes string
	if err == nil {
		nodes, err = l.client.Do(ctx, "CLUSTER", "NODES").Text()
	}
	if err != nil {
		l.close()
		if ctx.Err() == nil && isAnswer(err) {
			err = wrongAnswer{err}
		}
		return view{err: fmt.Errorf("ask %s for the slots of the Redis Cluster: %w", addr, err)}
	}
	c.put(addr, l)
	self, epochs := readNodes(nodes)
	ranges, err := readSlots(slots, epochs, addr)
	if err != nil {
		return view{err: wrongAnswer{fmt.Errorf("ask %s for the slots of the Redis Cluster: %w", addr, err)}}
	}
	return view{id: self, ranges: ranges}
}

// readNodes reads the reply to CLUSTER NODES: a line for each node, which begins with its id, address, flags, primary, times of ping
// and pong, and configuration epoch. self is the id of who answered.
func readNodes(text string) (self string, epochs map[string]int64) {
	epochs = make(map[string]int64)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 7 {
			continue
		}
		if epoch, err := strconv.ParseInt(fields[6], 10, 64); err == nil {
			epochs[fields[0]] = epoch
		}
		if strings.Contains(fields[2], "myself") {
			self = fields[0]
		}
	}
	return self, epochs
}

// readSlots reads the reply of the node at addr to CLUSTER SLOTS: a list of first slot, last slot, primary, replicas; a node is a
// list of host, port, id and more.
func readSlots(reply any, epochs map[string]int64, addr string) ([]slotRange, error) {
	broken := errors.New("it answered CLUSTER SLOTS with something else than slots")
	list, ok := reply.([]any)
	if !ok {
		return nil, broken
	}
	var ranges []slotRange
	for _, entry := range list {
		fields, _ := entry.([]any)
		if len(fields) < 3 {
			return nil, broken
		}
		from, ok1 := fields[0].(int64)
		to, ok2 := fields[1].(int64)
		if !ok1 || !ok2 || from < 0 || from > to || to >= slotCount {
			return nil, broken
		}
		r := slotRange{from: int(from), to: int(to)}
		for _, field := range fields[2:] {
			n, ok := readNode(field, addr)
			if !ok {
				return nil, broken
			}
			r.nodes = append(r.nodes, n)
		}
		r.epoch = epochs[r.nodes[0].id]
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// readNode reads one node of a reply to CLUSTER SLOTS.
func readNode(field any, from string) (node, bool) {
	fields, _ := field.([]any)
	if len(fields) < 3 {
		return node{}, false
	}
	host, _ := fields[0].(string) // none where the one who answers knows none, which means its own
	port, ok1 := fields[1].(int64)
	id, ok2 := fields[2].(string)
	if !ok1 || !ok2 || port < 1 || port > 65535 {
		return node{}, false
	}
	return node{addr: nodeAddr(host, strconv.FormatInt(port, 10), from), id: id}, true
}

// nodeAddr returns the address of a node as another at from has told it.
func nodeAddr(host, port, from string) string {
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(from)
	}
	return net.JoinHostPort(host, port)
}
