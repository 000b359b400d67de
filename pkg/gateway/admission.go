package gateway

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/settings"
)

// admission bounds how many connection attempts are looked at, so that a crowd that comes at once does not take the CPU from
// those who are connected. It is asked before anything else is done for an attempt. Safe for concurrent use.
type admission struct {
	mu       sync.Mutex
	attempts bucket
	crowd    crowd
	// addresses have used some of their tokens lately.
	addresses map[netip.Prefix]*bucket
	forgotten time.Time // when the idle ones were looked for
}

const (
	// leastBurst of attempts may come at once even at a low rate: a page with a few tabs.
	leastBurst = 10
	// maxAddresses bounds the memory of the limit for each address, to about 8 MiB.
	maxAddresses = 1 << 16
	// maxRetryAfter bounds what a refused client is asked to wait, in seconds.
	maxRetryAfter = 60
)

// admit says connectOK, or how the attempt is to be refused and after how many seconds it may be repeated. An address that is
// not valid has no limit of its own.
func (a *admission) admit(now time.Time, address netip.Addr, limits *settings.Limits) (result connectResult, retryAfter int) {
	if limits.ConnectsPerSecond == 0 && limits.ConnectsPerSecondPerAddress == 0 {
		return connectOK, 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if rate := limits.ConnectsPerSecondPerAddress; rate > 0 && address.IsValid() && !a.address(now, address, rate).takeAt(now, rate, burstOf(rate)) {
		// Tokens come one by one, and several clients of one address share them.
		return connectRateLimited, 1 + rand.IntN(2+leastBurst/rate)
	}
	if rate := limits.ConnectsPerSecond; rate > 0 && !a.attempts.takeAt(now, rate, burstOf(rate)) {
		return connectThrottled, a.crowd.refuse(now, rate)
	}
	return connectOK, 0
}

func burstOf(rate int) int { return max(leastBurst, rate) }

// address returns the bucket of a client's network: the address itself, or the /64 of an IPv6 address, of which a single client
// has all.
func (a *admission) address(now time.Time, address netip.Addr, rate int) *bucket {
	bits := 64
	if address.Is4() {
		bits = 32
	}
	network, _ := address.Prefix(bits) // never fails: an address has that many bits
	if b := a.addresses[network]; b != nil {
		return b
	}
	if len(a.addresses) >= maxAddresses && now.Sub(a.forgotten) >= time.Second { // looking through all takes a millisecond
		a.forget(now, rate)
		a.forgotten = now
	}
	b := &bucket{}
	if len(a.addresses) >= maxAddresses {
		return b // too many are busy to remember another: the limit for all holds it
	}
	if a.addresses == nil {
		a.addresses = map[netip.Prefix]*bucket{}
	}
	a.addresses[network] = b
	return b
}

// forget drops those who have all their tokens again.
func (a *admission) forget(now time.Time, rate int) {
	for network, b := range a.addresses {
		if now.Sub(b.last).Seconds()*float64(rate) >= float64(burstOf(rate)) {
			delete(a.addresses, network)
		}
	}
}

// crowd estimates how many refused clients are about to come back, and spreads them over the time that the gateway needs for
// them: told to come back after one second, all would be there again after one second.
type crowd struct {
	waiting float64
	last    time.Time
}

// refuse adds one to the crowd and returns after how many seconds it should come back. rate is how many are let in a second.
func (c *crowd) refuse(now time.Time, rate int) int {
	c.waiting = 1 + max(0, c.waiting-now.Sub(c.last).Seconds()*float64(rate))
	c.last = now
	seconds := int(min(maxRetryAfter, math.Ceil(c.waiting/float64(rate))))
	return 1 + rand.IntN(seconds)
}
