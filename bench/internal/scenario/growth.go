package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// ours says that a scenario is about our own growth, not a comparison.
func ours(c *contestant.Contestant) bool { return c.Ours }

// growthRate is the messages a second of the growth scenarios: what is varied must be the only difference.
const growthRate = 500

// Growth measures what a delivery costs while one thing grows: rooms, pods, or the size of a message.
func Growth() []Scenario {
	list := []Scenario{}
	for _, rooms := range []int{100, 1_000, 10_000, 100_000} {
		list = append(list, growth("rooms", fmt.Sprintf("%d rooms", rooms), func(ctx context.Context, e *Env) (Session, error) {
			return e.manyRooms(ctx, rooms)
		}))
	}
	for _, pods := range []int{1, 2, 4, 8} {
		list = append(list, growth("pods", fmt.Sprintf("%d pods", pods), func(ctx context.Context, e *Env) (Session, error) {
			return e.manyPods(ctx, pods)
		}))
	}
	for _, pods := range []int{1, 2, 4, 8} {
		list = append(list, growth("load", fmt.Sprintf("%d × 10 members on %d pods", pods, pods), func(ctx context.Context, e *Env) (Session, error) {
			return e.manyMembers(ctx, pods)
		}))
	}
	for _, bytes := range []int{128, 1024, 4096} {
		sc := growth("bytes", fmt.Sprintf("%d bytes", bytes), func(ctx context.Context, e *Env) (Session, error) {
			return e.manyBytes(ctx, bytes)
		})
		sc.Fits = func(c *contestant.Contestant) bool { return ours(c) || c.Name == "bare" }
		list = append(list, sc)
	}
	return list
}

var growthTitles = map[string]string{
	"rooms": "growth: rooms of 10 on two nodes",
	"pods":  "growth: the same rooms of 10, spread over more pods",
	"load":  "growth: 50 rooms with 10 members on each pod",
	"bytes": "growth: room of 200, 1 outstanding",
}

func growth(name, metric string, prepare func(context.Context, *Env) (Session, error)) Scenario {
	return Scenario{
		Name: "growth-" + name, Title: growthTitles[name], Fits: ours, Metric: metric, Prepare: prepare,
	}
}

// manyRooms has the same 1,000 members and rooms of 10 always; with more rooms each member is in more of them. Publishers are not
// members: one that is in a thousand rooms would be another thing that grows.
func (e *Env) manyRooms(ctx context.Context, rooms int) (Session, error) {
	d, err := e.deploy(2, true, "--config="+e.PublishAnyone, "--max-rooms-per-connection=1000")
	if err != nil {
		return nil, err
	}
	o := e.options(d.Cluster)
	o.Rooms = min(rooms, e.size(rooms, 1_000))
	o.Publishers, o.PublishersStayOut = 50, true
	o.Subscribers = 1_000
	o.RoomsPerSubscriber = o.Rooms * 10 / o.Subscribers
	return e.load(ctx, d, o, atGrowthRate)
}

// manyPods has 200 rooms of 10 with members on as many pods as they can be on: the dear case, since each pod has to receive each
// message for one or two members.
func (e *Env) manyPods(ctx context.Context, pods int) (Session, error) {
	pods = min(pods, e.size(pods, 2))
	d, err := e.deploy(pods, true)
	if err != nil {
		return nil, err
	}
	o := e.options(d.Cluster)
	o.Rooms = e.size(200, 10)
	o.Publishers, o.Subscribers = o.Rooms, 9*o.Rooms
	o.URLs = inBlocks(d.URLs, o.Rooms)
	return e.load(ctx, d, o, atGrowthRate)
}

// manyMembers grows as a service does: with the pods come the members, so that each pod has as many of a room as ever.
func (e *Env) manyMembers(ctx context.Context, pods int) (Session, error) {
	pods = min(pods, e.size(pods, 2))
	d, err := e.deploy(pods, true)
	if err != nil {
		return nil, err
	}
	o := e.options(d.Cluster)
	o.Rooms = e.size(50, 10)
	o.Publishers, o.Subscribers = o.Rooms, (10*pods-1)*o.Rooms
	o.URLs = inBlocks(d.URLs, o.Rooms)
	return e.load(ctx, d, o, atGrowthRate)
}

// manyBytes is one room of 200 on one node with larger and larger messages. The bare loop does the same: what it pays more is the
// price of the copies in the kernel, which nobody can do without.
func (e *Env) manyBytes(ctx context.Context, bytes int) (Session, error) {
	d, err := e.deploy(1, false)
	if err != nil {
		return nil, err
	}
	o := e.options(d.Cluster)
	o.Publishers, o.Subscribers = 1, e.size(200, 20)-1
	o.PayloadBytes = bytes
	return e.load(ctx, d, o, func(ctx context.Context, s *loaded) ([]Value, error) {
		return s.perDelivery(ctx, bench.Load{Outstanding: 1, Duration: s.duration(time.Second)})
	})
}

// atGrowthRate measures the rate that all growth scenarios over Redis have.
func atGrowthRate(ctx context.Context, s *loaded) ([]Value, error) {
	return s.perDelivery(ctx, bench.Load{Rate: growthRate, Duration: s.duration(2 * time.Second), Grace: 2 * time.Second})
}

// perDelivery measures one load after a short one of the same kind.
func (s *loaded) perDelivery(ctx context.Context, l bench.Load) ([]Value, error) {
	if err := s.warm(ctx, l); err != nil {
		return nil, err
	}
	values, _, err := s.deliveries(ctx, l)
	return values, err
}

func (s *loaded) warm(ctx context.Context, l bench.Load) error {
	l.Duration = s.duration(200 * time.Millisecond)
	_, err := publish(ctx, s.generator, l)
	return err
}

// deliveries measures one load.
func (s *loaded) deliveries(ctx context.Context, l bench.Load) ([]Value, *bench.Phase, error) {
	c, err := startCost(s.Processes...)
	if err != nil {
		return nil, nil, err
	}
	phase, err := publish(ctx, s.generator, l)
	if err != nil {
		return nil, nil, err
	}
	micros, err := c.per(phase.Delivered)
	if err != nil {
		return nil, nil, err
	}
	return []Value{{"", "µs a delivery", micros}}, phase, complete(phase)
}
