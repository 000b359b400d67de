package redis

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// maxPipelineCommands and maxPipelineBytes bound one pipeline; a single larger message still goes alone. Beyond 256
	// commands Redis gains nothing more (docs/performance.md), and everything in a pipeline is confirmed together.
	maxPipelineCommands = 256
	maxPipelineBytes    = 1 << 20
)

var (
	errClosed    = fmt.Errorf("%w: it is closed", backplane.ErrUnavailable)
	errLate      = fmt.Errorf("%w: it has waited until too little time was left", backplane.ErrUnavailable)
	errQueueFull = fmt.Errorf("%w: too much is waiting to be published", backplane.ErrUnavailable)
)

// publisher sends what is in its queue over one link. Only its own goroutine, run, uses its fields, but for current.
type publisher struct {
	// Fixed at start.
	index    int // of its link in health
	lane     lane
	shard    *shard
	router   *router
	dialer   *dialer
	queue    *queue
	budget   *budget
	health   *shardHealth
	counters *counters
	verb     string // PUBLISH or SPUBLISH
	// doubt has room for one: another link has broken, so this one is to be tried though nothing is to be sent.
	doubt chan struct{}
	// moved has room for one: slots may belong to other shards now.
	moved chan struct{}
	// regroups says that after an outage others are waited for; see regroup.
	regroups bool

	batch []*publication
	again []*publication
	due   []*publication
	// put is what the shard does not take now.
	put putOff
	// seen is the version of the router's table that this publisher has followed.
	seen uint64
	// err is why there is no link.
	err error

	current currentLink
}

// run publishes until the queue is closed and empty, or ctx ends; then what is left ends as unavailable.
func (p *publisher) run(ctx context.Context) {
	timing := p.dialer.options.Timing
	down, served := time.Now(), p.health.fresh
	for ctx.Err() == nil && !p.drained() {
		l, conn, err := p.connect(ctx)
		if err == nil {
			start := time.Now()
			p.health.up(p.index)
			if p.regroups && served {
				p.regroup(ctx, start.Sub(down))
			}
			served = true
			err = p.serve(ctx, l, newPipeline(conn))
			l.close()
			p.takeUp()
			// A link that breaks as soon as it is up must not be tried without a growing pause.
			if time.Since(start) > timing.Ping {
				down = time.Now()
			}
		}
		if err == nil || ctx.Err() != nil {
			break
		}
		p.err = err
		p.health.down(p.index, err)
		p.shard.broken(p.router)
		p.handOver()
		p.pause(ctx, timing.backoff(down, time.Now()))
	}
	p.health.down(p.index, errClosed)
	for !p.queue.end() {
		p.batch = p.queue.take(p.batch[:0], maxPipelineCommands, maxPipelineBytes)
		p.endAll(p.batch)
	}
}

// endAll ends what can go nowhere since the process is about to end.
func (p *publisher) endAll(batch []*publication) {
	for _, publication := range batch {
		p.end(publication, FailureClosed, errClosed)
	}
}

// drained is true once the queue is closed and nothing is left.
func (p *publisher) drained() bool { return p.put.isEmpty() && p.queue.drained() }

// handOver gives what belongs to other shards now to them. Nothing may be on its way.
func (p *publisher) handOver() {
	if p.router.version.Load() != p.seen {
		p.takeUp()
		p.endAll(p.router.handOverPublications(p))
	}
}

// connect makes a link and waits for Redis to answer on it, while publications whose time has come end.
func (p *publisher) connect(ctx context.Context) (*link, net.Conn, error) {
	l := p.dialer.open()
	p.current.Store(l)
	var conn net.Conn
	answered := make(chan error, 1)
	go func() {
		var err error
		conn, err = l.connect(ctx)
		answered <- err
	}()
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()
	ticker := time.NewTicker(p.expiryInterval())
	defer ticker.Stop()
	for {
		select {
		case err := <-answered:
			if err != nil {
				l.close()
				return nil, nil, err
			}
			return l, conn, nil
		case <-ticker.C:
			p.expire()
		case <-p.moved:
			p.handOver()
		}
	}
}

