package gateway

import "time"

// bucket is a token bucket for one goroutine: burst tokens at first, refilled at rate a second.
type bucket struct {
	rate, burst, tokens float32
	last                time.Time
}

// reset fills the bucket; a rate of 0 never runs dry.
func (b *bucket) reset(rate, burst int) {
	*b = bucket{rate: float32(rate), burst: float32(max(burst, 1)), tokens: float32(max(burst, 1)), last: time.Now()}
}

// take returns false if there is no token left.
func (b *bucket) take() bool {
	if b.rate == 0 {
		return true
	}
	now := time.Now()
	b.tokens = min(b.burst, b.tokens+float32(now.Sub(b.last).Seconds())*b.rate)
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
