package hub

import (
	"context"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// repairsAtOnce bounds the logs that are read for repairs at the same time. When a link is back, every room of this process
	// wants a look; a goroutine and a page for each of them would be as much memory as their connections take.
	repairsAtOnce = 64
	repairPage    = 256
	repairTimeout = 2 * time.Second
	repairPause   = 50 * time.Millisecond
)

// repairs is the queue of the channels that want their log read. A channel is in it once.
type repairs struct {
	mu      sync.Mutex
	queue   []*channel
	workers int
}

// repairLocked has a goroutine read what is missing. One that reads already looks once more when it has caught up: what calls
// for the repair may be newer than its page.
func (ch *channel) repairLocked() {
	if ch.log.repairing {
		ch.log.again = true
		return
	}
	ch.log.repairing = true
	ch.hub.stats.repairs.Add(1)
	ch.hub.queueRepair(ch)
}

// queueRepair appends the channel to the queue, and starts a goroutine for it unless there are enough.
func (h *Hub) queueRepair(ch *channel) {
	r := &h.repairs
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, ch)
	if r.workers < repairsAtOnce {
		r.workers++
		h.background.Go(h.workOnRepairs)
	}
}

// workOnRepairs repairs channels until the queue is empty. A channel that cannot be repaired now goes to the queue's end, so
// that a part of the store that is away does not hold up repairs from the others for longer than it takes to try.
func (h *Hub) workOnRepairs() {
	for {
		ch := h.repairs.take(h.running.Err() != nil)
		if ch == nil {
			return
		}
		if pause := ch.repair(); pause > 0 {
			sleep(h.running, pause)
			h.repairs.putBack(ch)
		}
	}
}

// take returns the next channel, or nil if the caller has to end: then it is counted out.
func (r *repairs) take(end bool) *channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	if end || len(r.queue) == 0 {
		r.workers--
		return nil
	}
	ch := r.queue[0]
	r.queue[0] = nil
	if r.queue = r.queue[1:]; len(r.queue) == 0 {
		r.queue = nil
	}
	return ch
}

func (r *repairs) putBack(ch *channel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, ch)
}

// repair reads the log from where the channel stands until it has caught up, and returns 0, or how long to wait before trying
// again: the store is away, and nothing is delivered in the meantime in any case, or the channel's backlog is full.
func (ch *channel) repair() time.Duration {
	for {
		ch.mu.Lock()
		at := ch.log.at
		ch.log.again = false
		ch.mu.Unlock()
		page, err := ch.hub.readLog(ch.target, backplane.Cursor{Since: at.Offset, Limit: repairPage})
		if err != nil {
			ch.hub.logger.Debug("reading a log to repair a hole failed; trying again", "kind", ch.target.Kind.String(), "error", err)
			return 4 * repairPause
		}
		ch.mu.Lock()
		progress, done := ch.applyLocked(at, &page)
		done = done && !ch.log.again
		if done {
			ch.log.repairing = false
		}
		ch.mu.Unlock()
		ch.kick()
		if done {
			return 0
		}
		if !progress {
			return repairPause
		}
	}
}

// verify looks whether messages were missed while the link was broken. It is called when the subscription is back.
func (ch *channel) verify() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	switch l := ch.log; {
	case l == nil:
	case !l.known: // the first joins are under way, and what they have read and collected may have a hole in between
		ch.restartLocked()
	case ch.idleLocked() && len(l.attaching) == 0 && !l.repairing:
		l.known = false // nobody has missed anything; the next message or join finds the place
	default:
		ch.repairLocked()
	}
}

// readLog reads from the backplane's log with the hub's own patience.
func (h *Hub) readLog(t backplane.Target, from backplane.Cursor) (backplane.Page, error) {
	ctx, cancel := context.WithTimeout(h.running, repairTimeout)
	defer cancel()
	return h.log.ReadLog(ctx, t, from)
}

// sleep returns early when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
