package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// outcome is what one run came to.
type outcome struct {
	plan     plan
	verdict  *verdict
	recovery time.Duration
	// slowest is the longest time from the first sending of a message that was acked to its arrival.
	slowest time.Duration
	// complaints are a line for each thing that is wrong.
	complaints []string
}

func (o outcome) String() string {
	v := o.verdict
	return fmt.Sprintf("%d acked, %d delivered, %d lost, %d doubled, %d reordered, %d contradictions, %d delivered without an ack, %d lost and declared, %d again in a new epoch; recovered in %v, slowest delivery %v",
		v.Acked, v.Delivered, v.Lost, v.Doubled, v.Reordered, len(v.Contradictions), v.Unacked, v.Declared, v.Again, o.recovery.Round(time.Millisecond), o.slowest.Round(time.Millisecond))
}

// tabulate makes a Markdown table: a line for every kind of fault, over the runs that had it, and one for all runs.
func tabulate(all []outcome) string {
	var b strings.Builder
	b.WriteString("| runs with | runs | acked | delivered | lost | doubled | reordered | delivered, not acked | lost, and said so | again in a new epoch | back to normal: median, longest | slowest delivery: median, longest |\n")
	b.WriteString("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n")
	line := func(name string, chosen func(outcome) bool) {
		var sum verdict
		var recovery, slowest []time.Duration
		for _, o := range all {
			if o.verdict == nil || !chosen(o) {
				continue
			}
			v := o.verdict
			sum.Acked += v.Acked
			sum.Delivered += v.Delivered
			sum.Lost += v.Lost
			sum.Doubled += v.Doubled
			sum.Reordered += v.Reordered
			sum.Unacked += v.Unacked
			sum.Declared += v.Declared
			sum.Again += v.Again
			recovery, slowest = append(recovery, o.recovery), append(slowest, o.slowest)
		}
		if len(recovery) == 0 {
			return
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s | %s |\n", name, len(recovery), sum.Acked, sum.Delivered,
			sum.Lost, sum.Doubled, sum.Reordered, sum.Unacked, sum.Declared, sum.Again, spread(recovery), spread(slowest))
	}
	for _, k := range kinds {
		if k != redisKilled {
			line(string(k), func(o outcome) bool { return o.plan.has(k) })
			continue
		}
		for _, appendOnly := range []bool{false, true} {
			line(fmt.Sprintf("%s, %s", k, plan{topology: oneRedis, appendOnly: appendOnly}.store()), func(o outcome) bool { return o.plan.has(k) && o.plan.appendOnly == appendOnly })
		}
	}
	for _, t := range topologies[1:] {
		for _, k := range t.kinds()[:t.firsts()] {
			line(fmt.Sprintf("%s: %s", t, k), func(o outcome) bool { return o.plan.has(k) && o.plan.topology == t })
		}
	}
	for _, s := range scopes {
		line("*"+string(s)+"*", func(o outcome) bool { return o.plan.scope == s })
	}
	line("**all runs**", func(outcome) bool { return true })
	return b.String()
}

// complaints says what was wrong, run by run, shortened: the last that whoever looks at a failed run in a log sees.
func complaints(all []outcome) string {
	const most = 400
	var b strings.Builder
	for _, o := range all {
		if len(o.complaints) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%v\n", o.plan)
		for _, line := range o.complaints {
			if len(line) > most {
				line = line[:most] + "…"
			}
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.String()
}

// spread writes median and longest.
func spread(times []time.Duration) string {
	slices.Sort(times)
	return fmt.Sprintf("%.1f s, %.1f s", times[len(times)/2].Seconds(), times[len(times)-1].Seconds())
}

const tableStart, tableEnd = "<!-- faults: written by make faults -->\n", "<!-- end of faults -->\n"

// replaceTable writes the table between its two marks in a file.
func replaceTable(path, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), tableStart)
	_, after, found2 := strings.Cut(rest, tableEnd)
	if !found || !found2 {
		return fmt.Errorf("%s has no %q and %q for the table", path, strings.TrimSpace(tableStart), strings.TrimSpace(tableEnd))
	}
	return os.WriteFile(path, []byte(before+tableStart+table+tableEnd+after), 0o644)
}
