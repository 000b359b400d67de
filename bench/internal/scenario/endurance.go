package scenario

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wscluster/wscluster/pkg/bench"
)

// enduranceRooms is how many rooms of 10 clients there are: 2,000, or as many hundreds as one process may have files for.
func enduranceRooms() int {
	const wanted, spare = 2000, 400
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max >= wanted*10+spare {
		return wanted
	}
	return max(0, int(limit.Max)-spare) / 1000 * 100
}

// Endurance is two hours' traffic, 100 messages a second, as fast as it goes, to rooms of 10 on one node. Memory must not grow, and
// collecting garbage must not be felt.
func Endurance() Scenario {
	rooms := enduranceRooms()
	return Scenario{
		Name: "endurance", Title: fmt.Sprintf("%d,000 connections in rooms of 10, 720,000 messages", rooms/100), Fits: ours, Alone: true, Once: true,
		Prepare: func(ctx context.Context, e *Env) (Session, error) {
			d, err := e.deploy(1, true)
			if err != nil {
				return nil, err
			}
			o := e.options(d.Cluster)
			o.Rooms = e.size(rooms, 20)
			o.Publishers, o.Subscribers = o.Rooms, 9*o.Rooms
			return e.load(ctx, d, o, endurance)
		},
	}
}

func endurance(ctx context.Context, s *loaded) ([]Value, error) {
	const parts = 6 // the heap reaches the size that it keeps in the second
	load := bench.Load{Outstanding: 32, Messages: s.size(120_000, 600), Duration: time.Minute, Grace: 5 * time.Second}
	begin := time.Now()
	server := s.Processes[0]
	before, err := s.garbage(ctx)
	if err != nil {
		return nil, err
	}
	c, err := startCost(server)
	if err != nil {
		return nil, err
	}
	var resident []float64
	var delivered uint64
	for range parts {
		phase, err := publish(ctx, s.generator, load)
		if err != nil {
			return nil, err
		}
		if err := complete(phase); err != nil {
			return nil, err
		}
		delivered += phase.Delivered
		rss, err := server.RSS()
		if err != nil {
			return nil, err
		}
		resident = append(resident, float64(rss)/1e6)
	}
	micros, err := c.per(delivered)
	if err != nil {
		return nil, err
	}
	used, err := c.per(1)
	if err != nil {
		return nil, err
	}
	after, err := s.garbage(ctx)
	if err != nil {
		return nil, err
	}
	return []Value{
		{"memory after a half", "MB resident", resident[parts/2-1]},
		{"memory at the end", "MB resident", resident[parts-1]},
		{"CPU", "µs a delivery", micros},
		{"garbage collections", "a minute", (after.collections - before.collections) / time.Since(begin).Minutes()},
		{"garbage collection", "% of the CPU time", (after.seconds - before.seconds) * 1e6 / used * 100},
		{"longest pause for one, ever", "ms", after.longest * 1000},
	}, nil
}

// garbage is what the Go runtime says of its collector: how often it ran, the CPU time that it took, and the longest time that it
// stopped everything for, in seconds.
type garbage struct{ collections, seconds, longest float64 }

// garbage reads a gateway's metrics.
func (s *loaded) garbage(ctx context.Context) (g garbage, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Ops[0]+"/metrics", http.NoBody)
	if err != nil {
		return g, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return g, err
	}
	defer response.Body.Close()
	wanted := map[string]*float64{
		"go_gc_duration_seconds_count":              &g.collections,
		"go_cpu_classes_gc_total_cpu_seconds_total": &g.seconds,
		`go_gc_duration_seconds{quantile="1"}`:      &g.longest,
	}
	found := 0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if field := wanted[name]; field != nil {
			if *field, err = strconv.ParseFloat(value, 64); err != nil {
				return g, err
			}
			found++
		}
	}
	if found != len(wanted) {
		return g, fmt.Errorf("the gateway's metrics have %d of %d values about garbage", found, len(wanted))
	}
	return g, nil
}
