// Package report collects the numbers of a comparison and shows them: as text while one waits, as a Markdown table and a chart
// for docs/performance.md. It measures nothing.
package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/wscluster/wscluster/bench/internal/contestant"
	"github.com/wscluster/wscluster/bench/internal/scenario"
)

// Results are all numbers of one run of the comparison.
type Results struct {
	Rounds int
	rows   []*row
}

// row is one metric of one scenario for all contestants.
type row struct {
	scenario, title, metric, unit string
	cells                         map[string]*cell
	order                         []string
}

// cell is what one contestant had, a number a round.
type cell struct {
	title  string
	rounds map[int]float64
}

// New returns empty results.
func New(rounds int) *Results { return &Results{Rounds: rounds} }

// Add takes over what one contestant had in one round.
func (r *Results) Add(sc *scenario.Scenario, c *contestant.Contestant, round int, values []scenario.Value, err error) {
	if err != nil {
		return
	}
	for _, v := range values {
		if v.Metric == "" {
			v.Metric = sc.Metric
		}
		cell := r.row(sc, v.Metric, v.Unit).cell(c)
		cell.rounds[round] = v.V
	}
}

func (r *Results) row(sc *scenario.Scenario, metric, unit string) *row {
	for _, have := range r.rows {
		if have.scenario == sc.Name && have.metric == metric {
			return have
		}
	}
	made := &row{scenario: sc.Name, title: sc.Title, metric: metric, unit: unit, cells: map[string]*cell{}}
	r.rows = append(r.rows, made)
	return made
}

func (w *row) cell(c *contestant.Contestant) *cell {
	have := w.cells[c.Name]
	if have == nil {
		have = &cell{title: c.Title, rounds: map[int]float64{}}
		w.cells[c.Name] = have
		w.order = append(w.order, c.Name)
	}
	return have
}

// median and spread: the middle of the rounds, and the smallest and largest.
func (c *cell) median() float64 { return median(c.values()) }

func (c *cell) spread() (low, high float64) {
	v := c.values()
	return slices.Min(v), slices.Max(v)
}

func (c *cell) values() []float64 {
	var v []float64
	for _, x := range c.rounds {
		v = append(v, x)
	}
	return v
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Clone(v)
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// ratio is the median over the rounds of one contestant's number by another's in the same round: what else the machine did in
// that round hit both.
func (w *row) ratio(of, by string) (float64, bool) {
	a, b := w.cells[of], w.cells[by]
	if a == nil || b == nil {
		return 0, false
	}
	var v []float64
	for round, x := range a.rounds {
		if y, ok := b.rounds[round]; ok && y > 0 {
			v = append(v, x/y)
		}
	}
	return median(v), len(v) > 0
}

// Text writes everything for a person who waits.
func (r *Results) Text(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range r.rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", row.title, row.metric, row.unit)
		for _, name := range row.order {
			c := row.cells[name]
			low, high := c.spread()
			fmt.Fprintf(t, "\t%s\t%s\t%s\u2013%s", name, number(c.median()), number(low), number(high))
			if ratio, ok := row.ratio("wscluster", name); ok && name != "wscluster" {
				fmt.Fprintf(t, "\twscluster is %.2f of it", ratio)
			}
			fmt.Fprintln(t, "\t")
		}
	}
	_ = t.Flush() // a terminal that is gone needs no table
}

// number writes three significant digits.
func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "\u2013"
	case x >= 100 || x == 0:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
