package hub

import "sync/atomic"

// LagBoundsMS are the upper bounds of the buckets of a LagHistogram, in milliseconds: the clock of message times.
var LagBoundsMS = [...]int64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000}

// LagHistogram counts deliveries by how long they took. One observation stands for a whole batch, since a counter for each
// delivery would cost as much as the delivery's share of its write. Its methods are safe for concurrent use.
type LagHistogram struct {
	buckets [len(LagBoundsMS) + 1]atomic.Uint64
	sumMS   atomic.Int64
}

// observe counts n deliveries whose lag lies between low and high milliseconds, half at either end.
func (h *LagHistogram) observe(low, high int64, n uint64) {
	low, high = max(0, low), max(0, high)
	h.buckets[bucket(low)].Add(n - n/2)
	h.buckets[bucket(high)].Add(n / 2)
	h.sumMS.Add((low + high) / 2 * int64(n))
}

func bucket(ms int64) int {
	for i, bound := range LagBoundsMS {
		if ms <= bound {
			return i
		}
	}
	return len(LagBoundsMS)
}

// Snapshot returns the count, the sum in seconds, and the cumulative counts by upper bound in seconds.
func (h *LagHistogram) Snapshot() (count uint64, sumSeconds float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(LagBoundsMS))
	for i, bound := range LagBoundsMS {
		count += h.buckets[i].Load()
		buckets[float64(bound)/1000] = count
	}
	count += h.buckets[len(LagBoundsMS)].Load()
	return count, float64(h.sumMS.Load()) / 1000, buckets
}
