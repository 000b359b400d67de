package report

import (
	"fmt"
	"strings"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// panels are the rows that the chart shows, one block of bars each.
var panels = []struct{ scenario, metric, title string }{
	{"room", "1 outstanding", "room of 2,000, 1 message outstanding: µs of CPU a delivery"},
	{"room", "8 outstanding", "8 outstanding"},
	{"room", "64 outstanding", "64 outstanding"},
	{"rooms", "500 messages/s", "200 rooms of 10 over two nodes, 500 messages a second: µs of CPU a delivery"},
	{"rooms", "2000 messages/s", "2,000 messages a second"},
	{"idle", "memory", "18,000 idle connections: KB a connection"},
}

// The chart's measures, in pixels.
const (
	chartWidth = 760
	nameWidth  = 210
	barHeight  = 16
	barGap     = 5
	headHeight = 30
)

// SVG draws the chart: for each panel a bar for each contestant, on a scale of the panel's own.
func (r *Results) SVG() string {
	var b strings.Builder
	y := 10
	for _, p := range panels {
		w := r.find(p.scenario, p.metric)
		if w == nil {
			continue
		}
		y += headHeight
		fmt.Fprintf(&b, `<text class="head" x="0" y="%d">%s</text>`+"\n", y-10, p.title)
		most := 0.0
		for _, c := range w.cells {
			most = max(most, c.median())
		}
		for _, c := range contestant.All() {
			cell := w.cells[c.Name]
			if cell == nil {
				continue
			}
			class := "other"
			if c.Name == oursName {
				class = "ours"
			}
			width := 0.0
			if most > 0 {
				width = cell.median() / most * (chartWidth - nameWidth - 70)
			}
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, nameWidth-8, y+barHeight-4, strings.ReplaceAll(c.Title, "`", ""))
			fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, nameWidth, y, max(width, 1), barHeight)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", nameWidth+max(width, 1)+6, y+barHeight-4, number(cell.median()))
			y += barHeight + barGap
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="CPU of a delivery and memory of a connection, for each server">
<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600 }
.ours { fill: #0969da }
.other { fill: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #4493f8 } .other { fill: #656d76 } }
</style>
%s</svg>
`, chartWidth, y+10, chartWidth, y+10, b.String())
}
