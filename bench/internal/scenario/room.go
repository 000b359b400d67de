package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// Room is one room with many members on one node, and a number of messages outstanding.
func Room() Scenario {
	return Scenario{
		Name: "room", Title: "room of 2,000", Fits: func(*contestant.Contestant) bool { return true },
		Prepare: func(ctx context.Context, e *Env) (Session, error) {
			d, err := e.deploy(1, false)
			if err != nil {
				return nil, err
			}
			o := e.options(d.Cluster)
			o.Publishers, o.Subscribers = 1, e.size(2000, 50)-1
			return e.load(ctx, d, o, func(ctx context.Context, s *loaded) (values []Value, err error) {
				for _, outstanding := range []int{1, 8, 64} {
					v, err := s.outstanding(ctx, outstanding)
					if err != nil {
						return nil, fmt.Errorf("%d outstanding: %w", outstanding, err)
					}
					values = append(values, v...)
				}
				return values, nil
			})
		},
	}
}

// outstanding measures one number of messages under way.
func (s *loaded) outstanding(ctx context.Context, n int) ([]Value, error) {
	if _, err := publish(ctx, s.generator, bench.Load{Outstanding: n, Duration: s.duration(100 * time.Millisecond)}); err != nil {
		return nil, err
	}
	length := s.duration(time.Second)
	stop := s.profile(s.Cluster, fmt.Sprintf("room-%d", n), length)
	defer stop()
	c, err := startCost(s.Processes...)
	if err != nil {
		return nil, err
	}
	phase, err := publish(ctx, s.generator, bench.Load{Outstanding: n, Duration: length})
	if err != nil {
		return nil, err
	}
	micros, err := c.per(phase.Delivered)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%d outstanding", n)
	return []Value{
		{name, "µs a delivery", micros},
		{name + ", p50", "ms", phase.Latency.P50},
		{name + ", p99", "ms", phase.Latency.P99},
		{name + ", rate", "deliveries/s", phase.DeliveredPerSecond},
	}, complete(phase)
}
