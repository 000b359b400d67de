// Package contestant knows the servers that are compared: how each is started, alone or as several nodes, and what it speaks.
package contestant

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/process"
)

// Contestant is one kind of server.
type Contestant struct {
	// Name is a word for the command line, Title for the table.
	Name, Title string
	// Dialect makes what the generator speaks to it; nil: ours.
	Dialect func() bench.Dialect
	// Nodes is true if several of it can serve one room together; Redis, if they do it through Redis.
	Nodes, Redis bool
	// Ours is true for our gateway, in whatever build.
	Ours bool

	start func(b Binaries, n int, redis string, ours []string) (*Cluster, error)
}

// Binaries is the folder with the built servers.
type Binaries string

func (b Binaries) path(name string) string { return filepath.Join(string(b), name) }

// Cluster is the running nodes of one contestant.
type Cluster struct {
	// URLs to connect to, one a node.
	URLs []string
	// Ops are the addresses of our gateways' ops endpoints; empty for others.
	Ops       []string
	Processes []*process.Process
}

// Stop ends all nodes.
func (c *Cluster) Stop() {
	for _, p := range c.Processes {
		p.Stop()
	}
}

// All lists the contestants, ours first.
func All() []Contestant {
	return []Contestant{
		{Name: "wscluster", Title: "wscluster", Nodes: true, Redis: true, Ours: true, start: gateways("")},
		{Name: "bare", Title: "bare `write(2)` loop", Dialect: func() bench.Dialect { return bare{} }, start: plain("bare")},
		{Name: "textbook", Title: "textbook hub (the seed's design)", Dialect: func() bench.Dialect { return textbook{} }, Nodes: true, Redis: true, start: plain("textbook")},
		{Name: "centrifuge", Title: "`centrifuge` library", Dialect: func() bench.Dialect { return centrifuge{} }, Nodes: true, Redis: true, start: plain("centrifuge")},
		{Name: "nats", Title: "NATS WebSocket", Dialect: func() bench.Dialect { return nats{} }, Nodes: true, start: startNATS},
	}
}

// Base is another build of our gateway: what a change is worth is seen beside the build before it.
func Base(program string) Contestant {
	return Contestant{Name: "base", Title: "wscluster before", Nodes: true, Redis: true, Ours: true, start: gateways(program)}
}

// Start runs n nodes; redis is the address of Redis, empty for one node alone. ours are further flags for our gateways.
func (c *Contestant) Start(b Binaries, n int, redis string, ours ...string) (*Cluster, error) {
	return c.start(b, n, redis, ours)
}

// gateways runs our gateways as a person would, but for the limits that a benchmark is to get past.
func gateways(program string) func(Binaries, int, string, []string) (*Cluster, error) {
	return func(b Binaries, n int, redis string, more []string) (*Cluster, error) {
		backplane := "memory://"
		if redis != "" {
			backplane = "redis://" + redis
		}
		binary := program
		if binary == "" {
			binary = b.path("gateway")
		}
		return launch(n, func(i int, address string) (string, string, []string, error) {
			ops, err := process.FreeAddress()
			return ops, binary, append([]string{
				"--listen=" + address, "--ops-listen=" + ops, "--api-listen=", "--backplane=" + backplane, "--cluster=bench", "--node=gateway-" + strconv.Itoa(i),
				"--auth=trusted", "--max-connections=100000", "--messages-per-second=0", "--connects-per-second=0", "--log-level=warn",
			}, more...), err
		})
	}
}

// plain runs a server that takes -listen and -redis.
func plain(name string) func(Binaries, int, string, []string) (*Cluster, error) {
	return func(b Binaries, n int, redis string, _ []string) (*Cluster, error) {
		return launch(n, func(_ int, address string) (string, string, []string, error) {
			args := []string{"-listen=" + address}
			if redis != "" {
				args = append(args, "-redis="+redis)
			}
			return "", b.path(name), args, nil
		})
	}
}

// startNATS joins the nodes by routes: the full mesh builds itself from the first.
func startNATS(b Binaries, n int, _ string, _ []string) (*Cluster, error) {
	first := ""
	return launch(n, func(_ int, address string) (string, string, []string, error) {
		args := []string{"-listen=" + address}
		if n > 1 {
			cluster, err := process.FreeAddress()
			if err != nil {
				return "", "", nil, err
			}
			args = append(args, "-cluster="+cluster)
			if first == "" {
				first = cluster
			} else {
				args = append(args, "-route="+first)
			}
		}
		return "", b.path("nats"), args, nil
	})
}

// launch starts n processes, one after the other.
func launch(n int, command func(i int, address string) (ops, program string, args []string, err error)) (*Cluster, error) {
	c := &Cluster{}
	for i := range n {
		address, err := process.FreeAddress()
		if err != nil {
			c.Stop()
			return nil, err
		}
		ops, program, args, err := command(i, address)
		if err != nil {
			c.Stop()
			return nil, err
		}
		p, err := process.Start(address, program, args...)
		if err != nil {
			c.Stop()
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		c.URLs = append(c.URLs, "ws://"+address+"/ws")
		c.Processes = append(c.Processes, p)
		if ops != "" {
			c.Ops = append(c.Ops, ops)
		}
	}
	return c, nil
}
