package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
)

const (
	shortestPause = 250 * time.Millisecond
	longestPause  = 30 * time.Second
	// stable is how long a connection must have lasted to be counted a success.
	stable = 5 * time.Second
	// overloadedPause is the least pause before a gateway that is overloaded is tried again, unless it names one.
	overloadedPause = time.Second
)

// backoff counts failures in a row. Each pause is a random part of a bound that doubles (full jitter), so that clients that
// were lost together come back one by one.
type backoff struct {
	least, most time.Duration
	failures    int
	// random returns a duration from 0 to below n, which is positive.
	random func(n time.Duration) time.Duration
}

func newBackoff(least, most time.Duration) backoff {
	return backoff{least: least, most: most, random: rand.N[time.Duration]}
}

func (b *backoff) succeeded() { b.failures = 0 }

// after returns the pause after a failure. What the gateway asked for is waited in full, and the jitter comes on top of it.
func (b *backoff) after(err error) time.Duration {
	bound := b.most
	if b.failures < 30 {
		bound = min(b.most, b.least<<b.failures)
	}
	b.failures++
	return leastPause(err) + b.random(bound+1)
}

func leastPause(err error) time.Duration {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.RetryAfter
	}
	if closed, ok := errors.AsType[*ClosedError](err); ok && closed.Code == protocol.CloseTryLater {
		return overloadedPause
	}
	return 0
}
