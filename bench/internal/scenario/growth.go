package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// ours says that a scenario is about our own growth, not a comparison; the bare loop has no rooms and no nodes.
func ours(c *contestant.Contestant) bool { return c.Name == "wscluster" }

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
	for _, bytes := range []int{128, 1024, 4096} {
		list = append(list, growth("bytes", fmt.Sprintf("%d bytes", bytes), func(ctx context.Context, e *Env) (Session, error) {
			return e.manyBytes(ctx, bytes)
		}))
	}
	return list
}

func growth(name, metric string, prepare func(context.Context, *Env) (Session, error)) Scenario {
	return Scenario{
		Name: "growth-" + name, Title: "growth: " + name, Fits: ours, Metric: metric, Prepare: prepare,
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
	return e.load(ctx, d, o, perDelivery)
}

// manyPods has 200 rooms of 10 with members on up to as many pods as there are members; all publishers are on one.
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
	return e.load(ctx, d, o, perDelivery)
}

func (e *Env) manyBytes(ctx context.Context, bytes int) (Session, error) {
	d, err := e.deploy(2, true)
	if err != nil {
		return nil, err
	}
	o := e.options(d.Cluster)
	o.Rooms = e.size(200, 10)
	o.Publishers, o.Subscribers = o.Rooms, 9*o.Rooms
	o.URLs = inBlocks(d.URLs, o.Rooms)
	o.PayloadBytes = bytes
	return e.load(ctx, d, o, perDelivery)
}

// perDelivery measures growthRate.
func perDelivery(s *loaded, ctx context.Context) ([]Value, error) {
	if _, err := publish(ctx, s.generator, bench.Load{Rate: growthRate, Duration: s.duration(200 * time.Millisecond)}); err != nil {
		return nil, err
	}
	c, err := startCost(s.Processes...)
	if err != nil {
		return nil, err
	}
	phase, err := publish(ctx, s.generator, bench.Load{Rate: growthRate, Duration: s.duration(2 * time.Second), Grace: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	micros, err := c.per(phase.Delivered)
	if err != nil {
		return nil, err
	}
	return []Value{{"", "µs a delivery", micros}}, complete(phase)
}
