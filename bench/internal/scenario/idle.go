package scenario

import (
	"context"
	"time"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// Idle is many connections that have joined a room and say nothing. Pings are on.
func Idle() Scenario {
	return Scenario{
		Name: "idle", Title: "18,000 idle connections in one room", Fits: func(*contestant.Contestant) bool { return true },
		Alone: true, // the connections of one contestant are as many as a process may have files
		Once:  true, // so many of one kind are a mean by themselves
		Prepare: func(_ context.Context, e *Env) (Session, error) {
			d, err := e.deploy(1, false)
			if err != nil {
				return nil, err
			}
			return &idle{e, d}, nil
		},
	}
}

// idle is a session whose measure includes connecting.
type idle struct {
	*Env
	*deployment
}

func (s *idle) Close() { s.deployment.stop() }

func (s *idle) Measure(ctx context.Context) ([]Value, error) {
	server := s.Processes[0]
	empty, err := server.RSS()
	if err != nil {
		return nil, err
	}
	o := s.options(s.Cluster)
	o.Publishers, o.Subscribers = 0, s.size(18_000, 500)
	stop := s.profile(s.Cluster, "connect", s.duration(5*time.Second))
	c, err := startCost(server)
	if err != nil {
		return nil, err
	}
	g, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		server.Stop() // clients that are cut need no closing handshake
		g.Close()
	}()
	connecting, err := c.per(uint64(o.Subscribers))
	if err != nil {
		return nil, err
	}
	stop()
	// Pings come every 25 s: they must be in the measure, and the memory of the handshakes be given back before it.
	settle, watch := 20*time.Second, 25*time.Second
	if s.Short {
		settle, watch = 100*time.Millisecond, 200*time.Millisecond
	}
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	if c, err = startCost(server); err != nil {
		return nil, err
	}
	if err := sleep(ctx, watch); err != nil {
		return nil, err
	}
	used, err := c.per(1)
	if err != nil {
		return nil, err
	}
	full, err := server.RSS()
	if err != nil {
		return nil, err
	}
	return []Value{
		{"connect and join", "µs of CPU", connecting},
		{"memory", "KB a connection", float64(full-empty) / float64(o.Subscribers) / 1000},
		{"process", "MB resident", float64(full) / 1e6},
		{"idle", "% of a core", used / float64(watch.Microseconds()) * 100},
	}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
