package redis

import (
	"sync/atomic"
	"time"
)

// Failure names why a publication ended as unavailable.
type Failure uint8

// The reasons of failure. Their names are stable, so that they can be labels of a metric.
const (
	// FailureNoLink: no connection to Redis could be had before the deadline. Nothing was sent.
	FailureNoLink Failure = iota
	// FailureNoReply: it was sent, but the connection broke or the deadline came before Redis answered. Redis may have taken it.
	FailureNoReply
	// FailureRefused: Redis answered with an error.
	FailureRefused
	// FailureQueueFull: too much was waiting already. Nothing was sent.
	FailureQueueFull
	// FailureClosed: the backplane was closed. Nothing was sent.
	FailureClosed
	failureCount
)

var failureNames = [failureCount]string{"no_link", "no_reply", "refused", "queue_full", "closed"}

// String returns no_link, no_reply, refused, queue_full or closed.
func (f Failure) String() string {
	if f < failureCount {
		return failureNames[f]
	}
	return "unknown"
}

// Failures returns all reasons, so that each can be shown from the start, at zero.
func Failures() []Failure {
	all := make([]Failure, failureCount)
	for i := range all {
		all[i] = Failure(i)
	}
	return all
}

// Counters is a snapshot of what a backplane has done since it was made. Its numbers are read one by one, not all at one instant.
type Counters struct {
	// Published counts publications, readings of logs and calls of presence that Redis answered; Unconfirmed those of them that too few
	// replicas have confirmed; Failed, by Failure, those that ended as unavailable.
	Published   uint64
	Unconfirmed uint64
	Failed      [failureCount]uint64
	// Pipelines counts the batches that publications were sent in.
	Pipelines uint64
	// QueuedMessages and QueuedBytes are what waits to be published or confirmed now.
	QueuedMessages, QueuedBytes int64

	// Received counts messages that came on subscribed channels, delivered or not.
	Received uint64
	// SkippedUnknown counts received messages of a version that this program does not know, SkippedBroken those that are
	// none of ours.
	SkippedUnknown, SkippedBroken uint64

	// SubscribeCommands and UnsubscribeCommands count what was sent to Redis; each carries up to 1,000 channels.
	SubscribeCommands, UnsubscribeCommands uint64
	// Subscribed counts confirmed subscriptions, SubscribeWait is the sum of the times from asking, or losing the link, to
	// the confirmation, and SubscribeWaitMax the longest.
	Subscribed                      uint64
	SubscribeWait, SubscribeWaitMax time.Duration
	// Interruptions counts how often a link with subscriptions broke, or slots with subscriptions moved to another shard.
	Interruptions uint64
}

type counters struct {
	published, unconfirmed atomic.Uint64
	failed                 [failureCount]atomic.Uint64
	pipelines              atomic.Uint64

	received, skippedUnknown, skippedBroken atomic.Uint64

	subscribeCommands, unsubscribeCommands atomic.Uint64
	confirmed                              atomic.Uint64
	waitSum, waitMax                       atomic.Int64
	interruptions                          atomic.Uint64
}

func (c *counters) subscribeWait(d time.Duration) {
	c.confirmed.Add(1)
	c.waitSum.Add(int64(d))
	for {
		longest := c.waitMax.Load()
		if int64(d) <= longest || c.waitMax.CompareAndSwap(longest, int64(d)) {
			return
		}
	}
}

func (c *counters) snapshot() Counters {
	s := Counters{
		Published:           c.published.Load(),
		Unconfirmed:         c.unconfirmed.Load(),
		Pipelines:           c.pipelines.Load(),
		Received:            c.received.Load(),
		SkippedUnknown:      c.skippedUnknown.Load(),
		SkippedBroken:       c.skippedBroken.Load(),
		SubscribeCommands:   c.subscribeCommands.Load(),
		UnsubscribeCommands: c.unsubscribeCommands.Load(),
		Subscribed:          c.confirmed.Load(),
		SubscribeWait:       time.Duration(c.waitSum.Load()),
		SubscribeWaitMax:    time.Duration(c.waitMax.Load()),
		Interruptions:       c.interruptions.Load(),
	}
	for i := range c.failed {
		s.Failed[i] = c.failed[i].Load()
	}
	return s
}
