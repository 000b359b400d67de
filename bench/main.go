// Command bench compares the gateway with other servers on the same work in one run, by what each costs: see docs/performance.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/wscluster/wscluster/bench/internal/contestant"
	"github.com/wscluster/wscluster/bench/internal/report"
	"github.com/wscluster/wscluster/bench/internal/scenario"
)

func main() {
	var (
		binaries = flag.String("bin", "", "folder with the built servers")
		rounds   = flag.Int("rounds", 3, "how often everything is measured; the rounds are interleaved")
		rows     = flag.String("run", ".", "regular expression: the scenarios to run")
		names    = flag.String("only", "", "comma list of contestants; empty: all")
		short    = flag.Bool("short", false, "run everything small, once: shows that it works, measures nothing")
		profiles = flag.String("profile", "", "folder for CPU profiles of our gateways")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	want, err := regexp.Compile(*rows)
	if err != nil {
		fmt.Fprintln(os.Stderr, "-run:", err)
		os.Exit(2)
	}
	if *short {
		*rounds = 1
	}
	results := report.New(*rounds)
	for _, sc := range scenario.All() {
		if !want.MatchString(sc.Name) {
			continue
		}
		var envs []*scenario.Env
		for _, c := range contestant.All() {
			if sc.Fits(&c) && (*names == "" || strings.Contains(","+*names+",", ","+c.Name+",")) {
				envs = append(envs, &scenario.Env{Contestant: &c, Binaries: contestant.Binaries(*binaries), Short: *short, Profile: *profiles})
			}
		}
		rounds := *rounds
		if sc.Alone {
			rounds = min(rounds, 2)
		}
		run(ctx, &sc, envs, rounds, results)
	}
	results.Text(os.Stdout)
}

// run measures all contestants in one scenario, one after the other in each round, so that what else the machine does hits
// all of them alike.
func run(ctx context.Context, sc *scenario.Scenario, envs []*scenario.Env, rounds int, results *report.Results) {
	sessions := make([]scenario.Session, len(envs))
	closeAll := func() {
		for i, s := range sessions {
			if s != nil {
				s.Close()
				sessions[i] = nil
			}
		}
	}
	defer closeAll()
	failed := make([]bool, len(envs))
	for round := range rounds {
		for i, e := range envs {
			if failed[i] || ctx.Err() != nil {
				continue
			}
			var values []scenario.Value
			var err error
			if sessions[i] == nil {
				sessions[i], err = sc.Prepare(ctx, e)
			}
			if err == nil {
				values, err = sessions[i].Measure(ctx)
			}
			if err != nil {
				failed[i] = true
				fmt.Fprintf(os.Stderr, "%s, %s: %v\n", sc.Name, e.Contestant.Name, err)
			}
			results.Add(sc, e.Contestant, round, values, err)
			if sc.Alone {
				closeAll()
			}
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", sc.Name, round+1, rounds)
	}
}
