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
}

func (o outcome) String() string {
	v := o.verdict
	return fmt.Sprintf("%d acked, %d delivered, %d lost, %d doubled, %d reordered, %d contradictions, %d delivered without an ack, %d lost across epochs, %d again in a new epoch; recovered in %v",
		v.Acked, v.Delivered, v.Lost, v.Doubled, v.Reordered, len(v.Contradictions), v.Unacked, v.AcrossEpochs, v.Again, o.recovery.Round(time.Millisecond))
}

// tabulate makes a Markdown table: a line for every kind of fault, over the runs that had it, and one for all runs.
func tabulate(all []outcome) string {
	var b strings.Builder
	b.WriteString("| runs with | runs | acked | delivered | lost | doubled | reordered | delivered, not acked | lost with an epoch | again in a new epoch | back to normal: median, longest |\n")
	b.WriteString("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n")
	line := func(name string, chosen func(outcome) bool) {
		var sum verdict
		var times []time.Duration
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
			sum.AcrossEpochs += v.AcrossEpochs
			sum.Again += v.Again
			times = append(times, o.recovery)
		}
		if len(times) == 0 {
			return
		}
		slices.Sort(times)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %.1f s, %.1f s |\n", name, len(times), sum.Acked, sum.Delivered,
			sum.Lost, sum.Doubled, sum.Reordered, sum.Unacked, sum.AcrossEpochs, sum.Again, times[len(times)/2].Seconds(), times[len(times)-1].Seconds())
	}
	has := func(o outcome, k kind) bool {
		return slices.ContainsFunc(o.plan.faults, func(f fault) bool { return f.kind == k })
	}
	for _, k := range kinds {
		if k != redisKilled {
			line(string(k), func(o outcome) bool { return has(o, k) })
			continue
		}
		for _, appendOnly := range []bool{false, true} {
			line(fmt.Sprintf("%s, %s", k, plan{appendOnly: appendOnly}.store()), func(o outcome) bool { return has(o, k) && o.plan.appendOnly == appendOnly })
		}
	}
	line("**all runs**", func(outcome) bool { return true })
	return b.String()
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
