package bench

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1/32 wide relative to their value, from 1 µs on.
type histogram struct {
	counts [64 * histogramSteps]uint64
	n      uint64
	max    time.Duration
}

const histogramSteps = 32

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.n++
	h.max = max(h.max, d)
	h.counts[histogramBucket(uint64(d/time.Microsecond))]++
}

func histogramBucket(us uint64) int {
	if us < histogramSteps {
		return int(us)
	}
	exponent := bits.Len64(us) - 6 // 32 ≤ us>>exponent < 64
	return (exponent+1)*histogramSteps + int(us>>exponent) - histogramSteps
}

// histogramUpper is the largest number of microseconds that falls into a bucket.
func histogramUpper(bucket int) uint64 {
	if bucket < histogramSteps {
		return uint64(bucket)
	}
	exponent := bucket/histogramSteps - 1
	return (uint64(bucket%histogramSteps+histogramSteps)+1)<<exponent - 1
}

// quantile returns the duration that a share q of all durations does not exceed; 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.n)))
	var seen uint64
	for bucket, count := range &h.counts {
		if seen += count; count > 0 && seen >= rank {
			return min(h.max, time.Duration(histogramUpper(bucket))*time.Microsecond)
		}
	}
	return h.max
}

// Quantiles sums up many durations, in milliseconds.
type Quantiles struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func (h *histogram) quantiles() Quantiles {
	return Quantiles{
		Count: h.n, P50: milliseconds(h.quantile(0.5)), P90: milliseconds(h.quantile(0.9)),
		P99: milliseconds(h.quantile(0.99)), P999: milliseconds(h.quantile(0.999)), Max: milliseconds(h.max),
	}
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
