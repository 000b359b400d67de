package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// send sends the batch in one write and ends each of it, or puts it back. An error means that the link cannot be used any
// more.
func (p *publisher) send(ctx context.Context, l *link, pipeline *pipeline) error {
	due := p.earliest()
	if err := p.prepare(withDeadline(ctx, due), l); err != nil {
		return err
	}
	if len(p.batch) == 0 {
		return nil
	}
	if err := pipeline.begin(due); err != nil {
		p.queue.putBack(p.batch)
		return fmt.Errorf("%w: %w", errLinkSpent, err)
	}
	replicas := 0
	for _, publication := range p.batch {
		pipeline.out = publication.appendCommand(pipeline.out, p.verb, l.replicationID)
		replicas = max(replicas, publication.minReplicas())
	}
	if replicas > 0 {
		// One WAIT speaks for all writes before it on this connection.
		patience := min(time.Until(due)/2, p.dialer.options.Timing.Publish/4)
		pipeline.out = appendCommand(pipeline.out, "WAIT", replicas, patience.Milliseconds())
	}
	p.counters.pipelines.Add(1)
	confirmed, broken := p.exchange(pipeline, replicas > 0)
	if broken == nil {
		if broken = p.trust(ctx, l, due); broken != nil {
			p.disbelieve(broken)
		}
	}
	if err := p.settleBatch(confirmed); err != nil { //nolint:contextcheck // a shard that is found now outlives this link
		return err
	}
	return broken
}

// exchange writes what the pipeline holds and reads the answers, each into its publication. It returns how many replicas have
// confirmed, 0 when nobody asked, and an error when the link broke or is out of step.
func (p *publisher) exchange(pipeline *pipeline, wait bool) (confirmed int, broken error) {
	broken = pipeline.flush()
	for _, publication := range p.batch {
		if broken != nil {
			publication.err = broken
			continue
		}
		publication.readReply(pipeline.reader)
		if !isRefusal(publication.err) {
			broken = publication.err
		}
	}
	if broken == nil && wait {
		n, err := pipeline.reader.integer()
		if confirmed = int(n); !isRefusal(err) {
			broken = err
		}
	}
	if broken == nil && !pipeline.reader.drained() {
		broken = errNotRESP
	}
	return confirmed, broken
}

