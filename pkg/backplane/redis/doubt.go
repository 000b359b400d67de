package redis

import (
	"context"
	"fmt"
	"time"
)

// A primary that is silent for a while may be replaced meanwhile by a replica of it, and go on without knowing: for a moment it takes
// messages, and answers, though all of it is thrown away soon. Whoever replaces it does so only after it was silent for some time. So
// what comes from a primary that was never silent for that long is good; of what comes after a longer silence nothing is believed
// until those who decide, the sentinels or the other nodes of the cluster, have said that it is still the primary.

// doubtAfter is the silence that makes a primary doubtful: more than there is between two pings of an idle link.
func (t Timing) doubtAfter() time.Duration { return t.Ping + t.Ping/2 }

// trust returns an error if a primary was silent for too long before the answer that came now, and cannot be shown to be the primary
// still. It may ask others, until due.
func (p *publisher) trust(ctx context.Context, l *link, due time.Time) error {
	now := time.Now()
	silent := now.Sub(l.heard)
	l.heard = now
	if silent < p.dialer.options.Timing.doubtAfter() {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	if err := p.confirmPrimary(ctx, l); err != nil {
		return fmt.Errorf("after a silence of %v: %w", silent.Round(time.Millisecond), err)
	}
	return nil
}

// confirmPrimary asks those who decide whether a link still leads to the primary.
func (p *publisher) confirmPrimary(ctx context.Context, l *link) error {
	if c := p.router.cluster; c != nil {
		return c.confirm(ctx, p.shard, p.batch)
	}
	s := p.dialer.sentinels
	if s == nil {
		return nil
	}
	addr, err := s.primary(ctx)
	if err == nil && addr != p.dialer.links.addr(l) {
		err = errOtherPrimary
	}
	return err
}
