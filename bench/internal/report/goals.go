package report

import (
	"fmt"
	"strings"
)

// goal is what our own number should be: at most a bound, and at most a share of another contestant's in the same round.
type goal struct {
	scenario, metric string
	most             float64 // 0: no bound
	of               string  // a contestant; empty: no share
	share            float64
}

// goals are those that the project set itself before it measured. Ratios carry over to other machines, bounds less so.
var goals = []goal{
	{"room", "1 outstanding", 0, "bare", 1.15},
	{"room", "8 outstanding", 1.8, "centrifuge", 0.45},
	{"room", "64 outstanding", 0.4, "centrifuge", 0.25},
	{"rooms", "500 messages/s", 31, "centrifuge", 0.55},
	{"rooms", "500 messages/s, p99", 0.7, "", 0},
	{"rooms", "500 messages/s, Redis", 54, "", 0},
	{"rooms", "2000 messages/s", 20, "centrifuge", 0.55},
	{"rooms", "2000 messages/s, p99", 1.2, "", 0},
	{"rooms", "2000 messages/s, Redis", 36, "", 0},
	{"idle", "connect and join", 70, "", 0},
	{"idle", "memory", 4, "", 0},
	{"idle", "idle", 1, "", 0},
	{"elsewhere", "the pod without members", 0.5, "", 0},
	{"outage", "all deliveries after it is back", 0.3, "", 0},
	{"outage", "clients closed", 0.001, "", 0},
}

// goals says the goals of a row and whether they were reached; empty: it has none.
func (w *row) goals() string {
	var parts []string
	for _, g := range goals {
		if g.scenario != w.scenario || g.metric != w.metric || w.cells[oursName] == nil {
			continue
		}
		if g.most > 0 {
			parts = append(parts, verdict(fmt.Sprintf("≤ %s", number(g.most)), w.cells[oursName].median() <= g.most))
		}
		if g.of != "" {
			if ratio, ok := w.ratio(oursName, g.of); ok {
				parts = append(parts, verdict(fmt.Sprintf("≤ %g × %s: %.2f", g.share, g.of, ratio), ratio <= g.share))
			}
		}
	}
	return strings.Join(parts, "; ")
}

// oursName is the contestant that the goals are about.
const oursName = "wscluster"

func verdict(text string, reached bool) string {
	if reached {
		return text + " ✓"
	}
	return text + " ✗"
}

// growth is how much more a row may cost than another, 0: it is only shown; without is a contestant whose own growth is taken off.
type growth struct {
	scenario, text string
	first, last    string // metrics
	most           float64
	without        string
}

var growths = []growth{
	{"growth-rooms", "100,000 rooms against 100", "100 rooms", "100000 rooms", 1.2, ""},
	{"endurance", "memory at the end against that after a half", "memory after a half", "memory at the end", 1.1, ""},
	{"features", "history against none", "neither", "history", 1.3, ""},
	{"features", "tokens and room policies against none", "neither", "tokens and room policies", 1.05, ""},
	{"growth-load", "8 pods with 10 members of a room each against 1 pod", "1 × 10 members on 1 pods", "8 × 10 members on 8 pods", 1.2, ""},
	{"growth-pods", "the same 10 members spread over 8 pods against on 1", "1 pods", "8 pods", 0, ""},
	{"growth-bytes", "4 KB against 128 bytes, less what that costs the bare loop", "128 bytes", "4096 bytes", 1.2, "bare"},
	{"tls", "TLS against plain", "plain", "TLS", 2, ""},
}

// growthLines says for each growth how far it went, comparing round by round.
func (r *Results) growthLines() []string {
	var lines []string
	for _, g := range growths {
		var ratios []float64
		for round := range r.Rounds {
			first, ok := r.in(round, g.scenario, g.first, oursName)
			last, ok2 := r.in(round, g.scenario, g.last, oursName)
			if !ok || !ok2 || first <= 0 {
				continue
			}
			if g.without != "" {
				a, ok := r.in(round, g.scenario, g.first, g.without)
				b, ok2 := r.in(round, g.scenario, g.last, g.without)
				if !ok || !ok2 {
					continue
				}
				last -= b - a
			}
			ratios = append(ratios, last/first)
		}
		if len(ratios) > 0 {
			ratio := median(ratios)
			text := fmt.Sprintf("× %.2f", ratio)
			if g.most > 0 {
				text = verdict(fmt.Sprintf("%s, goal ≤ %g", text, g.most), ratio <= g.most)
			}
			lines = append(lines, g.text+": "+text)
		}
	}
	return lines
}

// in returns one contestant's number in one round.
func (r *Results) in(round int, scenario, metric, name string) (float64, bool) {
	w := r.find(scenario, metric)
	if w == nil || w.cells[name] == nil {
		return 0, false
	}
	v, ok := w.cells[name].rounds[round]
	return v, ok
}

func (r *Results) find(scenario, metric string) *row {
	for _, w := range r.rows {
		if w.scenario == scenario && w.metric == metric {
			return w
		}
	}
	return nil
}