// pause waits for d, while publications whose time has come end. It returns early when there is nothing left to wait for.
func (p *publisher) pause(ctx context.Context, d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	ticker := time.NewTicker(p.expiryInterval())
	defer ticker.Stop()
	for !p.queue.drained() {
		select {
		case <-over.C:
			return
		case <-ticker.C:
			p.expire()
		case <-p.moved:
			p.handOver()
		case <-ctx.Done():
			return
		}
	}
}

// regroup waits after an outage until the subscriptions are back: what is published before is acked, and reaches nobody. Those
// of this process are known; the other gateways' are back when each has made its next attempt, if they lost Redis at the same
// time. It waits half the publish timeout at most, and what has waited for its own time ends meanwhile.
func (p *publisher) regroup(ctx context.Context, outage time.Duration) {
	timing := p.dialer.options.Timing
	settled, late := time.Now().Add(timing.longestBackoff(outage)), time.Now().Add(timing.Publish/2)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !p.queue.drained() {
		select {
		case now := <-ticker.C:
			p.expire()
			p.handOver()
			if now.After(late) || now.After(settled) && p.health.allUp() {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// expiryInterval is how late a publication that has no link may end.
func (p *publisher) expiryInterval() time.Duration { return p.dialer.options.Timing.Publish / 40 }

// expire ends what has waited for a link until its deadline.
func (p *publisher) expire() {
	p.due = p.queue.takeDue(p.due[:0], time.Now())
	for _, publication := range p.due {
		p.end(publication, FailureNoLink, p.noLink())
	}
}

func (p *publisher) noLink() error {
	if p.err == nil {
		return fmt.Errorf("%w: not connected to Redis yet", backplane.ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", backplane.ErrUnavailable, p.err)
}

// serve publishes over l until its first error. It returns nil when the queue is closed and empty.
func (p *publisher) serve(ctx context.Context, l *link, pipeline *pipeline) error {
	stop := context.AfterFunc(ctx, l.cut)
	defer stop()
	timing := p.dialer.options.Timing
	idle := time.NewTimer(timing.Ping)
	defer idle.Stop()
	for {
		p.handOver()
		p.retry(time.Now())
		p.batch = p.put.hold(p.queue.take(p.batch[:0], maxPipelineCommands, maxPipelineBytes))
		p.dropLate(time.Now().Add(timing.Publish / 10))
		if len(p.batch) > 0 {
			if err := p.send(ctx, l, pipeline); err != nil {
				return err
			}
			continue
		}
		if p.drained() {
			return nil
		}
		idle.Reset(timing.Ping)
		select {
		case <-p.queue.wake:
			continue
		case <-p.moved:
			continue
		case <-p.put.wait():
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-idle.C:
		case <-p.doubt:
		}
		// The ping must fail early enough that what is published meanwhile still gets another link before its deadline.
		ping := withDeadline(ctx, time.Now().Add(timing.Publish/2))
		if err := l.check(ping); err != nil {
			return fmt.Errorf("ping Redis: %w", err)
		}
		if err := p.trust(ctx, l, time.Now().Add(timing.Publish/2)); err != nil {
			return err
		}
	}
}

// suspect makes the publisher try its link soon. It does not block.
func (p *publisher) suspect() {
	select {
	case p.doubt <- struct{}{}:
	default:
	}
}

// dropLate ends those of the batch whose deadline is before limit: too little time is left for an answer, and a pipeline is
// given up at the earliest deadline of its publications.
func (p *publisher) dropLate(limit time.Time) {
	rest := p.batch[:0]
	for _, publication := range p.batch {
		if publication.deadline.Before(limit) {
			p.end(publication, FailureNoLink, errLate)
		} else {
			rest = append(rest, publication)
		}
	}
	p.batch = rest
}

// earliest returns the earliest deadline of the batch.
func (p *publisher) earliest() time.Time {
	due := p.batch[0].deadline
	for _, publication := range p.batch[1:] {
		if publication.deadline.Before(due) {
			due = publication.deadline
		}
	}
	return due
}
