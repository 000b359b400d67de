package sizing

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTheSizesInTheDocumentAreThoseOfTheFormula reads the table of docs/scale.md.
func TestTheSizesInTheDocumentAreThoseOfTheFormula(t *testing.T) {
	text, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 9 {
			continue
		}
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), ",", "")
		}
		connections, err := strconv.ParseFloat(cells[1], 64)
		if err != nil {
			continue // the head
		}
		rows++
		l := load(connections, number(t, cells[2]))
		l.ConnectsPerSecond = number(t, cells[3])
		c, err := Estimate(l, Measured())
		if err != nil {
			t.Fatal(err)
		}
		redis := fmt.Sprintf("one %.0f %% of a core", c.RedisCores*100)
		if c.RedisShards > 1 {
			redis = fmt.Sprintf("Cluster of %.0f shards", c.RedisShards)
		}
		want := []string{fmt.Sprint(c.Pods), fmt.Sprintf("%.2g", c.Cores), fmt.Sprintf("%.0f MiB", c.BytesPerPod/(1<<20)), redis}
		for i, have := range cells[4:8] {
			if have != want[i] {
				t.Errorf("%s connections: the document says %q, the formula %q", cells[1], have, want[i])
			}
		}
	}
	if rows != 4 {
		t.Errorf("%d rows were found, want 4", rows)
	}
	f := Measured()
	formula := fmt.Sprintf("M · %d µs + M · S · %d µs + M · R · %d µs + C · %d µs / %d s + K · %d µs",
		f.Publish.Microseconds(), f.Receive.Microseconds(), f.Write.Microseconds(), f.Heartbeat.Microseconds(), int(f.HeartbeatEvery.Seconds()), f.Connect.Microseconds())
	if !strings.Contains(string(text), formula) {
		t.Errorf("the document does not have the formula with the measured figures: %s", formula)
	}
	redis := fmt.Sprintf("M · (%d µs + S · %d µs) + K · 2 · %d µs", f.RedisPublish.Microseconds(), f.RedisForward.Microseconds(), f.RedisSubscription.Microseconds())
	if !strings.Contains(string(text), redis) {
		t.Errorf("the document does not have the formula of Redis with the measured figures: %s", redis)
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
