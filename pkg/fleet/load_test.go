package fleet

import (
	"errors"
	"maps"
	"slices"
	"testing"
)

func TestNumbersAreRoundedToTwoDigits(t *testing.T) {
	for n, want := range map[int64]int64{
		0: 0, 7: 7, 42: 42, 99: 99, 100: 100, 104: 100, 105: 110, 994: 990, 995: 1000, 999: 1000, 1000: 1000, 1049: 1000, 1050: 1100,
		9949: 9900, 9950: 10000, 123_456: 120_000, 999_999: 1_000_000, 1_000_000: 1_000_000, 10_000_000: 10_000_000, 12_500_000: 13_000_000,
	} {
		if got := (Totals{n, n}).Rounded(); got != (Totals{want, want}) {
			t.Errorf("%d is rounded to %+v, want %d", n, got, want)
		}
	}
}

func TestTheSumLeavesOutPodsOfWhichNothingIsKnown(t *testing.T) {
	gone := Load{Pod: "b", Err: errors.New("no answer"), Connections: 99}
	for name, c := range map[string]struct {
		loads []Load
		total Totals
		known bool
	}{
		"no pods":         {nil, Totals{}, false},
		"none is known":   {[]Load{gone}, Totals{}, false},
		"one is known":    {[]Load{{Connections: 2, Rooms: 1}, gone}, Totals{2, 1}, true},
		"several":         {[]Load{{Connections: 2, Rooms: 1}, {Connections: 3, Rooms: 4}}, Totals{5, 5}, true},
		"known and empty": {[]Load{{}}, Totals{}, true},
	} {
		if total, known := Sum(c.loads); total != c.total || known != c.known {
			t.Errorf("%s: %+v %v, want %+v %v", name, total, known, c.total, c.known)
		}
	}
}

func TestFailingShards(t *testing.T) {
	l := Load{Canary: &Canary{Shards: []ShardCanary{{"c", CanaryFailing, ""}, {"b", CanaryPassing, "OOM"}, {"a", CanaryFailing, ""}, {"d", CanaryUnknown, ""}}}}
	if got := l.FailingShards(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("the failing shards are %q", got)
	}
	if got, want := l.Refusals(), map[string]string{"b": "OOM"}; !maps.Equal(got, want) {
		t.Errorf("the shards that refuse to write are %q, want %q", got, want)
	}
	if got := (&Load{}).FailingShards(); got != nil {
		t.Errorf("without canaries %q fail", got)
	}
}
