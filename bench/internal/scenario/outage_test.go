package scenario

import (
	"testing"
	"time"
)

// steps makes a timeline of deliveries: pairs of a duration and the deliveries in each step of it.
func steps(parts ...any) (timeline []uint32) {
	for i := 0; i < len(parts); i += 2 {
		for range int(parts[i].(time.Duration) / (10 * time.Millisecond)) {
			timeline = append(timeline, uint32(parts[i+1].(int)))
		}
	}
	return timeline
}

func TestRecoveryIsReadFromTheTimeline(t *testing.T) {
	const fault, back = 2 * time.Second, 4 * time.Second
	tests := []struct {
		name        string
		timeline    []uint32
		first, full time.Duration
		ok          bool
	}{
		{"at once", steps(fault, 10, 2*time.Second, 0, 2*time.Second, 10), 0, 0, true},
		{"all together after 200 ms", steps(fault, 10, 2200*time.Millisecond, 0, 2*time.Second, 10), 200 * time.Millisecond, 200 * time.Millisecond, true},
		{"a part first", steps(fault, 10, 2100*time.Millisecond, 0, 400*time.Millisecond, 5, 2*time.Second, 10), 100 * time.Millisecond, 480 * time.Millisecond, true},
		{"never all", steps(fault, 10, 2*time.Second, 0, 2*time.Second, 5), 0, 0, false},
		{"never", steps(fault, 10), 0, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			first, full, ok := recovered(test.timeline, fault, back)
			if ok != test.ok {
				t.Fatalf("recovered: %v, want %v", ok, test.ok)
			}
			// The window of a tenth of a second looks ahead, so "all" may be found a few steps early.
			if first != test.first || full > test.full || full < test.full-90*time.Millisecond {
				t.Errorf("first after %v, all after %v; want %v and about %v", first, full, test.first, test.full)
			}
		})
	}
}
