package hub_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
)

// lossy is the memory backplane behind a link that loses, repeats and delays messages, breaks and comes back, and a store that
// does not answer or fails over. What it does to the sink is within backplane.Sink's promises: never two calls at a time for
// one target, and what is published after Subscribed comes, unless Interrupted says otherwise (or a test drops it on purpose).
type lossy struct {
	*memory.Backplane
	sink backplane.Sink

	// deliver, if set before the first message, decides how often a message is delivered: 0 drops it, 2 repeats it; keep delays
	// it until release.
	deliver func(*backplane.Message) fate
	// reading, if set, is called before a log is read and may wait there; an error is that of the read. hasRead is called with
	// the page on its way back.
	reading func(backplane.Target, backplane.Cursor) error
	hasRead func(backplane.Target, backplane.Cursor, *backplane.Page)

	// order keeps the sink from being called twice at a time; it is held over calls of the sink.
	order   sync.Mutex
	delayed []backplane.Message

	mu         sync.Mutex
	broken     bool
	subscribed map[backplane.Target]bool
	reads      int
	// names are the epochs that a failover gave to the store's own, and ends where the one before ended.
	epochs map[string]renamed
}

type renamed struct {
	epoch    string
	previous backplane.PreviousEpoch
}

type fate uint8

const (
	once fate = iota
	never
	twice
	later
)

func newLossy() *lossy {
	return &lossy{Backplane: memory.New(), subscribed: map[backplane.Target]bool{}, epochs: map[string]renamed{}}
}

func (l *lossy) Start(s backplane.Sink) {
	l.sink = s
	l.Backplane.Start(lossySink{l})
}

func (l *lossy) Subscribe(t backplane.Target) {
	l.mu.Lock()
	l.subscribed[t] = true
	l.mu.Unlock()
	l.Backplane.Subscribe(t)
}

func (l *lossy) Unsubscribe(t backplane.Target) {
	l.mu.Lock()
	delete(l.subscribed, t)
	l.mu.Unlock()
	l.Backplane.Unsubscribe(t)
}

// breakLink loses everything from now on until restoreLink.
func (l *lossy) breakLink() {
	l.mu.Lock()
	l.broken = true
	l.mu.Unlock()
	l.sink.Interrupted()
}

func (l *lossy) restoreLink() {
	l.mu.Lock()
	l.broken = false
	var targets []backplane.Target
	for t := range l.subscribed {
		targets = append(targets, t)
	}
	l.mu.Unlock()
	for _, t := range targets {
		l.order.Lock()
		l.sink.Subscribed(t)
		l.order.Unlock()
	}
}

// release delivers what was delayed, in the order in which it was published.
func (l *lossy) release() {
	l.order.Lock()
	defer l.order.Unlock()
	for i := range l.delayed {
		l.sink.Deliver(&l.delayed[i])
	}
	l.delayed = nil
}

// failover gives the target's log a new epoch in which everything survived up to now.
func (l *lossy) failover(t backplane.Target) {
	page, err := l.Backplane.ReadLog(context.Background(), t, backplane.Cursor{})
	if err != nil {
		panic(err) // the memory backplane is not closed yet
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.nameLocked(page.Epoch)
	l.epochs[page.Epoch] = renamed{
		epoch:    fmt.Sprintf("%s+%d", page.Epoch, len(l.epochs)+1),
		previous: backplane.PreviousEpoch{Epoch: old.epoch, Offset: page.Newest},
	}
}

func (l *lossy) nameLocked(epoch string) renamed {
	if r, ok := l.epochs[epoch]; ok {
		return r
	}
	return renamed{epoch: epoch}
}

func (l *lossy) ReadLog(ctx context.Context, t backplane.Target, from backplane.Cursor) (backplane.Page, error) {
	l.mu.Lock()
	l.reads++
	l.mu.Unlock()
	if l.reading != nil {
		if err := l.reading(t, from); err != nil {
			return backplane.Page{}, err
		}
	}
	page, err := l.Backplane.ReadLog(ctx, t, from)
	l.mu.Lock()
	r := l.nameLocked(page.Epoch)
	l.mu.Unlock()
	page.Epoch, page.Previous = r.epoch, r.previous
	if l.hasRead != nil {
		l.hasRead(t, from, &page)
	}
	return page, err
}

func (l *lossy) readCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

// lossySink is what the memory backplane delivers to.
type lossySink struct{ *lossy }

func (l lossySink) Subscribed(t backplane.Target) {
	l.order.Lock()
	defer l.order.Unlock()
	l.mu.Lock()
	broken := l.broken
	l.mu.Unlock()
	if !broken {
		l.sink.Subscribed(t)
	}
}

func (l lossySink) Interrupted() { l.sink.Interrupted() }

func (l lossySink) Deliver(m *backplane.Message) {
	l.order.Lock()
	defer l.order.Unlock()
	l.mu.Lock()
	broken := l.broken
	r := l.nameLocked(m.Epoch)
	l.mu.Unlock()
	if broken {
		return
	}
	named := *m
	named.Epoch = r.epoch
	f := once
	if l.deliver != nil {
		f = l.lossy.deliver(&named)
	}
	switch f {
	case once:
		l.sink.Deliver(&named)
	case twice:
		l.sink.Deliver(&named)
		l.sink.Deliver(&named)
	case later:
		named.Body = bytes.Clone(named.Body)
		l.delayed = append(l.delayed, named)
	case never:
	}
}
