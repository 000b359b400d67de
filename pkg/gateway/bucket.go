package gateway

import "time"

// bucket is a token bucket for one goroutine. Its rate and burst are given with each call, since they may change at a reload.
type bucket struct {
	tokens float32
	last   time.Time // zero: never used, so full
}

// take takes one of the burst tokens, which are refilled at rate a second. It returns false if there is none left. A rate of 0
// never runs dry.
func (b *bucket) take(rate, burst int) bool {
	if rate == 0 {
		return true
	}
	return b.takeAt(time.Now(), rate, burst)
}

// takeAt is take at a time that does not lie before that of the last call. The rate is not 0.
func (b *bucket) takeAt(now time.Time, rate, burst int) bool {
	most := float32(max(burst, 1))
	if b.last.IsZero() {
		b.tokens = most
	}
	b.tokens = min(most, b.tokens+float32(now.Sub(b.last).Seconds())*float32(rate))
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
