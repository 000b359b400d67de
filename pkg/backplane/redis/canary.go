package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// canaryTarget is the kind of targets that canaries are sent to. They are subscribed and published to as rooms are, and end here.
const canaryTarget backplane.Kind = 0xff

var _ backplane.Canary = (*Backplane)(nil)

// canaries are this process's messages to itself. There is a target for each subscription link of each shard, so that every one is
// proved. All methods are safe for concurrent use.
type canaries struct {
	backplane *Backplane

	mu     sync.Mutex
	cages  map[cagePlace]*cage
	byID   map[string]*cage // by the target's id
	nonces uint64
}

// cagePlace is a subscription link of a shard.
type cagePlace struct {
	shard string
	link  lane
}

// cage is where the canaries of one subscription link come back to. The canaries' mutex guards it.
type cage struct {
	target backplane.Target
	slot   uint16
	// subscribed is closed when the subscription was confirmed first. After a broken link it is back within moments.
	subscribed chan struct{}
	// began is when the last canary was sent.
	began time.Time
	// awaited is the body of the canary that is out, and back is closed when it comes; nil: none is out.
	awaited string
	back    chan struct{}
	// failed says that the last canary did not come back.
	failed bool
}

// maxCageTries bounds the search for a target of a link. A shard that serves one slot of a cluster is found with one try in 16,384.
const maxCageTries = 1 << 18

func newCanaries(b *Backplane) *canaries {
	return &canaries{backplane: b, cages: make(map[cagePlace]*cage), byID: make(map[string]*cage)}
}

// Shards implements backplane.Canary. Those of a cluster are named by the addresses of their primaries.
func (b *Backplane) Shards() []string {
	if b.router.cluster == nil {
		return []string{backplane.SoleShard}
	}
	shards := b.router.serving()
	b.canaries.keepOnly(shards)
	return shards
}

// serving returns the addresses of the shards that serve slots, in order.
func (r *router) serving() []string {
	addrs := make(map[string]bool)
	r.mu.RLock()
	for _, s := range r.wanted {
		addrs[s.addr] = true
	}
	r.mu.RUnlock()
	delete(addrs, "") // what no node serves
	return slices.Sorted(maps.Keys(addrs))
}

