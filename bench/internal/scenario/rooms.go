package scenario

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/contestant"
	"github.com/wscluster/wscluster/bench/internal/process"
)

// startRedis runs a redis-server of its own, in memory.
func startRedis() (*process.Process, string, error) {
	address, err := process.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	return redisAt(address)
}

func redisAt(address string) (*process.Process, string, error) {
	port := address[len("127.0.0.1:"):]
	p, err := process.Start(address, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
	if err != nil {
		return nil, "", fmt.Errorf("%w (apt-get install redis-server brings it)", err)
	}
	return p, address, nil
}

// deployment is the running nodes and, for those that need it, their Redis.
type deployment struct {
	*contestant.Cluster
	redis   *process.Process // nil: none
	address string
}

// deploy starts the nodes, with a Redis if it is asked for and the contestant knows what to do with it.
func (e *Env) deploy(nodes int, redis bool, ours ...string) (*deployment, error) {
	d := &deployment{}
	var err error
	if redis && e.Contestant.Redis {
		if d.redis, d.address, err = startRedis(); err != nil {
			return nil, err
		}
	}
	if d.Cluster, err = e.Contestant.Start(e.Binaries, nodes, d.address, ours...); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *deployment) stop() {
	if d.Cluster != nil {
		d.Cluster.Stop()
	}
	if d.redis != nil {
		d.redis.Stop()
	}
}

// Rooms is many small rooms over two nodes: each room has members on both.
func Rooms() Scenario {
	return Scenario{
		Name: "rooms", Title: "200 rooms of 10 over two nodes", Fits: func(c *contestant.Contestant) bool { return c.Nodes },
		Prepare: func(ctx context.Context, e *Env) (Session, error) {
			d, err := e.deploy(2, true)
			if err != nil {
				return nil, err
			}
			o := e.options(d.Cluster)
			o.Rooms = e.size(200, 10)
			o.Publishers, o.Subscribers = o.Rooms, 9*o.Rooms
			o.URLs = inBlocks(d.URLs, o.Rooms)
			return e.load(ctx, d, o, func(ctx context.Context, s *loaded) (values []Value, err error) {
				for _, rate := range []int{500, 2000} {
					v, err := s.rate(ctx, rate)
					if err != nil {
						return nil, fmt.Errorf("%d messages a second: %w", rate, err)
					}
					values = append(values, v...)
				}
				return values, nil
			})
		},
	}
}

// inBlocks lists the addresses so that, dealt out in turn, each of n rooms gets clients on all of them: the j-th client of a room
// is number j·n and something, and with the plain list all of those would be on one node whenever n is a multiple of its length.
func inBlocks(urls []string, n int) []string {
	list := make([]string, 0, n*len(urls))
	for i := range urls {
		for j := range n {
			list = append(list, urls[(i+j)%len(urls)])
		}
	}
	return list
}

// rate measures one rate of messages.
func (s *loaded) rate(ctx context.Context, rate int) ([]Value, error) {
	if _, err := publish(ctx, s.generator, bench.Load{Rate: float64(rate), Duration: s.duration(200 * time.Millisecond)}); err != nil {
		return nil, err
	}
	length := s.duration(2 * time.Second)
	stop := s.profile(s.Cluster, "rooms-"+strconv.Itoa(rate), length)
	defer stop()
	c, err := startCost(s.Processes...)
	if err != nil {
		return nil, err
	}
	var broker *cost
	if s.redis != nil {
		if broker, err = startCost(s.redis); err != nil {
			return nil, err
		}
	}
	phase, err := publish(ctx, s.generator, bench.Load{Rate: float64(rate), Duration: length, Grace: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	micros, err := c.per(phase.Delivered)
	if err != nil {
		return nil, err
	}
	name := strconv.Itoa(rate) + " messages/s"
	values := []Value{{name, "µs a delivery", micros}, {name + ", p50", "ms", phase.Latency.P50}, {name + ", p99", "ms", phase.Latency.P99}}
	if broker != nil {
		micros, err := broker.per(phase.Published)
		if err != nil {
			return nil, err
		}
		values = append(values, Value{name + ", Redis", "µs a message", micros})
	}
	return values, complete(phase)
}
