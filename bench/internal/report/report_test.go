package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wscluster/wscluster/bench/internal/contestant"
	"github.com/wscluster/wscluster/bench/internal/scenario"
)

func contestantNamed(t *testing.T, name string) *contestant.Contestant {
	t.Helper()
	for _, c := range contestant.All() {
		if c.Name == name {
			return &c
		}
	}
	t.Fatalf("there is no contestant %s", name)
	return nil
}

func example(t *testing.T) *Results {
	t.Helper()
	r := New(3)
	room := scenario.Room()
	for round, v := range []float64{4, 5, 12} {
		r.Add(&room, contestantNamed(t, "wscluster"), round, []scenario.Value{{Metric: "8 outstanding", Unit: "µs", V: v / 4}}, nil)
		r.Add(&room, contestantNamed(t, "centrifuge"), round, []scenario.Value{{Metric: "8 outstanding", Unit: "µs", V: v}}, nil)
	}
	r.Add(&room, contestantNamed(t, "nats"), 0, nil, errors.New("it does not start"))
	return r
}

func TestMarkdownShowsMediansSpreadAndGoals(t *testing.T) {
	got := example(t).Markdown("a machine", "chart.svg")
	for _, want := range []string{
		"| 8 outstanding | µs | 1.25 (1.00–3.00) | 5.00 (4.00–12.0) | ≤ 1.80 ✓; ≤ 0.45 × centrifuge: 0.25 ✓ |",
		"a machine", "![What a delivery costs: bars for each server](chart.svg)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "NATS") {
		t.Errorf("a contestant without numbers has a column:\n%s", got)
	}
}

func TestAGoalThatIsMissedSaysSo(t *testing.T) {
	r := New(1)
	idle := scenario.Idle()
	r.Add(&idle, contestantNamed(t, "wscluster"), 0, []scenario.Value{{Metric: "memory", Unit: "KB", V: 4.5}}, nil)
	if got := r.rows[0].goals(); got != "≤ 4.00 ✗" {
		t.Errorf("the goals are %q", got)
	}
}

func TestGrowthIsComparedRoundByRoundAndWithoutTheCopies(t *testing.T) {
	r := New(2)
	for _, sc := range scenario.Growth() {
		if sc.Name != "growth-bytes" || sc.Metric == "1024 bytes" {
			continue
		}
		// Ours goes from 4 to 6 and bare from 2 to 3.2, and in the second round everything costs twice as much.
		values := map[string][2]float64{"wscluster 128 bytes": {4, 8}, "wscluster 4096 bytes": {6, 12}, "bare 128 bytes": {2, 4}, "bare 4096 bytes": {3.2, 6.4}}
		for _, name := range []string{"wscluster", "bare"} {
			for round, v := range values[name+" "+sc.Metric] {
				r.Add(&sc, contestantNamed(t, name), round, []scenario.Value{{Unit: "µs", V: v}}, nil)
			}
		}
	}
	want := "4 KB against 128 bytes, less what that costs the bare loop: × 1.20, goal ≤ 1.2 ✓"
	if got := r.growthLines(); len(got) != 1 || got[0] != want {
		t.Errorf("growth is %q, want %q", got, want)
	}
}

func TestTheChartIsWellFormed(t *testing.T) {
	decoder := xml.NewDecoder(strings.NewReader(example(t).SVG()))
	bars := 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 2 {
		t.Errorf("the chart has %d bars, want 2", bars)
	}
}

func TestWriteReplacesOnlyWhatIsBetweenTheMarkers(t *testing.T) {
	document := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(document, []byte("before\n"+begin+"\nold table\n"+end+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := example(t).Write(document, "a machine"); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter\n") || strings.Contains(got, "old table") || strings.Count(got, "8 outstanding") != 1 {
		t.Errorf("the document is now\n%s", got)
	}
	if err := os.WriteFile(document, []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := example(t).Write(document, ""); err == nil || !strings.Contains(err.Error(), "bench:begin") {
		t.Errorf("without markers the error is %v", err)
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of three is %g", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four is %g", got)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %g", got)
	}
}