// serves says whether the shard of that name is where a slot belongs.
func (r *router) serves(name string, slot uint16) bool {
	if r.cluster == nil {
		return true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.wanted[slot].addr == name
}

// named returns the shard of that name; nil: it is gone.
func (r *router) named(name string) *shard {
	if r.cluster == nil {
		return r.only
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.shards[name]
}

// Probe implements backplane.Canary.
func (b *Backplane) Probe(ctx context.Context, shard string) error {
	links := b.dialer.options.Subscribers
	failures := make(chan error, links)
	for link := range links {
		go func() { failures <- b.canaries.probe(ctx, cagePlace{shard, lane(link)}) }()
	}
	var errs []error
	for range links {
		errs = append(errs, <-failures)
	}
	return errors.Join(errs...)
}

// Redial implements backplane.Canary.
func (b *Backplane) Redial(shard string) {
	s := b.router.named(shard)
	if s == nil {
		return
	}
	for _, lost := range b.canaries.lost(shard) {
		var buf [nameBuffer]byte
		channel := b.names.appendChannel(buf[:0], lost.target)
		s.subscribers[lost.link].current.redial(lost.began)
		s.publishers[b.names.spread(channel, b.dialer.options.Publishers)].current.redial(lost.began)
	}
}

// currentLink is the link that a publisher or a subscriber has, or is making. It is safe for concurrent use.
type currentLink struct{ atomic.Pointer[link] }

// redial has the link made anew, unless that has happened since some time.
func (c *currentLink) redial(since time.Time) {
	if l := c.Load(); l != nil && l.made.Before(since) {
		l.cut()
	}
}

// probe sends a canary over one subscription link and waits for it.
func (c *canaries) probe(ctx context.Context, place cagePlace) error {
	home, err := c.cage(place)
	if err != nil {
		return err
	}
	select {
	case <-home.subscribed:
	case <-ctx.Done():
		return c.end(home, fmt.Errorf("no subscription is confirmed by Redis: %w", context.Cause(ctx)))
	}
	m, back := c.release(home)
	published := make(chan error, 1)
	c.backplane.Publish(m, canaryConfirmation(published))
	for {
		select {
		case <-back:
			return c.end(home, nil)
		case err := <-published:
			if err != nil {
				return c.end(home, fmt.Errorf("a message to this process could not be published: %w", err))
			}
			published = nil
		case <-ctx.Done():
			return c.end(home, fmt.Errorf("a message that Redis took has not come back: %w", context.Cause(ctx)))
		}
	}
}

// canaryConfirmation passes the end of a publication on.
type canaryConfirmation chan<- error

// Published implements backplane.Confirmation.
func (c canaryConfirmation) Published(_ backplane.Receipt, err error) { c <- err }

// cage returns the cage of a link; a new one is subscribed to. One whose slot has moved to another shard is given up.
func (c *canaries) cage(place cagePlace) (*cage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.backplane
	if home := c.cages[place]; home != nil {
		if b.router.serves(place.shard, home.slot) {
			home.began = time.Now()
			return home, nil
		}
		c.giveUp(place, home)
	}
	for try := range maxCageTries {
		target := backplane.Target{Kind: canaryTarget, ID: b.writer.id + "-" + strconv.Itoa(try)}
		var buf [nameBuffer]byte
		channel := b.names.appendChannel(buf[:0], target)
		slot := b.names.slot(channel)
		if c.byID[target.ID] != nil || b.subscriberOf(channel) != place.link || !b.router.serves(place.shard, slot) {
			continue
		}
		home := &cage{target: target, slot: slot, subscribed: make(chan struct{}), began: time.Now()}
		c.cages[place], c.byID[target.ID] = home, home
		b.Subscribe(target)
		return home, nil
	}
	return nil, fmt.Errorf("no channel leads to the shard %s any more", place.shard)
}

// keepOnly gives up the cages of all other shards.
func (c *canaries) keepOnly(shards []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for place, home := range c.cages {
		if !slices.Contains(shards, place.shard) {
			c.giveUp(place, home)
		}
	}
}

// giveUp forgets a cage. The caller holds mu.
func (c *canaries) giveUp(place cagePlace, home *cage) {
	delete(c.cages, place)
	delete(c.byID, home.target.ID)
	c.backplane.Unsubscribe(home.target)
}

// release returns the next canary of a cage, and what is closed when it is back.
func (c *canaries) release(home *cage) (*backplane.Message, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nonces++
	home.awaited, home.back = strconv.FormatUint(c.nonces, 10), make(chan struct{})
	return &backplane.Message{Target: home.target, Body: []byte(home.awaited)}, home.back
}

// end notes how a probe ended.
func (c *canaries) end(home *cage, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	home.failed, home.back = err != nil, nil
	return err
}

// lostCanary is one that did not come back.
type lostCanary struct {
	cagePlace
	target backplane.Target
	began  time.Time
}

// lost returns the last canaries of a shard that did not come back.
func (c *canaries) lost(shard string) []lostCanary {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lost []lostCanary
	for place, home := range c.cages {
		if place.shard == shard && home.failed {
			lost = append(lost, lostCanary{place, home.target, home.began})
		}
	}
	return lost
}

// count returns how many targets are subscribed to for canaries.
func (c *canaries) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.cages)
}

// canarySink keeps what is for canaries from the sink that it wraps.
type canarySink struct {
	backplane.Sink
	canaries *canaries
}

// Deliver implements backplane.Sink.
func (s canarySink) Deliver(m *backplane.Message) {
	if m.Target.Kind != canaryTarget {
		s.Sink.Deliver(m)
		return
	}
	c := s.canaries
	c.mu.Lock()
	defer c.mu.Unlock()
	if home := c.byID[m.Target.ID]; home != nil && home.back != nil && string(m.Body) == home.awaited {
		close(home.back)
		home.back = nil
	}
}

// Subscribed implements backplane.Sink.
func (s canarySink) Subscribed(t backplane.Target) {
	if t.Kind != canaryTarget {
		s.Sink.Subscribed(t)
		return
	}
	c := s.canaries
	c.mu.Lock()
	defer c.mu.Unlock()
	if home := c.byID[t.ID]; home != nil {
		select {
		case <-home.subscribed:
		default:
			close(home.subscribed)
		}
	}
}
