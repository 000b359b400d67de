// Package scenario runs the rows of the comparison: it starts one contestant, loads it with the generator, and divides the CPU
// time of its processes by what they did. It says nothing about how numbers are shown.
package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/bench"

	"github.com/wscluster/wscluster/bench/internal/contestant"
	"github.com/wscluster/wscluster/bench/internal/process"
)

// Scenario is one set-up that yields one or more values.
type Scenario struct {
	// Name is a word for the command line. Scenarios of one name are measured in turn, round by round.
	Name string
	// Title is what is done, for the table, and Metric what is measured if that is one thing only.
	Title, Metric string
	// Fits tells which contestants can take part.
	Fits func(*contestant.Contestant) bool
	// Alone is true if the contestants cannot all be kept running at once: then each is prepared anew for each round.
	Alone bool
	// Once is true if one round says enough.
	Once bool
	// Prepare starts a contestant and connects its clients.
	Prepare func(ctx context.Context, e *Env) (Session, error)
}

// Session is one contestant, ready to be measured.
type Session interface {
	// Measure measures once; it takes a few seconds.
	Measure(ctx context.Context) ([]Value, error)
	Close()
}

// measure is what a session does.
type measure func(ctx context.Context, s *loaded) ([]Value, error)

// loaded is a session with running nodes and connected clients.
type loaded struct {
	*Env
	*deployment
	generator *bench.Generator
	measure   measure
}

func (s *loaded) Measure(ctx context.Context) ([]Value, error) { return s.measure(ctx, s) }

// Close ends the servers first: clients that are cut need no closing handshake.
func (s *loaded) Close() {
	s.deployment.stop()
	s.generator.Close()
}

// load connects the clients of o to d, and closes d if they cannot all join.
func (e *Env) load(ctx context.Context, d *deployment, o bench.Options, m measure) (Session, error) {
	g, err := connect(ctx, o)
	if err != nil {
		d.stop()
		return nil, err
	}
	return &loaded{e, d, g, m}, nil
}

// Env is what a scenario runs with.
type Env struct {
	Contestant *contestant.Contestant
	Binaries   contestant.Binaries
	// Short makes everything small: it shows that all of it works, and measures nothing.
	Short bool
	// Profile, if set, is a folder for CPU profiles of our gateways.
	Profile string
	// PublishAnyone is a settings file for our gateways: who is not in a room may publish to it.
	PublishAnyone string
}

// Value is one number of one run.
type Value struct {
	// Metric names it, the same for all contestants and rounds.
	Metric string
	Unit   string
	V      float64
}

// size returns n, or less in a short run.
func (e *Env) size(n, short int) int {
	if e.Short {
		return short
	}
	return n
}

// duration is how long a load lasts.
func (e *Env) duration(d time.Duration) time.Duration {
	if e.Short {
		return 300 * time.Millisecond
	}
	return d
}

// options are those that every scenario starts from.
func (e *Env) options(c *contestant.Cluster) bench.Options {
	o := bench.Options{URLs: c.URLs, ConnectRate: 100_000, StayClosed: true, RoomPrefix: "bench-"}
	if e.Contestant.Dialect != nil {
		o.Dialect = e.Contestant.Dialect()
	}
	return o
}

// connectTimeout bounds the connecting of all clients.
const connectTimeout = 3 * time.Minute

// connect makes a generator whose clients are all in their rooms.
func connect(ctx context.Context, o bench.Options) (*bench.Generator, error) {
	g, err := bench.New(o)
	if err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := g.Connect(limit); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// cost is the CPU time of some processes since it was made.
type cost struct {
	processes []*process.Process
	before    time.Duration
}

func startCost(processes ...*process.Process) (*cost, error) {
	c := &cost{processes: processes}
	var err error
	c.before, err = c.sum()
	return c, err
}

func (c *cost) sum() (total time.Duration, err error) {
	for _, p := range c.processes {
		d, err := p.CPU()
		if err != nil {
			return 0, err
		}
		total += d
	}
	return total, nil
}

// per returns the microseconds of CPU for each of n.
func (c *cost) per(n uint64) (float64, error) {
	now, err := c.sum()
	if err != nil || n == 0 {
		return 0, err
	}
	return float64(now-c.before) / float64(time.Microsecond) / float64(n), nil
}

// publish runs a load and makes sure that it was carried.
func publish(ctx context.Context, g *bench.Generator, l bench.Load) (*bench.Phase, error) {
	phase, err := g.Publish(ctx, l)
	if err != nil {
		return nil, err
	}
	if phase.Delivered == 0 {
		return nil, fmt.Errorf("nothing was delivered of %d messages", phase.Published)
	}
	return phase, nil
}

// complete refuses a measurement of a server that did not do its work.
func complete(phase *bench.Phase) error {
	if missing := int64(phase.Expected) - int64(phase.Delivered); missing > int64(phase.Expected/100) {
		return fmt.Errorf("%d of %d deliveries did not come: this is no measure of its work", missing, phase.Expected)
	}
	return nil
}
