package redis

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// overheadBytes is what a waiting publication costs beyond its channel and envelope.
	overheadBytes = 512
	// keptBufferBytes is the largest buffer that is kept for the next publication.
	keptBufferBytes = 16 << 10
)

// publication is a message that waits to be published. It is pooled.
type publication struct {
	// buf holds the channel, up to split, and the envelope.
	buf   []byte
	split int
	// slot is that of the target, 0 where there is but one shard. asking says that the shard is to take it though the slot is still
	// being moved to it.
	slot     uint16
	asking   bool
	deadline time.Time
	done     backplane.Confirmation
	// log is nil for what is only passed on.
	log *logRequest
	// err is why the command that was sent has failed; nil: it has not.
	err  error
	next *publication
}

var publicationPool = sync.Pool{New: func() any { return &publication{} }}

// blankPublication takes one from the pool.
func blankPublication() *publication { return publicationPool.Get().(*publication) }

func (p *publication) size() int64 { return int64(len(p.buf) + overheadBytes) }

// appendCommand appends the command that carries the publication out.
func (p *publication) appendCommand(dst []byte, verb, replicationID string) []byte {
	if p.asking {
		dst = append(dst, "*1\r\n$6\r\nASKING\r\n"...)
	}
	if p.log != nil {
		return appendCommand(dst, p.log.command(verb, replicationID, p.buf[:p.split], p.buf[p.split:])...)
	}
	dst = appendBulk(append(dst, "*3\r\n"...), verb)
	return appendBulk(appendBulk(dst, p.buf[:p.split]), p.buf[p.split:])
}

// readReply reads the answer to that command.
func (p *publication) readReply(r *respReader) {
	if p.asking {
		if _, p.err = r.value(); p.err != nil && !isRefusal(p.err) {
			return
		}
	}
	if p.log != nil {
		p.log.reply, p.err = r.value()
		return
	}
	_, p.err = r.integer() // how many are subscribed: nobody's concern
}

func (p *publication) minReplicas() int {
	if p.log == nil || p.log.keep == nil {
		return 0
	}
	return p.log.keep.MinReplicas
}

// release gives p back to the pool. Nobody may use it afterwards.
func (p *publication) release() {
	if cap(p.buf) > keptBufferBytes {
		p.buf = nil
	}
	*p = publication{buf: p.buf[:0]}
	publicationPool.Put(p)
}

// budget bounds the bytes of all queues together.
type budget struct {
	limit    int64
	bytes    atomic.Int64
	messages atomic.Int64
}

func (b *budget) take(size int64) bool {
	if b.bytes.Add(size) > b.limit {
		b.bytes.Add(-size)
		return false
	}
	b.messages.Add(1)
	return true
}

func (b *budget) give(size int64) {
	b.bytes.Add(-size)
	b.messages.Add(-1)
}

// queue is a list of publications in the order in which they came, which is nearly that of their deadlines. All methods are safe for concurrent use.
type queue struct {
	// wake has room for one: there may be something to take, or the queue is closed.
	wake chan struct{}

	mu          sync.Mutex
	first, last *publication
	closed      bool
	// early says that a publication may have an earlier deadline than one before it: it waited elsewhere.
	early bool
	// ended says that nobody takes from the queue any more.
	ended bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// push appends p, and says no when the queue is closed.
func (q *queue) push(p *publication) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	if p.log != nil {
		p.log.sequence = p.log.writer.next() // under the lock: in the order of the queue
	}
	wasEmpty := q.first == nil
	if wasEmpty {
		q.first, q.early = p, false
	} else {
		q.early = q.early || p.deadline.Before(q.last.deadline)
		q.last.next = p
	}
	q.last = p
	q.mu.Unlock()
	if wasEmpty {
		q.poke()
	}
	return true
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take removes up to count publications of together up to size bytes, but at least one if there is any, and appends them to dst.
func (q *queue) take(dst []*publication, count, size int) []*publication {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil && count > 0 && (size >= len(q.first.buf) || len(dst) == 0) {
		p := q.first
		q.first, p.next = p.next, nil
		count--
		size -= len(p.buf)
		dst = append(dst, p)
	}
	return dst
}

// takeDue removes those whose deadline is not after now, and appends them to dst.
func (q *queue) takeDue(dst []*publication, now time.Time) []*publication {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil && !q.first.deadline.After(now) {
		p := q.first
		q.first, p.next = p.next, nil
		dst = append(dst, p)
	}
	if q.early {
		dst = append(dst, q.takeIf(func(p *publication) bool { return !p.deadline.After(now) })...)
	}
	return dst
}

// takeIf removes the publications that f chooses, in their order. The caller holds mu.
func (q *queue) takeIf(f func(*publication) bool) (taken []*publication) {
	q.last = nil
	for at := &q.first; *at != nil; {
		p := *at
		if !f(p) {
			q.last, at = p, &p.next
			continue
		}
		*at, p.next = p.next, nil
		taken = append(taken, p)
	}
	return taken
}

// putBack puts publications that take returned in front again.
func (q *queue) putBack(batch []*publication) {
	if len(batch) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first == nil {
		q.last = batch[len(batch)-1]
	}
	for _, p := range slices.Backward(batch) {
		p.next = q.first
		q.first = p
	}
}

// merge puts publications of other queues between those that are here, by their deadlines, and in the order in which they are given.
// It says no when nobody takes from the queue any more.
func (q *queue) merge(batch []*publication) bool {
	if len(batch) == 0 {
		return true
	}
	q.mu.Lock()
	if q.ended {
		q.mu.Unlock()
		return false
	}
	at := &q.first
	for _, p := range batch {
		for *at != nil && (*at).deadline.Before(p.deadline) {
			at = &(*at).next
		}
		p.next, *at = *at, p
		if at = &p.next; *at == nil {
			q.last = p
		}
	}
	q.early = true // it costs only a longer look
	q.mu.Unlock()
	q.poke()
	return true
}

// takeMoved removes the publications whose slot is elsewhere, in their order. Those that the shard is asked to take all the same stay.
func (q *queue) takeMoved(isElsewhere func(slot uint16) bool) (moved []*publication) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeIf(func(p *publication) bool { return !p.asking && isElsewhere(p.slot) })
}

// end notes that nobody takes from the queue any more, unless there is something in it.
func (q *queue) end() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = q.first == nil
	return q.ended
}

// isEmpty tells whether nothing waits.
func (q *queue) isEmpty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.first == nil
}

// close lets nobody push any more.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.poke()
}

// drained is true once the queue is closed and empty.
func (q *queue) drained() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && q.first == nil
}
