// Command bench compares the gateway with other servers on the same work in one run, by what each costs: see docs/performance.md.
package main

import (
	"context"
	"errors"
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

func main() { os.Exit(compare()) }

// compare runs everything and returns the exit status.
func compare() int {
	var (
		binaries = flag.String("bin", "", "folder with the built servers")
		rounds   = flag.Int("rounds", 3, "how often everything is measured; the rounds are interleaved")
		rows     = flag.String("run", ".", "regular expression: the scenarios to run")
		names    = flag.String("only", "", "comma list of contestants; empty: all")
		short    = flag.Bool("short", false, "run everything small, once: shows that it works, measures nothing")
		profiles = flag.String("profile", "", "folder for CPU profiles of our gateways")
		base     = flag.String("base", "", "another build of our gateway, measured beside this one")
		document = flag.String("docs", "", "document that gets the table and the chart, if everything was run")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	want, err := regexp.Compile(*rows)
	if err != nil {
		fmt.Fprintln(os.Stderr, "-run:", err)
		return 2
	}
	if *short {
		*rounds = 1
	}
	machine := report.Machine()
	results := report.New(*rounds)
	anyone, err := writePolicy()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.Remove(anyone)
	contestants := contestant.All()
	if *base != "" {
		contestants = append(contestants, contestant.Base(*base))
	}
	var entries []entry
	for _, sc := range scenario.All() {
		if !want.MatchString(sc.Name) {
			continue
		}
		if len(entries) > 0 && entries[0].scenario.Name != sc.Name {
			run(ctx, entries, *rounds, results)
			entries = nil
		}
		for _, c := range contestants {
			if sc.Fits(&c) && (*names == "" || strings.Contains(","+*names+",", ","+c.Name+",")) {
				entries = append(entries, entry{&sc, &scenario.Env{
					Contestant: &c, Binaries: contestant.Binaries(*binaries), Short: *short, Profile: *profiles, PublishAnyone: anyone,
				}})
			}
		}
	}
	run(ctx, entries, *rounds, results)
	results.Text(os.Stdout)
	status := 0
	if failures > 0 {
		fmt.Fprintf(os.Stderr, "%d measurements failed: their cells are empty\n", failures)
		status = 1
	}
	switch {
	case *short || ctx.Err() != nil:
	case *document == "" || *rows != "." || *names != "":
		fmt.Println(results.Markdown(machine, ""))
	default:
		if err := results.Write(*document, machine); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("written into", *document)
	}
	return status
}

// failures counts scenarios that could not be measured.
var failures int

// writePolicy writes settings that let everybody publish everywhere.
func writePolicy() (string, error) {
	f, err := os.CreateTemp("", "bench-*.yaml")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString("rooms:\n  - match: \"*\"\n    join: anyone\n    publish: anyone\n")
	return f.Name(), errors.Join(err, f.Close())
}

// entry is one contestant in one scenario.
type entry struct {
	scenario *scenario.Scenario
	env      *scenario.Env
}

// run measures all entries, one after the other in each round, so that what else the machine does hits all of them alike.
func run(ctx context.Context, entries []entry, rounds int, results *report.Results) {
	sessions := make([]scenario.Session, len(entries))
	closeSession := func(i int) {
		if sessions[i] != nil {
			sessions[i].Close()
			sessions[i] = nil
		}
	}
	defer func() {
		for i := range sessions {
			closeSession(i)
		}
	}()
	failed := make([]bool, len(entries))
	for round := range rounds {
		for i, e := range entries {
			if failed[i] || ctx.Err() != nil || e.scenario.Alone && round >= aloneRounds || e.scenario.Once && round > 0 {
				continue
			}
			var values []scenario.Value
			var err error
			if sessions[i] == nil {
				sessions[i], err = e.scenario.Prepare(ctx, e.env)
			}
			if err == nil {
				values, err = sessions[i].Measure(ctx)
			}
			if err != nil {
				failed[i] = true
				failures++
				fmt.Fprintf(os.Stderr, "%s %s, %s: %v\n", e.scenario.Name, e.scenario.Metric, e.env.Contestant.Name, err)
			}
			results.Add(e.scenario, e.env.Contestant, round, values, err)
			if e.scenario.Alone {
				closeSession(i)
			}
		}
		if len(entries) > 0 {
			fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", entries[0].scenario.Name, round+1, rounds)
		}
	}
}

// aloneRounds bounds the rounds of scenarios that take a minute for each contestant.
const aloneRounds = 2
