package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// Outage has Redis away for two seconds under load, killed and started anew, with 10,000 rooms subscribed on two nodes.
func Outage() Scenario {
	return Scenario{
		Name: "outage", Title: "Redis away for 2 s, 10,000 rooms", Fits: func(c *contestant.Contestant) bool { return c.Redis },
		Alone: true, // Redis is broken for one at a time
		Prepare: func(ctx context.Context, e *Env) (Session, error) {
			d, err := e.deploy(2, true, "--config="+e.PublishAnyone, "--max-rooms-per-connection=1000")
			if err != nil {
				return nil, err
			}
			o := e.options(d.Cluster)
			o.Check = true
			o.Rooms = e.size(10_000, 200)
			o.Subscribers = 1_000
			o.RoomsPerSubscriber = max(1, o.Rooms*2/o.Subscribers) // two members a room
			o.Publishers = 20
			o.PublishersStayOut = true
			o.StayClosed = false
			o.FaultMargin = 2 * time.Second
			return e.load(ctx, d, o, outage)
		},
	}
}

const (
	outageRate   = 2000
	outageBefore = 2 * time.Second
	outageLength = 2 * time.Second
	outageAfter  = 4 * time.Second
)

func outage(ctx context.Context, s *loaded) ([]Value, error) {
	before, length, after := outageBefore, outageLength, outageAfter
	if s.Short {
		before, length, after = 500*time.Millisecond, 500*time.Millisecond, 3*time.Second
	}
	begin := time.Now()
	back := make(chan time.Duration, 1)
	failed := make(chan error, 1)
	go func() {
		time.Sleep(before)
		s.redis.Stop()
		time.Sleep(length)
		again, _, err := redisAt(s.address)
		if err != nil {
			failed <- err
			return
		}
		s.redis = again
		back <- time.Since(begin)
	}()
	phase, err := publish(ctx, s.generator, bench.Load{Rate: outageRate, Duration: before + length + after, Grace: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	var backAt time.Duration
	select {
	case backAt = <-back:
	case err := <-failed:
		return nil, err
	}
	first, full, ok := recovered(phase.Timeline(), before, backAt)
	if !ok {
		return nil, fmt.Errorf("deliveries did not come back within %v", after)
	}
	r := s.generator.Report(phase)
	closed := uint64(0)
	for _, n := range r.Closes {
		closed += n
	}
	return []Value{
		{"first delivery after it is back", "s", first.Seconds()},
		{"all deliveries after it is back", "s", full.Seconds()},
		{"clients closed", "of 1,020", float64(closed)},
		{"acked and not delivered", "deliveries", float64(r.Check.Lost + r.Check.InFlight + r.Check.Away)},
		{"publishes refused or unanswered", "messages", float64(phase.Published - phase.Acked)},
	}, nil
}

// recovered finds in a timeline of deliveries when they began again after back, and when they were at nine tenths of what they
// were before the fault, over a tenth of a second.
func recovered(timeline []uint32, fault, back time.Duration) (first, full time.Duration, ok bool) {
	step := func(d time.Duration) int { return int(d / bench.TimelineStep) }
	sum := func(from, to int) (n uint32) {
		for _, x := range timeline[min(from, len(timeline)):min(to, len(timeline))] {
			n += x
		}
		return n
	}
	window := step(100 * time.Millisecond)
	usual := float64(sum(step(fault)/2, step(fault))) / float64(step(fault)-step(fault)/2) * float64(window)
	first = -1
	for i := step(back); i+window <= len(timeline); i++ {
		if first < 0 && timeline[i] > 0 {
			first = max(0, time.Duration(i)*bench.TimelineStep-back)
		}
		if first >= 0 && float64(sum(i, i+window)) >= 0.9*usual {
			return first, max(0, time.Duration(i)*bench.TimelineStep-back), true
		}
	}
	return 0, 0, false
}