// disbelieve has what was answered count as not answered.
func (p *publisher) disbelieve(err error) {
	for _, publication := range p.batch {
		if publication.err == nil {
			publication.err = err
		}
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[refusal](err)
	return ok
}

// settleBatch ends each publication by its reply, but those that may be sent again.
func (p *publisher) settleBatch(confirmed int) error {
	var broken error
	p.again = p.again[:0]
	for _, publication := range p.batch {
		err := publication.err
		switch {
		case err == nil && publication.log != nil:
			p.endKept(publication, confirmed)
		case err == nil:
			p.confirm(publication, backplane.Receipt{}, nil)
		case p.redirect(publication, err):
		case publication.log != nil && mayRepeat(err):
			// The script knows what it has seen, so a second attempt cannot double it.
			publication.log.sent, publication.err = true, nil
			p.again = append(p.again, publication)
			broken = err
		default:
			if p.endUnconfirmed(publication, err) {
				broken = err
			}
		}
	}
	p.queue.putBack(p.again)
	if broken != nil {
		return fmt.Errorf("publish: %w", broken)
	}
	return nil
}

// mayRepeat says whether an error leaves open that another link does better: none but broken links and a server that lacks
// the scripts, which every new link brings.
func mayRepeat(err error) bool {
	var refusal goredis.Error
	return !errors.As(err, &refusal) || strings.HasPrefix(err.Error(), "NOSCRIPT")
}

// endUnconfirmed ends a publication that was sent and got err for an answer, or none. It says whether the link is to be left.
func (p *publisher) endUnconfirmed(publication *publication, err error) (leave bool) {
	if refusal, ok := errors.AsType[goredis.Error](err); ok {
		p.end(publication, FailureRefused, fmt.Errorf("%w: Redis refused it: %w", backplane.ErrUnavailable, err))
		return unusable(refusal)
	}
	p.end(publication, FailureNoReply, fmt.Errorf("%w: no answer from Redis: %w", backplane.ErrUnavailable, err))
	return true
}

// endKept ends what a script has answered.
func (p *publisher) endKept(publication *publication, confirmed int) {
	if publication.log.read != nil {
		page, err := parsePage(publication.log.reply, publication.log.read.cursor.Reverse)
		publication.log.read.page = page
		p.confirm(publication, backplane.Receipt{}, err)
		return
	}
	if c := publication.log.call; c != nil {
		c.reply = publication.log.reply
		p.confirm(publication, backplane.Receipt{}, nil)
		return
	}
	r, err := publication.log.result()
	if err == nil && r.verdict == appended && publication.asking {
		p.passOn(publication, r.receipt)
	}
	switch {
	case err != nil:
		p.end(publication, FailureRefused, fmt.Errorf("%w: %w", backplane.ErrUnavailable, err))
	case r.verdict == conflict:
		p.confirm(publication, backplane.Receipt{}, backplane.ErrConflict)
	case r.verdict == superseded && r.receipt.Offset == 0:
		p.end(publication, FailureNoReply, fmt.Errorf("%w: the log has gone on without it", backplane.ErrUnavailable))
	case confirmed < publication.minReplicas():
		p.counters.unconfirmed.Add(1)
		p.confirm(publication, r.receipt, fmt.Errorf("%w: %d of %d", backplane.ErrUnconfirmed, confirmed, publication.minReplicas()))
	default:
		p.confirm(publication, r.receipt, nil)
	}
}

// confirm ends a publication that Redis has answered.
func (p *publisher) confirm(publication *publication, receipt backplane.Receipt, err error) {
	p.counters.published.Add(1)
	done := publication.done
	p.settle(publication)
	done.Published(receipt, err)
}

// end tells the publisher of a message that it is not known to be published.
func (p *publisher) end(publication *publication, why Failure, err error) {
	if publication.log != nil && publication.log.sent {
		why = FailureNoReply // whatever hindered a second attempt
	}
	p.counters.failed[why].Add(1)
	done := publication.done
	p.settle(publication)
	done.Published(backplane.Receipt{}, err)
}

// settle gives back what a publication held, before its confirmation, so that whoever waits for that may publish again.
func (p *publisher) settle(publication *publication) {
	p.budget.give(publication.size())
	publication.release()
}

// unusable says whether an error of Redis means that another connection might do better: this one reached a replica, a server
// that is still loading, or is not let in any more.
func unusable(err goredis.Error) bool {
	return goredis.IsReadOnlyError(err) || goredis.IsLoadingError(err) || goredis.IsMasterDownError(err) ||
		goredis.IsAuthError(err) || goredis.IsClusterDownError(err)
}

// prepare makes the link ready for scripts if the batch has any, and looks from time to time whether it still leads to the
// same primary. What Redis does not allow ends as refused; an error means that the link cannot be used, and that all of the
// batch is in the queue again.
func (p *publisher) prepare(ctx context.Context, l *link) error {
	if !hasScripts(p.batch) {
		return nil
	}
	err := l.prepareLogs(ctx, p.dialer.options.Timing.Ping)
	var refusal goredis.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal) && !unusable(refusal):
		rest := p.batch[:0]
		for _, publication := range p.batch {
			if publication.log == nil {
				rest = append(rest, publication)
				continue
			}
			p.end(publication, FailureRefused, fmt.Errorf("%w: Redis refused it: %w", backplane.ErrUnavailable, err))
		}
		p.batch = rest
		return nil
	default:
		p.queue.putBack(p.batch)
		return err
	}
}

func hasScripts(batch []*publication) bool {
	for _, publication := range batch {
		if publication.log != nil {
			return true
		}
	}
	return false
}
