package scenario

import (
	"context"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// Elsewhere is messages to rooms that have no member on one of two nodes: what that node pays for them. All clients are on the
// first node, the second has as many clients in a room of their own, in which nothing is said.
func Elsewhere() Scenario {
	return Scenario{
		Name: "elsewhere", Title: "2,000 messages/s to rooms with no member on this pod", Fits: func(c *contestant.Contestant) bool { return c.Nodes },
		Prepare: func(ctx context.Context, e *Env) (Session, error) {
			d, err := e.deploy(2, true)
			if err != nil {
				return nil, err
			}
			quiet := e.options(d.Cluster)
			quiet.URLs, quiet.RoomPrefix = d.URLs[1:], "quiet-"
			quiet.Subscribers = e.size(200, 10)
			bystanders, err := connect(ctx, quiet)
			if err != nil {
				d.stop()
				return nil, err
			}
			o := e.options(d.Cluster)
			o.URLs = d.URLs[:1]
			o.Rooms = e.size(200, 10)
			o.Publishers, o.Subscribers = o.Rooms, o.Rooms
			s, err := e.load(ctx, d, o, elsewhere)
			if err != nil {
				bystanders.Close()
				return nil, err
			}
			return &withBystanders{s, bystanders}, nil
		},
	}
}

// withBystanders is a session with further clients that take no part.
type withBystanders struct {
	Session
	bystanders *bench.Generator
}

func (s *withBystanders) Close() {
	s.Session.Close()
	s.bystanders.Close()
}

func elsewhere(ctx context.Context, s *loaded) ([]Value, error) {
	other := s.Processes[1]
	length := s.duration(2 * time.Second)
	// What the pod uses with nothing going on is not the messages' fault.
	idle, err := startCost(other)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, length); err != nil {
		return nil, err
	}
	resting, err := idle.per(1)
	if err != nil {
		return nil, err
	}
	busy, err := startCost(other)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	phase, err := publish(ctx, s.generator, bench.Load{Rate: 2000, Duration: length})
	if err != nil {
		return nil, err
	}
	used, err := busy.per(1)
	if err != nil {
		return nil, err
	}
	used -= resting * float64(time.Since(begin)) / float64(length)
	return []Value{{"the pod without members", "µs a message", max(0, used) / float64(phase.Published)}}, complete(phase)
}
