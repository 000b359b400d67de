package redis

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// putOffPause is how soon what a shard does not take now is tried again.
const putOffPause = 10 * time.Millisecond

// putOff holds publications that a shard does not take now, and all later ones of the same slots, so that none overtakes another.
type putOff struct {
	batch []*publication
	slots map[uint16]bool
	timer *time.Timer
	until time.Time
}

func (o *putOff) isEmpty() bool { return len(o.batch) == 0 }

// add puts a publication off.
func (o *putOff) add(p *publication, now time.Time) {
	if o.slots == nil {
		o.slots = make(map[uint16]bool)
	}
	if o.isEmpty() {
		o.until = now.Add(putOffPause)
		o.timer = time.NewTimer(putOffPause)
	}
	o.batch = append(o.batch, p)
	o.slots[p.slot] = true
}

// hold takes what must not overtake what was put off from the batch, and returns the rest of it.
func (o *putOff) hold(batch []*publication) []*publication {
	if o.isEmpty() {
		return batch
	}
	rest := batch[:0]
	for _, p := range batch {
		if o.slots[p.slot] {
			o.batch = append(o.batch, p)
		} else {
			rest = append(rest, p)
		}
	}
	return rest
}

// wait returns a channel that something comes from when it is time to try again.
func (o *putOff) wait() <-chan time.Time {
	if o.isEmpty() {
		return nil
	}
	return o.timer.C
}

// take returns everything, and puts nothing off any more.
func (o *putOff) take() []*publication {
	if o.isEmpty() {
		return nil
	}
	o.timer.Stop()
	batch := o.batch
	o.batch = nil
	clear(o.slots)
	return batch
}

// retry has what was put off tried again when it is time.
func (p *publisher) retry(now time.Time) {
	if !p.put.isEmpty() && !now.Before(p.put.until) {
		p.takeUp()
	}
}

// takeUp puts what was put off into the queue again, in its place; what the shard was only asked to take goes back to the owner
// of its slot.
func (p *publisher) takeUp() {
	batch := p.put.take()
	if len(batch) == 0 {
		return
	}
	var own, others []*publication
	for _, publication := range batch {
		if publication.asking {
			others = append(others, publication)
		} else {
			own = append(own, publication)
		}
	}
	p.queue.merge(own) // our own, so it has not ended
	p.endAll(p.router.giveBack(p.lane, others))
}

// redirect takes a publication that the shard has refused because its slot is elsewhere, or on its way: nothing of it was carried
// out. It returns false if that is not why.
func (p *publisher) redirect(publication *publication, err error) bool {
	refused, ok := errors.AsType[refusal](err)
	if !ok || p.router.only != nil {
		return false
	}
	word, rest, _ := strings.Cut(string(refused), " ")
	switch word {
	case "MOVED":
		slot, addr, ok := readRedirection(rest, p.shard.addr)
		if ok && !publication.asking {
			p.router.learn(slot, addr)
		}
		p.router.refresh()
	case "ASK":
		if _, addr, ok := readRedirection(rest, p.shard.addr); ok && !p.put.slots[publication.slot] {
			publication.err = nil
			if !p.router.ask(p.lane, addr, publication) {
				p.end(publication, FailureClosed, errClosed)
			}
			return true
		}
	case "TRYAGAIN":
	case "CLUSTERDOWN":
		p.router.refresh()
	default:
		return false
	}
	publication.err = nil
	p.put.add(publication, time.Now())
	return true
}

// readRedirection reads what follows MOVED or ASK: the slot and the address of the node, which may leave out the host.
func readRedirection(text, from string) (slot uint16, addr string, ok bool) {
	number, addr, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(number, 10, 16)
	colon := strings.LastIndexByte(addr, ':')
	if err != nil || n >= slotCount || colon < 0 {
		return 0, "", false
	}
	host := strings.Trim(addr[:colon], "[]")
	return uint16(n), nodeAddr(host, addr[colon+1:], from), true
}

// passOn publishes what a script has published on a shard that its slot is still being moved to: those who are subscribed are so at the
// owner. What carries an offset is taken once, whichever way it comes.
func (p *publisher) passOn(publication *publication, receipt backplane.Receipt) {
	channel, envelope := publication.buf[:publication.split], publication.buf[publication.split:]
	again := blankPublication()
	again.slot = publication.slot
	again.buf = append(again.buf, channel...)
	again.split = len(again.buf)
	if receipt.Epoch != "" {
		again.buf = appendPlace(again.buf, receipt.Epoch, receipt.Offset)
	}
	again.buf = append(again.buf, envelope...)
	again.deadline, again.done = time.Now().Add(p.dialer.options.Timing.Publish), nobody{}
	p.router.enqueue(p.lane, again)
}

// nobody is who waits for a confirmation that nobody waits for.
type nobody struct{}

// Published implements backplane.Confirmation.
func (nobody) Published(backplane.Receipt, error) {}
