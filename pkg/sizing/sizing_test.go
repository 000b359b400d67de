package sizing

import (
	"math"
	"strings"
	"testing"
	"time"
)

func load(connections, messages float64) Load {
	l := DefaultLoad()
	l.Connections, l.MessagesPerSecond = connections, messages
	return l
}

func TestEstimates(t *testing.T) {
	f := Measured()
	tests := []struct {
		name string
		load Load
		pods float64
		// cores and shards by hand, from the formula in docs/scale.md.
		cores, shards float64
		bound         string
	}{
		// Nothing is said: heartbeats only. 10,000 / 25 s · 20 µs = 0.008 cores.
		{"small and quiet", load(10_000, 0), 2, 0.008, 1, "minimum"},
		// 1,000,000 / 20,000 = 50 pods; heartbeats 0.8 cores.
		{"a million, quiet", load(1_000_000, 0), 50, 0.8, 1, "connections"},
		// Rooms of 10 on 50 pods: 50·(1 − 0.98^10) = 9.146 pods a message.
		// 10,000·(70 + 9.146·30 + 10·7) µs = 4.144 cores, and heartbeats 0.8. Redis: 10,000·(15 + 9.146·12) µs = 1.248 cores: 3 shards at 0.6.
		{"a million, 10,000 messages a second", load(1_000_000, 10_000), 50, 4.944, 3, "connections"},
		// 100,000 messages/s to 10 each need more cores than two pods have.
		// At 33 pods: 100,000·(70 + 8.741·30 + 70) µs = 40.22 cores do not fit into 33·1.2 = 39.6; at 34 they do: 40.33 and 40.8.
		{"few connections that talk much", load(50_000, 100_000), 34, 0, 0, "cores"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Estimate(test.load, f)
			if err != nil {
				t.Fatal(err)
			}
			if got.Pods != test.pods || got.Bound != test.bound {
				t.Errorf("%g pods, decided by %s; want %g by %s", got.Pods, got.Bound, test.pods, test.bound)
			}
			if test.cores != 0 && math.Abs(got.Cores-test.cores) > 0.001 {
				t.Errorf("%g cores, want %g", got.Cores, test.cores)
			}
			if test.shards != 0 && got.RedisShards != test.shards {
				t.Errorf("%g shards of Redis, want %g", got.RedisShards, test.shards)
			}
			if room := got.Pods * test.load.CoresPerPod * test.load.Utilization; got.Cores > room {
				t.Errorf("%g cores do not fit into %g", got.Cores, room)
			}
		})
	}
}

func TestMoreLoadNeverNeedsLess(t *testing.T) {
	f := Measured()
	last := Cluster{}
	for _, n := range []float64{1e3, 1e4, 1e5, 1e6, 1e7} {
		got, err := Estimate(load(n, n/100), f)
		if err != nil {
			t.Fatal(err)
		}
		if got.Pods < last.Pods || got.Cores <= last.Cores || got.Bytes <= last.Bytes || got.RedisShards < last.RedisShards {
			t.Errorf("%g connections need %+v, a tenth of them %+v", n, got, last)
		}
		last = got
	}
}

func TestAPodMoreIsNeededOnlyWhereItIsNeeded(t *testing.T) {
	f := Measured()
	l := load(50_000, 100_000)
	got, err := Estimate(l, f)
	if err != nil {
		t.Fatal(err)
	}
	fewer := at(l, f, got.Pods-1)
	if fewer.Cores <= fewer.Pods*l.CoresPerPod*l.Utilization {
		t.Errorf("%g pods would do, but %g were asked for", fewer.Pods, got.Pods)
	}
}

func TestMemoryHoldsTheConnectionsOfAMissingPod(t *testing.T) {
	f := Figures{ConnectionBytes: 1000, HeartbeatEvery: time.Second}
	l := load(30_000, 0)
	l.MinPods = 3
	got, err := Estimate(l, f)
	if err != nil {
		t.Fatal(err)
	}
	if want := 15_000.0 * 1000 * memoryReserve; got.BytesPerPod != want {
		t.Errorf("%g bytes a pod, want %g: two pods hold what three held", got.BytesPerPod, want)
	}
}

func TestBadLoadsSayWhatIsAllowed(t *testing.T) {
	for _, test := range []struct {
		change func(*Load)
		want   string
	}{
		{func(l *Load) { l.Connections = 0 }, "connections: 0 is out of range, use 1 to 1e+09"},
		{func(l *Load) { l.MessagesPerSecond = -1 }, "messages per second: -1"},
		{func(l *Load) { l.MessagesPerSecond = math.NaN() }, "messages per second: NaN"},
		{func(l *Load) { l.Utilization = 2 }, "utilization: 2 is out of range, use 0.05 to 1"},
		{func(l *Load) { l.MembersPerRoom = 2000 }, "members per room: 2000 are more than the 1000 connections"},
		{func(l *Load) { l.Connections, l.MessagesPerSecond, l.MembersPerRoom = 1e9, 1e9, 1e6 }, "more than 1e+06 pods"},
	} {
		l := load(1000, 10)
		test.change(&l)
		if _, err := Estimate(l, Measured()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want a sentence with %q", err, test.want)
		}
	}
}
